"""The conformance kits for the small kinds: advantages, aggregations and callbacks."""

from __future__ import annotations

import copy
import inspect
import math

import torch
from torch import Tensor

from fdiv_gym.objectives.advantages.base import Advantage, checked_advantages, differing
from fdiv_gym.objectives.aggregation import Aggregation
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry.guard import label_of
from fdiv_gym.runs.callback import EVENTS, Callback, callback_metrics
from fdiv_gym.runs.panels import panels_of
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.states import check_advantage_state, check_callback_state

#: Three prompts of four responses: mixed, all equal, and mixed with one that has no score.
REWARDS = (0.0, 1.0, 0.25, 0.5, 0.1, 0.1, 0.1, 0.1, 1.0, math.nan, 0.0, 0.0)


def check_advantage(advantage: Advantage) -> Report:
    """Check an advantage estimator: form, unscored responses, equal rewards, order, permutation, state.

    Args:
        advantage: an instance.
    """
    report = Report(label_of(advantage))
    groups = _groups(REWARDS)
    with report.section("form"):
        checked_advantages(advantage, groups)
        differing(groups, advantage)
    if not report.ok:
        return report
    values = checked_advantages(advantage, groups)
    with report.section("unscored"):
        found = float(values[9])
        report.check("unscored", found == 0.0, f"a response without a score got {found}, expected exactly 0")
        changed = list(REWARDS)
        del changed[9]
        shorter = checked_advantages(advantage, _groups(changed, [4, 4, 3]))
        kept = torch.cat([values[:9], values[10:]])
        report.check(
            "unscored", torch.allclose(shorter, kept),
            "removing an unscored response changes the others: it enters a baseline",
        )  # fmt: skip
    with report.section("equal"):
        flat = checked_advantages(advantage, _groups([0.1] * 8))
        worst = float(flat.abs().max())
        report.check("equal", worst == 0.0, f"where all rewards are 0.1 an advantage is {worst}, expected exactly 0")
    with report.section("order"):
        first = values[:4]
        report.check(
            "order", int(first.argmax()) == 1 and int(first.argmin()) == 0,
            f"rewards {list(REWARDS[:4])} got advantages {[round(float(a), 3) for a in first]}: not in the same order",
        )  # fmt: skip
    with report.section("permutation"):
        order = torch.tensor([3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8])
        turned = checked_advantages(advantage, _groups([REWARDS[int(i)] for i in order]))
        report.check(
            "permutation", torch.allclose(turned, values[order]), "the order within a group changes the result"
        )
    with report.section("pure"):
        again = checked_advantages(advantage, groups)
        report.check("pure", torch.equal(again, values), "a second call with the same groups gives other values")
        untouched = torch.equal(groups.rewards.nan_to_num(9), torch.tensor(REWARDS, dtype=torch.float64).nan_to_num(9))
        report.check("pure", untouched, "the rewards were changed in place")
    check_advantage_state(advantage, groups, report)
    return report


def check_aggregation(aggregation: Aggregation) -> Report:
    """Check an aggregation: form, positive finite weights, zero lengths, permutation.

    Args:
        aggregation: an instance.
    """
    report = Report(label_of(aggregation))
    lengths = torch.tensor([1, 5, 20, 3])
    shares = torch.full((4,), 0.25, dtype=torch.float64)
    with report.section("form"):
        weights: object = aggregation.weights(lengths, shares)
        good = isinstance(weights, Tensor) and weights.shape == shares.shape
        got = tuple(weights.shape) if isinstance(weights, Tensor) else repr(weights)
        report.check("form", good, f"weights() returned {got}, expected a tensor of shape (4,)")
    if not report.ok:
        return report
    values = aggregation.weights(lengths, shares)
    with report.section("positive"):
        right = bool((torch.isfinite(values) & (values > 0)).all())
        report.check("positive", right, f"weights {values.tolist()}, expected finite numbers above 0")
    with report.section("empty"):
        empty = aggregation.weights(torch.tensor([0, 0, 0, 0]), shares)
        report.check("empty", bool(torch.isfinite(empty).all()), f"empty responses got the weights {empty.tolist()}")
    with report.section("permutation"):
        order = torch.tensor([2, 0, 3, 1])
        turned = aggregation.weights(lengths[order], shares)
        report.check("permutation", torch.allclose(turned, values[order]), "the order of responses changes the weights")
    if not aggregation.counts_tokens:
        with report.section("counts-tokens"):
            other = aggregation.weights(torch.tensor([1, 9, 9, 9]), shares)
            report.check(
                "counts-tokens", bool(torch.isclose(other[0], values[0])),
                "a response's weight depends on the lengths of others: set counts_tokens = True",
            )  # fmt: skip
    return report


def check_callback(callback: Callback) -> Report:
    """Check a callback: the signatures of its events, that it can be copied, its metrics and panels, and its state.

    Args:
        callback: an instance; its events are not called.
    """
    report = Report(label_of(callback))
    for event in EVENTS:
        with report.section("arguments"):
            ours = list(inspect.signature(getattr(Callback, event)).parameters)[1:]
            signature = inspect.signature(getattr(callback, event))
            try:
                signature.bind(*ours)
            except TypeError:
                report.fail("arguments", f"{event}{signature} cannot be called with ({', '.join(ours)})")
    public = [n for n in vars(type(callback)) if n.startswith(("before_", "after_", "at_"))]
    for name in public:
        report.check("events", name in EVENTS, f"{name} is not an event of a run; known: {', '.join(EVENTS)}")
    with report.section("copy"):
        copy.deepcopy(callback)
    with report.section("metrics"):
        callback_metrics(callback)
    with report.section("panels"):
        panels_of(callback)
    check_callback_state(callback, report)
    return report


def _groups(rewards: list[float] | tuple[float, ...], sizes: list[int] | None = None) -> GroupBatch:
    values = torch.tensor(rewards, dtype=torch.float64)
    sizes = sizes or [4] * (len(rewards) // 4)
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    lengths = torch.arange(len(rewards)) % 5 + 1
    return GroupBatch(values, index, -lengths.double(), lengths)
