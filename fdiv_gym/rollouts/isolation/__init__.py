"""Scoring by plugins of others: in a process of its own that is killed at a deadline, or under a watchdog.

``place`` decides where a plugin scores. ``scorer`` is this process's side of an isolated plugin, ``child`` its process,
``worker`` the program that runs there, ``frames`` and ``blueprint`` what passes between them. The watchdog over a
plugin that cannot be isolated is ``fdiv_gym.registry.watchdog``; ``exits`` names a plugin that ends the process.
"""
