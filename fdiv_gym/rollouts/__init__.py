"""Rollouts: the engine contract, episodes and their scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.rollouts.engine import Engine as Engine
    from fdiv_gym.rollouts.engine import get_engine as get_engine
    from fdiv_gym.rollouts.episode_means import episode_metrics as episode_metrics
    from fdiv_gym.rollouts.episodes import run_episodes as run_episodes
    from fdiv_gym.rollouts.judging import is_masked as is_masked
    from fdiv_gym.rollouts.scoring import TimeoutLedger as TimeoutLedger
    from fdiv_gym.rollouts.scoring import score_checked as score_checked
    from fdiv_gym.rollouts.seeds import derive_seed as derive_seed
    from fdiv_gym.rollouts.text_engine import TextEngine as TextEngine
    from fdiv_gym.rollouts.text_episodes import run_text_episodes as run_text_episodes

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "engine": ["Engine", "get_engine"],
        "episode_means": ["episode_metrics"],
        "episodes": ["run_episodes"],
        "judging": ["is_masked"],
        "scoring": ["TimeoutLedger", "score_checked"],
        "seeds": ["derive_seed"],
        "text_engine": ["TextEngine"],
        "text_episodes": ["run_text_episodes"],
    },
)
