"""Environments that make their problems themselves. Nothing is imported here; see the submodules."""
