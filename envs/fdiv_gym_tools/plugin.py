"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg

ENVIRONMENTS = {
    "tools/Calculator-v0": ("multiplication:Calculator", "short word problems, with a calculator to call"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the environments with tools."""
    for name, (place, summary) in ENVIRONMENTS.items():
        registrar.add("environment", name, f"fdiv_gym_tools.{place}", summary=summary)
