"""Sample records: the lines of samples.jsonl, one for each scored response.

There is one schema, for evaluations and for the training samples of a run; every key is always present.

::

    step          optimizer step of the run that drew the response; null outside a run
    split         "train" or "heldout"
    mode          "sampled" or "greedy"
    index         position of the task: in the evaluated list, or among the tasks of the training step
    sample        number of the response among those to this task, from 0
    task_hash     Task.hash
    prompt        the task's prompt
    answer        the task's reference answer, or null
    data          the task's further data, an object
    response      the scored text: the last response of the episode
    vote          its vote in a majority decision (Environment.vote), or null
    tokens        number of sampled tokens, over all turns; of a served model as its server counts them, the mean for
                  responses of one request, null if it does not
    turns         number of responses in the episode
    logprob       sum of the sampled tokens' log-probs; null where it is not finite or not known
    stop_reason   "eos" or "length", of the last turn
    verdict       Verdict.to_dict: score, status, components, detail
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fdiv_gym.envs.base import Environment, Split
from fdiv_gym.errors import FdivGymError
from fdiv_gym.registry.guard import vote_of
from fdiv_gym.types.task import Task
from fdiv_gym.types.text import TextTrajectory
from fdiv_gym.types.trajectory import Trajectory, TrajectoryGroup
from fdiv_gym.types.verdict import Verdict

Mode = Literal["sampled", "greedy"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "step": (int, type(None)),
    "split": (str,),
    "mode": (str,),
    "index": (int,),
    "sample": (int,),
    "task_hash": (str,),
    "prompt": (str,),
    "answer": (str, type(None)),
    "data": (Mapping,),
    "response": (str,),
    "vote": (str, type(None)),
    "tokens": (int, float, type(None)),
    "turns": (int,),
    "logprob": (int, float, type(None)),
    "stop_reason": (str,),
    "verdict": (Mapping,),
}


def sample_record(
    env: Environment,
    task: Task,
    trajectory: Trajectory | TextTrajectory,
    *,
    split: Split,
    mode: Mode,
    index: int,
    sample: int,
    step: int | None = None,
) -> dict[str, Any]:
    """The record of one scored response.

    Args:
        env: the environment, for the vote of the response.
        task: the task of the response.
        trajectory: the scored trajectory.
        split: the split of the task.
        mode: the mode of sampling.
        index: position of the task.
        sample: number of the response among those to this task.
        step: optimizer step of the run, if there is one.

    Raises:
        PluginError: the environment's ``vote`` failed.
        EnvError: the vote is neither a string nor None.
    """
    assert trajectory.verdict is not None
    return {
        "step": step,
        "split": split,
        "mode": mode,
        "index": index,
        "sample": sample,
        "task_hash": task.hash,
        "prompt": task.prompt,
        "answer": task.answer,
        "data": dict(task.data),
        "response": trajectory.text,
        "vote": vote_of(env, task, trajectory.text),
        "tokens": trajectory.response_length,
        "turns": trajectory.turns,
        "logprob": trajectory.logprob,
        "stop_reason": trajectory.stop_reason,
        "verdict": trajectory.verdict.to_dict(),
    }


def sample_records(
    env: Environment,
    groups: Sequence[TrajectoryGroup],
    indices: Iterable[int],
    *,
    split: Split,
    mode: Mode,
    step: int | None = None,
) -> Iterator[dict[str, Any]]:
    """An iterator over the records of scored groups.

    Args:
        env: the environment, for the votes of the responses.
        groups: the scored groups.
        indices: position of each group's task.
        split: the split of the tasks.
        mode: the mode of sampling.
        step: optimizer step of the run, if there is one.

    Raises:
        PluginError: the environment's ``vote`` failed.
        EnvError: a vote is neither a string nor None.
    """
    for index, group in zip(indices, groups, strict=True):
        for sample, trajectory in enumerate(group.trajectories):
            yield sample_record(
                env, group.task, trajectory, split=split, mode=mode, index=index, sample=sample, step=step
            )


def is_sample(line: object) -> bool:
    """Whether a line of the file is a complete sample record with a valid verdict."""
    if not isinstance(line, Mapping) or not line.keys() >= _TYPES.keys():
        return False
    if not all(isinstance(line[key], types) for key, types in _TYPES.items()):
        return False
    try:
        Verdict.from_dict(line["verdict"])
    except (FdivGymError, KeyError, TypeError, ValueError):
        return False
    return True


def task_of(record: Mapping[str, Any]) -> Task | None:
    """The task of a record; None if its content does not match the recorded hash."""
    task = Task(record["prompt"], record["answer"], record["data"])
    return task if task.hash == record["task_hash"] else None
