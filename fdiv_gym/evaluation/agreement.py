"""Reliability of a judge: agreement with labels, consistency, confusion of refusal and harm, cost."""

from __future__ import annotations

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdiv_gym.data.records import read_records
from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.guard import score_range_of
from fdiv_gym.rewards.judge import CachedJudge, Judge, run_async
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Verdict

DRAWS = 2000
MOST_PAIRS = 1000
TRUE, FALSE = {"true", "1", "1.0", "yes", "good"}, {"false", "0", "0.0", "no", "bad"}


@dataclass(frozen=True)
class LabelledResponse:
    """One response with a human label.

    Args:
        task: the prompt; ``data`` may hold the inputs of the judge (``harmful``, ``keywords``).
        response: the answer.
        good: the label.
        refusal: whether the response refuses; None if the file does not have this column.
    """

    task: Task
    response: str
    good: bool
    refusal: bool | None = None


def read_labelled(path: str) -> list[LabelledResponse]:
    """Read columns prompt, response, label, and optionally refusal, harmful and data (an object).

    Raises:
        ConfigError: no such file or column, or a label that is neither true/false nor 1/0.
    """
    labelled = []
    for place, record in read_records(path, what="labelled responses"):
        where = f"labelled responses {path}, {place}"
        prompt, response = record.get("prompt"), record.get("response")
        if not isinstance(prompt, str) or not isinstance(response, str):
            raise ConfigError(f"{where}: prompt and response must be strings, got {prompt!r} and {response!r}")
        data = _data(record.get("data"), f"{where}: data")
        if record.get("harmful") is not None:
            data["harmful"] = _truth(record["harmful"], f"{where}: harmful")
        refusal = None if record.get("refusal") is None else _truth(record["refusal"], f"{where}: refusal")
        good = _truth(record.get("label"), f"{where}: label")
        labelled.append(LabelledResponse(Task(prompt, None, data), response, good, refusal))
    if not labelled:
        raise ConfigError(f"labelled responses {path} has no rows")
    return labelled


def judge_reliability(judge: Judge, records: Sequence[LabelledResponse], threshold: float = 0.5) -> dict[str, Any]:
    """Measure a judge on labelled responses.

    Args:
        judge: its cache, and those of the judges it is composed of, are disabled, so that repeated calls are real.
        records: at least one.
        threshold: share of the judge's range from which a score counts as good.

    Returns:
        JSON-ready: ``responses``, ``unscorable``, ``agreement``, ``repeat``, ``swap``, ``confusion``,
        ``cost``. A part that cannot be computed from the records is None.
    """
    without_cache(judge)
    tasks, responses = [r.task for r in records], [r.response for r in records]
    low, high = score_range_of(judge)
    limit = low + threshold * (high - low)
    before, begun = judge.counters(), time.monotonic()
    first = judge.judge_batch(tasks, responses)
    seconds = time.monotonic() - begun
    spent = {key: value - before.get(key, 0.0) for key, value in judge.counters().items()}
    second = judge.judge_batch(tasks, responses)
    scored = [(r.good, v.score >= limit) for r, v in zip(records, first, strict=True) if v.score is not None]
    return {
        "responses": len(records),
        "unscorable": sum(v.score is None for v in first),
        "threshold": limit,
        "agreement": _agreement(scored),
        "repeat": _repeat(first, second, limit),
        "swap": _swap(judge, records),
        "confusion": _confusion(records, first, limit),
        "cost": {"seconds": seconds, "seconds_per_response": seconds / len(records), **spent},
    }


def without_cache(judge: Judge) -> None:
    """Disable the cache of a judge and of the judges it is composed of."""
    if isinstance(judge, CachedJudge):
        judge.caching = False
    for part in judge.parts():
        without_cache(part)


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Cohen's kappa of two yes-no judgements: 1 is full agreement, 0 the agreement by chance.

    NaN if both give the same constant answer.
    """
    a, b = np.array(pairs, dtype=float).reshape(-1, 2).T
    return float(_kappas(a[None], b[None])[0])


def _kappas(a: Any, b: Any) -> Any:
    observed = (a == b).mean(axis=1)
    p, q = a.mean(axis=1), b.mean(axis=1)
    expected = p * q + (1 - p) * (1 - q)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _agreement(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any] | None:
    """Kappa and accuracy, with the 95 % percentile bootstrap interval of kappa over responses."""
    if not pairs:
        return None
    rng = np.random.default_rng(0)
    labels, called = np.array(pairs, dtype=float).T
    picks = rng.integers(len(pairs), size=(DRAWS, len(pairs)))
    drawn = _kappas(labels[picks], called[picks])
    drawn = drawn[~np.isnan(drawn)]
    interval = [float(x) for x in np.percentile(drawn, [2.5, 97.5])] if len(drawn) else None
    value = kappa(pairs)
    return {
        "kappa": None if np.isnan(value) else value,
        "interval": interval,
        "accuracy": float((labels == called).mean()),
        "called_good": float(called.mean()),
        "labelled_good": float(labels.mean()),
    }


def _repeat(first: Sequence[Verdict], second: Sequence[Verdict], limit: float) -> dict[str, float] | None:
    """Agreement of the judge with itself on a second call."""
    both = [
        (a.score, b.score) for a, b in zip(first, second, strict=True) if a.score is not None and b.score is not None
    ]
    if not both:
        return None
    return {
        "same_call": sum((a >= limit) == (b >= limit) for a, b in both) / len(both),
        "mean_difference": sum(abs(a - b) for a, b in both) / len(both),
    }


def _swap(judge: Judge, records: Sequence[LabelledResponse]) -> dict[str, float] | None:
    """The effect of the order of two responses, on at most 1000 pairs to one prompt with different labels."""
    groups: dict[str, list[LabelledResponse]] = defaultdict(list)
    for record in records:
        groups[record.task.hash].append(record)
    pairs = [
        (good, bad)
        for members in groups.values()
        for good, bad in itertools.product(members, members)
        if good.good and not bad.good
    ]
    if not pairs:
        return None
    if len(pairs) > MOST_PAIRS:  # their number is quadratic in the number of responses to one prompt
        picked = np.random.default_rng(0).choice(len(pairs), MOST_PAIRS, replace=False)
        pairs = [pairs[int(i)] for i in sorted(picked)]
    tasks, good, bad = ([g.task for g, _ in pairs], [g.response for g, _ in pairs], [b.response for _, b in pairs])
    forward = run_async(lambda: judge.compare(tasks, good, bad))
    backward = run_async(lambda: judge.compare(tasks, bad, good))
    both = [
        (f.score, b.score)
        for f, b in zip(forward, backward, strict=True)
        if f.score is not None and b.score is not None
    ]
    if not both:
        return None
    return {
        "pairs": len(both),
        "consistent": sum(_sign(f) == -_sign(b) for f, b in both) / len(both),
        "prefers_good": sum(0.25 * (2 + _sign(f) - _sign(b)) for f, b in both) / len(both),
    }


def _confusion(
    records: Sequence[LabelledResponse], verdicts: Sequence[Verdict], limit: float
) -> dict[str, dict[str, float]] | None:
    """The judge's calls on refusals and answers to harmful and harmless requests.

    A judge that equates refusal with harmlessness calls refusals good in both rows.
    """
    cells: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for record, verdict in zip(records, verdicts, strict=True):
        harmful = record.task.data.get("harmful")
        if harmful is None or record.refusal is None or verdict.score is None:
            continue
        name = f"{'harmful' if harmful else 'harmless'}, {'refused' if record.refusal else 'answered'}"
        cells[name].append((verdict.score, record.good))
    if not cells:
        return None
    return {
        name: {
            "responses": len(cell),
            "called_good": sum(score >= limit for score, _ in cell) / len(cell),
            "labelled_good": sum(good for _, good in cell) / len(cell),
            "mean_score": sum(score for score, _ in cell) / len(cell),
        }
        for name, cell in sorted(cells.items())
    }


def _sign(preference: float) -> int:
    return (preference > 0.5) - (preference < 0.5)


def _truth(value: Any, where: str) -> bool:
    text = str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise ConfigError(f"{where} is neither true/false nor 1/0, got {value!r}")


def _data(value: Any, where: str) -> dict[str, Any]:
    """The task data in a row; a CSV file has them as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(f"{where} must be a JSON object, got {value[:40]!r}") from None
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be an object, got {value!r}")
    data = dict(value or {})
    keywords = data.get("keywords")
    if keywords is not None and not (isinstance(keywords, list) and all(isinstance(k, str) for k in keywords)):
        raise ConfigError(f"{where}: keywords must be a list of strings, got {keywords!r}")
    return data


def summary_lines(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The report as pairs of label and value, for a table."""
    lines = [("responses", str(report["responses"])), ("unscorable", str(report["unscorable"]))]
    if report["agreement"]:
        part = report["agreement"]
        value = "undefined (one class only)" if part["kappa"] is None else f"{part['kappa']:.3f}"
        spread = "" if part["interval"] is None else " [{:.3f}, {:.3f}]".format(*part["interval"])
        lines += [("kappa with the labels, 95 % interval", value + spread), ("accuracy", f"{part['accuracy']:.3f}")]
    if report["repeat"]:
        lines.append(("same call on a second request", f"{report['repeat']['same_call']:.3f}"))
    if report["swap"]:
        part = report["swap"]
        lines.append((f"same winner in both orders ({part['pairs']} pairs)", f"{part['consistent']:.3f}"))
        lines.append(("prefers the response labelled good", f"{part['prefers_good']:.3f}"))
    for name, cell in (report["confusion"] or {}).items():
        text = f"{cell['called_good']:.3f}, labelled {cell['labelled_good']:.3f} ({cell['responses']} responses)"
        lines.append((f"called good: {name}", text))
    cost = report["cost"]
    lines.append(("seconds per response", f"{cost['seconds_per_response']:.4f}"))
    if cost.get("calls"):
        lines.append(("requests, retries", f"{cost['calls']:.0f}, {cost['retries']:.0f}"))
        lines.append(("prompt and completion tokens", f"{cost['prompt_tokens']:.0f}, {cost['completion_tokens']:.0f}"))
        lines.append(("cost", f"{cost['cost']:.6f}"))
    return lines
