"""What this plugin registers."""

from __future__ import annotations

import fdiv_gym as fg


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the math environments."""
    registrar.add(
        "environment",
        "math/Addition-v0",
        "fdiv_gym_math.addition:Addition",
        summary="add numbers digit by digit; procedural, exact",
    )
