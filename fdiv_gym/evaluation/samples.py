"""Sample records: the lines of samples.jsonl, one for each scored response.

There is one schema, for evaluations and for the training samples of a run; every key is always present.

::

    step          optimizer step of the run that drew the response; null outside a run
    split         "train" or "heldout"
    mode          "sampled" or "greedy"
    index         position of the task: in the evaluated list, or among the tasks of the training step
    sample        number of the response among those to this task, from 0
    task_hash     Task.hash
    prompt        the task's prompt: a text, or a list of messages {"role": ..., "content": ...}
    answer        the task's reference answer, or null
    data          the task's further data, an object
    response      the last response of the episode; of an environment of one turn, the scored text
    transcript    Transcript.to_dict: all messages of the episode, where the policy's begin, rewards, outcome, its end
    truncated     whether the episode stopped before its end: no turns left, no room, or a last response cut off
    vote          its vote in a majority decision (Environment.vote), or null
    tokens        number of sampled tokens, over all turns; of a served model as its server counts them, the mean for
                  responses of one request, null if it does not
    turns         number of responses in the episode
    environment_tokens
                  number of tokens after the first prompt that were not sampled (Trajectory.environment_tokens), null
                  of a served model
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
from fdiv_gym.types.message import Message, Prompt, message_records, read_messages
from fdiv_gym.types.task import Task
from fdiv_gym.types.text import TextTrajectory
from fdiv_gym.types.trajectory import Trajectory, TrajectoryGroup
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict, is_finite_number

Mode = Literal["sampled", "greedy"]

_TYPES: Mapping[str, tuple[type, ...]] = {
    "step": (int, type(None)),
    "split": (str,),
    "mode": (str,),
    "index": (int,),
    "sample": (int,),
    "task_hash": (str,),
    "prompt": (str, list),
    "answer": (str, type(None)),
    "data": (Mapping,),
    "response": (str,),
    "transcript": (Mapping,),
    "truncated": (bool,),
    "vote": (str, type(None)),
    "tokens": (int, float, type(None)),
    "turns": (int,),
    "environment_tokens": (int, type(None)),
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
    transcript = trajectory.transcript or _one_turn(task, trajectory)
    return {
        "step": step,
        "split": split,
        "mode": mode,
        "index": index,
        "sample": sample,
        "task_hash": task.hash,
        "prompt": task.prompt if isinstance(task.prompt, str) else message_records(task.prompt),
        "answer": task.answer,
        "data": dict(task.data),
        "response": trajectory.text,
        "transcript": transcript.to_dict(),
        "truncated": transcript.truncated,
        "vote": vote_of(env, task, trajectory.text),
        "tokens": trajectory.response_length,
        "turns": trajectory.turns,
        "environment_tokens": trajectory.environment_tokens,
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


def _one_turn(task: Task, trajectory: Trajectory | TextTrajectory) -> Transcript:
    """The transcript of a trajectory that came without one."""
    messages = (*task.messages, Message("assistant", trajectory.text))
    return Transcript(messages, len(task.messages), cut_off=trajectory.stop_reason == "length")


def is_sample(line: object) -> bool:
    """Whether a line of the file is a complete sample record: valid verdict and transcript, and no contradiction."""
    if not isinstance(line, Mapping) or not line.keys() >= _TYPES.keys():
        return False
    if not all(_is_one_of(line[key], types) for key, types in _TYPES.items()):
        return False
    try:
        Verdict.from_dict(line["verdict"])
        transcript = Transcript.from_dict(line["transcript"])
        _prompt_of(line)
    except (FdivGymError, KeyError, TypeError, ValueError):
        return False
    told = (line["response"], line["turns"], line["truncated"])
    return told == (transcript.response, len(transcript.responses), transcript.truncated)


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    """Whether a value has one of the types; a truth value is no number, and a number is finite."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) and (not isinstance(value, (int, float)) or is_finite_number(value))


def _prompt_of(record: Mapping[str, Any]) -> Prompt:
    prompt = record["prompt"]
    return prompt if isinstance(prompt, str) else read_messages(prompt)


def task_of(record: Mapping[str, Any]) -> Task | None:
    """The task of a record; None if there is none in it, or its content does not match the recorded hash."""
    try:
        task = Task(_prompt_of(record), record["answer"], record["data"])
        return task if task.hash == record["task_hash"] else None
    except (FdivGymError, KeyError, TypeError, ValueError, RecursionError):
        return None
