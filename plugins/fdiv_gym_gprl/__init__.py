"""GPRL: preferences of several dimensions as rewards (arXiv 2605.18721), with a monitor of their drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdiv_gym_gprl.model import GeneralPreferenceModel as GeneralPreferenceModel
    from fdiv_gym_gprl.model import GPMConfig as GPMConfig
    from fdiv_gym_gprl.scores import pair_scores as pair_scores
    from fdiv_gym_gprl.scores import preference as preference

__all__ = ["GPMConfig", "GeneralPreferenceModel", "pair_scores", "preference"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fdiv_gym_gprl.model import GeneralPreferenceModel, GPMConfig
    from fdiv_gym_gprl.scores import pair_scores, preference

    named: dict[str, Any] = {
        "GPMConfig": GPMConfig, "GeneralPreferenceModel": GeneralPreferenceModel,
        "pair_scores": pair_scores, "preference": preference,
    }  # fmt: skip
    return named[name]
