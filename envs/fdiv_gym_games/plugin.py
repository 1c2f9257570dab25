"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg

ENVIRONMENTS = {
    "games/Mastermind-v0": ("mastermind:Mastermind", "find a hidden code by guesses that are compared with it"),
    "games/Nim-v0": ("nim:Nim", "take from heaps in turns against an optimal or a random opponent"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the games."""
    for name, (place, summary) in ENVIRONMENTS.items():
        registrar.add("environment", name, f"fdiv_gym_games.{place}", summary=summary)
