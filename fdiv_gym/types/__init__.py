"""The records that the packages exchange: tasks, verdicts, trajectories, preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.types.message import Message as Message
    from fdiv_gym.types.message import Prompt as Prompt
    from fdiv_gym.types.preference import PreferenceUnit as PreferenceUnit
    from fdiv_gym.types.task import Task as Task
    from fdiv_gym.types.task import groups_of as groups_of
    from fdiv_gym.types.text import TextCompletion as TextCompletion
    from fdiv_gym.types.text import TextTrajectory as TextTrajectory
    from fdiv_gym.types.trajectory import Completion as Completion
    from fdiv_gym.types.trajectory import Sampling as Sampling
    from fdiv_gym.types.trajectory import StopReason as StopReason
    from fdiv_gym.types.trajectory import Trajectory as Trajectory
    from fdiv_gym.types.trajectory import TrajectoryGroup as TrajectoryGroup
    from fdiv_gym.types.transcript import Transcript as Transcript
    from fdiv_gym.types.verdict import Status as Status
    from fdiv_gym.types.verdict import Verdict as Verdict
    from fdiv_gym.types.verdict import is_finite_number as is_finite_number

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "task": ["Task", "groups_of"],
        "verdict": ["Status", "Verdict", "is_finite_number"],
        "trajectory": ["Completion", "Sampling", "StopReason", "Trajectory", "TrajectoryGroup"],
        "text": ["TextCompletion", "TextTrajectory"],
        "message": ["Message", "Prompt"],
        "preference": ["PreferenceUnit"],
        "transcript": ["Transcript"],
    },
)
