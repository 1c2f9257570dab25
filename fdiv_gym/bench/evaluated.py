"""The samples of an evaluation, grouped by task: what all samples of a task share is stored once.

A line of ``samples/`` is one task in one mode; its ``responses`` lack what follows from the task and the rest::

    {"mode", "index", "task", "responses": [{"response", "verdict", "vote", "tokens", "logprob", "stop_reason",
     "environment_tokens"}]}

``transcript`` is there too where it is not that of one turn. A line of ``tasks/`` is
``{"task_hash", "prompt", "answer", "data"}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fdiv_gym.errors import BenchError
from fdiv_gym.evaluation import is_sample
from fdiv_gym.registry.messages import shorten
from fdiv_gym.types.message import Message, message_records, read_messages
from fdiv_gym.types.transcript import Transcript

Sample = dict[str, Any]

OF_TASK = ("prompt", "answer", "data")
KEPT = ("response", "verdict", "vote", "tokens", "logprob", "stop_reason", "environment_tokens")
MODES = ("sampled", "greedy")


def last_evaluation(lines: Iterable[Mapping[str, Any]], step: int | None) -> list[Mapping[str, Any]]:
    """The samples of the held-out tasks at a step, sampled ones first, by task.

    Raises:
        BenchError: one of them is damaged.
    """
    found = [line for line in lines if (line.get("step"), line.get("split")) == (step, "heldout")]
    if not all(is_sample(line) and line["mode"] in MODES for line in found):
        raise BenchError("a sample of the last evaluation is damaged")
    return sorted(found, key=lambda s: (MODES.index(s["mode"]), s["index"], s["task_hash"], s["sample"]))


def tasks_of(samples: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The lines of ``tasks/`` that samples need, by the hash of the task."""
    return {s["task_hash"]: {"task_hash": s["task_hash"], **{key: s[key] for key in OF_TASK}} for s in samples}


def grouped(samples: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines of ``samples/``.

    Args:
        samples: in the order of ``last_evaluation``.

    Raises:
        BenchError: the samples of a task are not numbered 0, 1, 2, ...
    """
    groups: dict[tuple[str, int, str], list[Mapping[str, Any]]] = {}
    for sample in samples:
        groups.setdefault((sample["mode"], sample["index"], sample["task_hash"]), []).append(sample)
    for (mode, index, task), own in groups.items():
        if [sample["sample"] for sample in own] != list(range(len(own))):
            raise BenchError(f"the {mode} samples of task {index} are not numbered from 0 without a gap")
        yield {"mode": mode, "index": index, "task": task, "responses": [_response(sample) for sample in own]}


def _response(sample: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: sample[key] for key in KEPT}
    if sample["transcript"] != _one_turn(sample["prompt"], sample["response"], sample["stop_reason"]):
        found["transcript"] = sample["transcript"]
    return found


def ungrouped(
    lines: Iterable[Mapping[str, Any]], tasks: Mapping[str, Mapping[str, Any]], step: int | None
) -> Iterator[Sample]:
    """The sample records of a file of ``samples/``.

    Args:
        lines: of the file.
        tasks: by their hash.
        step: at which they were drawn.

    Raises:
        BenchError: a line is damaged, or names a task that is not there.
    """
    for number, line in enumerate(lines, 1):
        task, responses = tasks.get(str(line.get("task"))), line.get("responses")
        if task is None or line.get("mode") not in MODES or not isinstance(responses, list):
            raise BenchError(f"line {number} is damaged, or its task {shorten(line.get('task'))} is missing")
        for sample, response in enumerate(responses):
            record = _sample(line, task, response, sample, step)
            if record is None or not is_sample(record):
                raise BenchError(f"line {number}, response {sample} is damaged")
            yield record


def _sample(
    line: Mapping[str, Any], task: Mapping[str, Any], response: Any, sample: int, step: int | None
) -> Sample | None:
    try:
        found = {key: response[key] for key in KEPT}
        own = _one_turn(task["prompt"], found["response"], found["stop_reason"])
        transcript = response.get("transcript", own)
        read = Transcript.from_dict(transcript)
        return {
            "step": step, "split": "heldout", "mode": line["mode"], "index": line["index"], "sample": sample,
            "task_hash": line["task"], **{key: task[key] for key in OF_TASK}, **found, "transcript": transcript,
            "truncated": read.truncated, "turns": len(read.responses),
        }  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _one_turn(prompt: Any, response: str, stop_reason: str) -> dict[str, Any]:
    """The transcript of an episode of one turn."""
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(read_messages(prompt))
    own = Transcript((*messages, Message("assistant", response)), len(messages), cut_off=stop_reason == "length")
    return {**own.to_dict(), "messages": message_records(own.messages)}
