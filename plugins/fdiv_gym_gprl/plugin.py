"""The registrations of this plugin; the modules are imported at first use."""

from __future__ import annotations

import fdiv_gym as fg


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the parts of GPRL."""
    registrar.add(
        "advantage", "gprl", "fdiv_gym_gprl.advantage:GPRL",
        summary="each dimension of a preference on its own scale", requires=("torch",), extra="train",
    )  # fmt: skip
