"""Conformance kits: check a plugin against its contract and report every violation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.testing.divergence import check_divergence as check_divergence
    from fdiv_gym.testing.engine import check_engine as check_engine
    from fdiv_gym.testing.env import check_environment as check_environment
    from fdiv_gym.testing.judge import check_judge as check_judge
    from fdiv_gym.testing.objective import check_objective as check_objective
    from fdiv_gym.testing.quick import check_run_plugins as check_run_plugins
    from fdiv_gym.testing.quick import check_started_engine as check_started_engine
    from fdiv_gym.testing.quick import is_foreign as is_foreign
    from fdiv_gym.testing.report import CannotCheckError as CannotCheckError
    from fdiv_gym.testing.report import Check as Check
    from fdiv_gym.testing.report import Report as Report
    from fdiv_gym.testing.small import check_advantage as check_advantage
    from fdiv_gym.testing.small import check_aggregation as check_aggregation
    from fdiv_gym.testing.small import check_callback as check_callback
    from fdiv_gym.testing.trainer import check_trainer as check_trainer
    from fdiv_gym.testing.verifier import check_verifier as check_verifier

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "report": ["CannotCheckError", "Check", "Report"],
        "divergence": ["check_divergence"],
        "quick": ["check_run_plugins", "check_started_engine", "is_foreign"],
        "objective": ["check_objective"],
        "small": ["check_advantage", "check_aggregation", "check_callback"],
        "env": ["check_environment"],
        "verifier": ["check_verifier"],
        "judge": ["check_judge"],
        "engine": ["check_engine"],
        "trainer": ["check_trainer"],
    },
)
