"""Objectives, advantages and aggregations: they turn rewards and preferences into a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.objectives.advantages.base import Advantage as Advantage
    from fdiv_gym.objectives.advantages.base import checked_advantages as checked_advantages
    from fdiv_gym.objectives.advantages.base import differing as differing
    from fdiv_gym.objectives.advantages.base import get_advantage as get_advantage
    from fdiv_gym.objectives.aggregation import Aggregation as Aggregation
    from fdiv_gym.objectives.aggregation import checked_weights as checked_weights
    from fdiv_gym.objectives.aggregation import get_aggregation as get_aggregation
    from fdiv_gym.objectives.base import Objective as Objective
    from fdiv_gym.objectives.base import Stream as Stream
    from fdiv_gym.objectives.base import Streams as Streams
    from fdiv_gym.objectives.base import get_objective as get_objective
    from fdiv_gym.objectives.batch import Coefficients as Coefficients
    from fdiv_gym.objectives.batch import GroupBatch as GroupBatch
    from fdiv_gym.objectives.batch import MicroBatch as MicroBatch
    from fdiv_gym.objectives.batch import ObjectiveOutput as ObjectiveOutput
    from fdiv_gym.objectives.batch import PreferenceBatch as PreferenceBatch
    from fdiv_gym.objectives.batch import StepAdvantages as StepAdvantages
    from fdiv_gym.objectives.f_grpo import FGRPO as FGRPO
    from fdiv_gym.objectives.f_hal import FHAL as FHAL
    from fdiv_gym.objectives.fdo import FDO as FDO
    from fdiv_gym.objectives.fdo import policy_log_ratio as policy_log_ratio
    from fdiv_gym.objectives.fdo import reference_log_ratio as reference_log_ratio
    from fdiv_gym.objectives.fdo import side_rows as side_rows
    from fdiv_gym.objectives.kldo import KLDO as KLDO
    from fdiv_gym.objectives.penalty import PENALTY_METRICS as PENALTY_METRICS
    from fdiv_gym.objectives.penalty import Penalty as Penalty
    from fdiv_gym.objectives.penalty import PenaltyOptions as PenaltyOptions
    from fdiv_gym.objectives.terms import branch_sum as branch_sum
    from fdiv_gym.objectives.terms import mean_weights as mean_weights
    from fdiv_gym.objectives.terms import side_means as side_means
    from fdiv_gym.objectives.tokens import compact as compact
    from fdiv_gym.objectives.tokens import spread as spread

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "base": ["Objective", "Stream", "Streams", "get_objective"],
        "batch": ["Coefficients", "GroupBatch", "MicroBatch", "ObjectiveOutput", "PreferenceBatch", "StepAdvantages"],
        "advantages.base": ["Advantage", "checked_advantages", "differing", "get_advantage"],
        "aggregation": ["Aggregation", "checked_weights", "get_aggregation"],
        "penalty": ["PENALTY_METRICS", "Penalty", "PenaltyOptions"],
        "terms": ["branch_sum", "mean_weights", "side_means"],
        "tokens": ["compact", "spread"],
        "f_grpo": ["FGRPO"],
        "f_hal": ["FHAL"],
        "kldo": ["KLDO"],
        "fdo": ["FDO", "policy_log_ratio", "reference_log_ratio", "side_rows"],
    },
)
