"""The tables of the trained policies: pass@k, entropy, response length, divergence from the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fdiv_gym.bench.comparing import paired_difference
from fdiv_gym.bench.numbers import Entry, entry, entry_of, mean_over_seeds, nothing
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import DEFAULT, Resampling
from fdiv_gym.bench.results import View
from fdiv_gym.bench.tables_of_pairs import OF_SCORES, judged
from fdiv_gym.divergences import Divergence
from fdiv_gym.errors import BenchError
from fdiv_gym.evaluation import pass_at_k
from fdiv_gym.evaluation.metrics import default_ks

After = Mapping[str, Any]
"""``after.json`` of a cell."""
ESTIMATOR = (
    "Mean over responses sampled from the policy of f(t)/t - f'(1)(1 - 1/t), t the policy's probability of the whole "
    "response divided by the reference's; mean over seeds. The standard error is that of the mean over seeds; with one "
    "seed that over responses."
)
HEAVY = "heavy tails, neither the estimate nor its standard error can be relied on"
LARGEST = 1e300
"""A number of ``after.json`` beyond this is refused."""
LARGEST_SHARE = 0.5
"""Of the sum of all terms: if one response has more, the tails are heavy."""


def policies(
    view: View,
    after: Mapping[str, After],
    untrained: Sequence[Mapping[str, Any]],
    divergences: Mapping[str, Divergence],
) -> dict[str, dict[str, Any]]:
    """What each objective's policies are after training, by environment; environments with a missing seed are left out.

    Args:
        view: the cells.
        after: ``after.json`` by the folder of the cell.
        untrained: the sweeps of the untrained models.
        divergences: those to estimate, by name.

    Raises:
        BenchError: a file of a cell belongs to another record, or does not fit its responses.
    """
    found: dict[str, dict[str, Any]] = {}
    for objective in view.objectives:
        found[objective] = {}
        for environment in view.environments:
            group = view.group(objective, environment)
            if group is None:
                continue
            measured = _measured(view, objective, environment, group, after)
            best = best_pass(view, environment, untrained)
            found[objective][environment] = {
                "pass": {k: entry_of(v, len(group)) for k, v in pass_rates(view, environment, group).items()},
                "untrained_pass": best,
                "entropy": _mean_of(measured, "entropy", len(group)),
                "tokens": _mean_of(measured, "tokens", len(group)),
                "divergences": _divergences(measured, divergences),
            }
    return found


def pass_rates(view: View, environment: str, records: Sequence[Record]) -> dict[int, list[float | None]]:
    """pass@k of each seed for every k, over the tasks that have at least k scored responses; None without such a task.

    A response is correct from the environment's highest score on, as in ``fdiv-gym eval``.
    """
    _, correct_from = view.results.ranges[environment]
    largest = max((len(scores) for record in records for scores in record.tasks.values()), default=0)
    found: dict[int, list[float | None]] = {}
    for k in default_ks(largest) if largest else ():
        found[k] = []
        for record in records:
            scored = [[s for s in scores if s is not None] for scores in record.tasks.values()]
            rates = [pass_at_k(len(s), sum(x >= correct_from for x in s), k) for s in scored if len(s) >= k]
            found[k].append(math.fsum(rates) / len(rates) if rates else None)
    return found


def best_pass(view: View, environment: str, untrained: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The highest pass@k of the untrained model over the temperatures of its sweep, for every k measured."""
    best: dict[int, dict[str, Any]] = {}
    for sweep in untrained:
        if (sweep.get("environment"), sweep.get("model")) != (environment, view.model):
            continue
        for row in sweep.get("rows", ()):
            for name, metric in row["metrics"].items():
                kind, _, number = name.partition("@")
                if kind != "pass" or metric["value"] is None:
                    continue
                k = int(number)
                if k not in best or metric["value"] > best[k]["value"]:
                    ends = {end: metric.get(end) for end in ("low", "high")}
                    best[k] = {"value": metric["value"], **ends, "temperature": row["temperature"]}
    return best


def sharpening(view: View, untrained: Sequence[Mapping[str, Any]], how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """pass@k after training minus the best of the untrained model, at k = 1 and at the largest k that both have.

    The untrained model's number is taken as exact: the interval is over the seeds of training only.
    """
    found, differences = [], []
    for objective in view.objectives:
        for environment in view.environments:
            group = view.group(objective, environment)
            best = best_pass(view, environment, untrained)
            rates = {} if group is None else pass_rates(view, environment, group)
            both = sorted(k for k, values in rates.items() if k in best and None not in values)
            for k in dict.fromkeys([*both[:1], *both[-1:]]):
                values = np.array(rates[k], dtype=np.float64)[:, None]
                differences.append(paired_difference(values, np.full_like(values, best[k]["value"]), how))
                row = {"objective": objective, "environment": environment, "k": k}
                found.append({**row, "trained": entry(mean_over_seeds(values[:, 0])), "untrained": best[k]})
    return [{**row, **rest} for row, rest in zip(found, judged(differences, OF_SCORES), strict=True)]


def _measured(
    view: View, objective: str, environment: str, group: Sequence[Record], after: Mapping[str, After]
) -> list[After]:
    """``after.json`` of each seed that has one, checked against its record."""
    found = []
    for seed, record in zip(view.seeds, group, strict=True):
        name = view.name(objective, environment, seed)
        if name not in after:
            continue
        values = after[name]
        if values.get("key") != record.key:
            raise BenchError(f"{name}/after.json belongs to another record: its key is not the record's")
        responses = sum(len(scores) for scores in record.tasks.values())
        for column in ("tokens", "log_ratio", "entropy"):
            length = len(values[column]) if isinstance(values.get(column), (list, tuple)) else None
            if length != responses:
                raise BenchError(f"{name}/after.json: {column} has {length} values for {responses} responses")
            if not all(value is None or _is_finite(value) for value in values[column]):
                raise BenchError(f"{name}/after.json: {column} holds something that is no finite number")
        found.append(values)
    return found


def _is_finite(value: object) -> bool:
    """Whether it is a number; ``True`` and NaN are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _mean_of(measured: Sequence[After], column: str, seeds: int) -> Entry:
    """The mean over responses of each seed, then over seeds."""
    means = []
    for values in measured:
        known = [value for value in values[column] if value is not None]
        means.append(math.fsum(known) / len(known) if known else None)
    return entry_of(means, seeds) if means else nothing("not measured")


def _divergences(measured: Sequence[After], divergences: Mapping[str, Divergence]) -> dict[str, dict[str, Any]]:
    ratios = [[value for value in values["log_ratio"] if value is not None] for values in measured]
    tensors = [torch.tensor(values, dtype=torch.float64) for values in ratios if values]
    return {name: _divergence(divergence, tensors) for name, divergence in divergences.items()} if tensors else {}


def _divergence(divergence: Divergence, ratios: Sequence[torch.Tensor]) -> dict[str, Any]:
    """See ``ESTIMATOR``; what overflows is None."""
    found = [divergence.estimate(values) for values in ratios]
    means = np.array([mean for mean, _ in found])
    pooled = torch.cat(list(ratios))
    beyond = divergence.share_beyond_guard(pooled)
    terms = divergence.terms(pooled)
    largest = float((terms / terms.max()).sum().reciprocal()) if 0 < float(terms.max()) < math.inf else None
    notes = [f"{beyond:.2%} of the log-ratios are beyond the guard: {HEAVY}"] if beyond > 0 else []
    if largest is not None and largest > LARGEST_SHARE:
        notes.append(f"one response makes {largest:.0%} of the estimate: {HEAVY}")
    if not np.isfinite(means).all():
        notes.append(f"the estimate does not fit in a number: {HEAVY}")
    with np.errstate(over="ignore", invalid="ignore"):  # then the number is None
        mean = float(means.mean())
        error = float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else found[0][1]
    return {
        "estimate": mean,
        "standard_error": error,
        "beyond_guard": beyond,
        "largest_share": largest,
        "seeds": len(means),
        "each": means,
        "note": "; ".join(notes),
    }
