"""The registrations of this plugin; the modules are imported at first use."""

from __future__ import annotations

import fdiv_gym as fg

ENTRIES = (
    ("advantage", "gprl", "advantage:GPRL", "each dimension of a preference on its own scale"),
    ("objective", "gprl", "objective:GPRLObjective", "clipped ratio and k3 on the advantages gprl"),
    ("judge", "gpm", "judge:GPM", "win rate by a preference model of several dimensions"),
    ("callback", "drift-monitor", "drift:DriftMonitor", "counters a drift among the dimensions of the reward"),
)


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the parts of GPRL."""
    for kind, name, place, summary in ENTRIES:
        target = f"fdiv_gym_gprl.{place}"
        registrar.add(kind, name, target, summary=summary, requires=("torch",), extra="train")
