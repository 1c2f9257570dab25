"""Parts of the report's pages: samples, numbers and texts, made safe to show."""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.runs.conversations import conversation, prompt_messages, transcript_of
from fdiv_gym.runs.plots import Lines, is_number

SAMPLES_SHOWN = 12
TEXT_SHOWN = 4000
"""Characters of a prompt, answer or response that the report shows."""

NORMAL_95 = 1.96


def complete_samples(samples: Lines) -> list[Mapping[str, Any]]:
    """The samples that have every key the report reads."""
    return [sample for sample in samples if _is_complete(sample)]


def _is_complete(sample: Mapping[str, Any]) -> bool:
    verdict = sample.get("verdict")
    texts = all(isinstance(sample.get(key), str) for key in ("split", "mode", "task_hash", "response"))
    if (
        not texts
        or not isinstance(sample.get("step"), int)
        or "prompt" not in sample
        or not isinstance(verdict, Mapping)
    ):
        return False
    if transcript_of(sample) is None:
        return False
    score = verdict.get("score", ...)
    return score is None or (is_number(score) and math.isfinite(score))


def score_intervals(samples: Lines) -> dict[tuple[int, str], tuple[float, float]]:
    """95 % interval of the held-out score, by (step, mode), over tasks.

    It is Wilson's where every task's mean is 0 or 1 (the normal one has no width if all are equal), else 1.96
    standard errors of the tasks' means on either side.
    """
    scores: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        score = sample["verdict"]["score"]
        if sample["split"] == "heldout" and score is not None:
            scores[sample["step"], sample["mode"]][sample["task_hash"]].append(score)
    means = {key: [sum(s) / len(s) for s in tasks.values()] for key, tasks in scores.items()}
    return {key: _interval(values) for key, values in means.items() if len(values) > 1}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    n, mean, z = len(values), statistics.fmean(values), NORMAL_95
    if set(values) <= {0.0, 1.0}:
        centre, spread = mean + z * z / (2 * n), z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
    half = z * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def sample_table(samples: Lines, shown: int = SAMPLES_SHOWN) -> dict[str, Any]:
    """The same held-out tasks at the first and at the last evaluation.

    Returns:
        ``steps``, one or two of them, and ``rows`` with the messages of the prompt, the answer, and for each step a
        sample with its ``conversation``; {} without samples.
    """
    heldout = [s for s in samples if s["split"] == "heldout" and s["mode"] == "sampled"]
    if not heldout:
        return {}
    steps = sorted({min(s["step"] for s in heldout), max(s["step"] for s in heldout)})
    first = {(s["step"], s["task_hash"]): s for s in reversed(heldout)}
    tasks = [t for t in dict.fromkeys(s["task_hash"] for s in heldout) if all((step, t) in first for step in steps)]
    rows = []
    for task in tasks[:shown]:
        chosen = [first[step, task] for step in steps]
        prompt, answer = prompt_messages(chosen[0]["prompt"]), chosen[0].get("answer")
        said = [{**sample, "conversation": conversation(sample)} for sample in chosen]
        rows.append({"prompt": prompt, "answer": answer, "samples": said})
    return {"steps": steps, "rows": rows}


def score_cards(evaluations: Lines, intervals: Mapping[tuple[int, str], tuple[float, float]]) -> list[dict[str, Any]]:
    """Each score at the first and at the last evaluation, with the interval of the last."""
    if not evaluations:
        return []
    first, last = evaluations[0], evaluations[-1]
    keys = [key for key in {**first, **last} if key.startswith("score/")]
    cards = []
    for key in keys:
        values = [number(line.get(key), key) for line in ([first] if first is last else [first, last])]
        low_high = intervals.get((last["step"], key.partition("/")[2]))
        cards.append({"key": key, "values": values, "interval": low_high})
    return cards


ERROR = "divergence_error/"


def evaluation_table(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each metric of the last evaluations of runs, a cell for each run; scores first, divergences last, with errors."""
    keys = {key for line in lines for key in line if not key.startswith(ERROR)} - {"step"}
    ordered = [
        "step",
        *sorted(keys, key=lambda key: (key.startswith("divergence/"), not key.startswith("score/"), key)),
    ]
    return {key: [_cell(line, key) for line in lines] for key in ordered}


def _cell(line: Mapping[str, Any], key: str) -> str:
    shown, error = number(line.get(key), key), line.get(ERROR + key.partition("/")[2])
    return f"{shown} ± {number(error)}" if key.startswith("divergence/") and error is not None else shown


def number(value: object, key: str = "") -> str:
    """A value for a table: scores with three decimals, large numbers in full, others with four significant digits."""
    if value is None:
        return "-"
    if not is_number(value):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if key.startswith("score/"):
        return f"{value:.3f}"
    if isinstance(value, int):
        return str(value) if abs(value) < 10_000 else f"{value:,}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def text(value: object) -> str:
    """A text of a sample for the page: cut, with control characters and marks of text direction as escapes."""
    whole = value if isinstance(value, str) else str(value)
    shown = "".join(_visible(c) for c in whole[:TEXT_SHOWN])
    rest = len(whole) - TEXT_SHOWN
    return shown + (f"\n... {rest:,} more characters" if rest > 0 else "")


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t"
    return character.encode("unicode_escape").decode("ascii") if hidden else character
