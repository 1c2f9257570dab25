"""The trainer ``preference-model``: a general preference model from pairs of responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdiv_gym_preference_model.settings import TrainerOptions as TrainerOptions
    from fdiv_gym_preference_model.trainer import PreferenceModelTrainer as PreferenceModelTrainer

__all__ = ["PreferenceModelTrainer", "TrainerOptions"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fdiv_gym_preference_model.settings import TrainerOptions
    from fdiv_gym_preference_model.trainer import PreferenceModelTrainer

    return {"PreferenceModelTrainer": PreferenceModelTrainer, "TrainerOptions": TrainerOptions}[name]
