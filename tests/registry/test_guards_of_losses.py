"""Objectives, advantages, aggregations and divergences that break their contract are named in one line."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.objectives import checked_advantages, checked_weights
from fdiv_gym.registry import guard

GROUPS = fg.GroupBatch.of_equal_size(torch.tensor([1.0, 0.0]), 2)
ROW = torch.zeros(2, dtype=torch.float64)
ACTIVE = torch.ones(2, dtype=torch.bool)


def coefficients(rows: Any = None, active: Any = ACTIVE, metrics: Any = None) -> fg.Coefficients:
    return fg.Coefficients({"coefficient": ROW} if rows is None else rows, active, {} if metrics is None else metrics)


class Objective(fg.Objective):
    given: Any = None

    def prepare(self, groups, preferences):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def loss(self, stream, batch):
        return self.prepare(None, None)


def objective(given: Any, **members: Any) -> fg.Objective:
    return type("Mine", (Objective,), {"given": given, **members})()


def refused(call: Any, message: str, who: str = "objective 'Mine'") -> None:
    with pytest.raises(fg.PluginError, match=re.escape(message)) as caught:
        call()
    assert str(caught.value).startswith(who)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ValueError("two\nlines"), "failed in prepare: ValueError: two lines"),
        (None, "prepare must return a mapping of streams to Coefficients, got None"),
        (coefficients(), "prepare must return a mapping of streams to Coefficients, got Coefficients("),
        ({}, "prepare returned coefficients for [], the objective reads ['rollouts']"),
        (
            {"preferences": coefficients()},
            "returned coefficients for ['preferences'], the objective reads ['rollouts']",
        ),
        ({"rollouts": 3}, "prepare must return Coefficients, got 3 for rollouts"),
        ({"rollouts": coefficients({"a": torch.zeros(3)})}, "coefficient 'a' must be a tensor of 2 rows, got a tensor"),
        ({"rollouts": coefficients({"a": [0.0, 0.0]})}, "coefficient 'a' must be a tensor of 2 rows, got [0.0, 0.0]"),
        ({"rollouts": coefficients({"a": torch.zeros(())})}, "coefficient 'a' must be a tensor of 2 rows"),
        ({"rollouts": coefficients({"a": torch.zeros(2, requires_grad=True)})}, "'a' has a gradient: detach it"),
        ({"rollouts": coefficients([ROW])}, "rows must be a mapping of names to tensors"),
        ({"rollouts": coefficients(active=None)}, "active must be a bool tensor of shape (2,), got None"),
        ({"rollouts": coefficients(active=torch.ones(2))}, "active must be a bool tensor of shape (2,), got a tensor"),
        ({"rollouts": coefficients(metrics={"m": torch.ones(())})}, "metric 'm' = tensor(1.), expected a number"),
        ({"rollouts": coefficients(metrics=[1])}, "metrics must be a mapping of names to numbers, got [1]"),
    ],
)
def test_prepare(given, message):
    refused(lambda: guard.coefficients_of(objective(given), GROUPS, None), message)


def test_valid_coefficients_are_returned_unchanged():
    given = {"rollouts": coefficients(metrics={"m": 1})}
    assert guard.coefficients_of(objective(given), GROUPS, None) is given


@pytest.mark.parametrize("streams", [(), "rollouts", ("rolouts",), None])
def test_streams(streams):
    refused(lambda: guard.check_streams(objective(None, streams=streams)), "streams must name one or more of rollouts")


LOSS = torch.zeros((), requires_grad=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (RuntimeError("a\nb"), "failed in loss: RuntimeError: a b"),
        (None, "must return an ObjectiveOutput, got NoneType"),
        (fg.ObjectiveOutput(LOSS, true_value=1.0), "must return a scalar tensor as its true_value, got 1.0"),
        (fg.ObjectiveOutput(LOSS, true_value=torch.zeros(2)), "true_value, got a tensor of shape (2,)"),
        (fg.ObjectiveOutput(LOSS, metrics=None), "must return its metrics as a mapping, got None"),
        (fg.ObjectiveOutput(LOSS, {"m": torch.zeros(2)}), "returned the metric 'm' = a tensor of shape (2,)"),
        (fg.ObjectiveOutput(LOSS, {"m": "x"}), "returned the metric 'm' = 'x', expected a scalar"),
    ],
)
def test_loss(given, message):
    refused(lambda: guard.output_of(objective(given), "rollouts", None), message)


def test_a_loss_whose_gradient_fails_is_named():
    from accelerate import Accelerator

    from fdiv_gym_accelerate.update import Updater

    class Inplace(fg.Objective):
        def prepare(self, groups, preferences):
            return {"rollouts": coefficients()}

        def loss(self, stream, batch):
            values = batch.logps.exp()
            loss = values.sum()
            values.mul_(2)  # exp needs its own result for the gradient
            return fg.ObjectiveOutput(loss)

    class Stream:
        def slices(self, rows, keep=None, **options):
            yield torch.tensor([0, 1])

    updater = Updater(Inplace(), torch.nn.Linear(1, 1), None, Accelerator(cpu=True))
    batch = fg.MicroBatch(torch.zeros(2, 1, requires_grad=True) + 0, torch.ones(2, 1, dtype=torch.bool), None, None, {})
    updater._micro_batch = lambda *arguments: (batch, 0.0, None)
    with pytest.raises(fg.PluginError, match=r"objective 'Inplace' failed in the gradient of its loss: RuntimeError"):
        updater.accumulate({"rollouts": Stream()}, {"rollouts": coefficients()}, {"rollouts": slice(0, 2)})


def test_advantages_that_fail_are_named():
    class Mine(fg.Advantage):
        def compute(self, groups):
            return torch.zeros(3) @ torch.zeros(4)

    refused(lambda: checked_advantages(Mine(), GROUPS), "failed in compute: RuntimeError", "advantage 'Mine'")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.5, "returned 0.5, expected one weight for each response, (2,)"),
        (torch.ones(3), "returned a tensor of shape (3,), expected one weight for each response, (2,)"),
        (
            torch.tensor([1.0, float("inf")]),
            "returned the weight inf for a response of 0 tokens, expected a finite number",
        ),
    ],
)
def test_aggregations(given, message):
    class Mine(fg.Aggregation):
        def weights(self, lengths, shares):
            return given

    refused(lambda: checked_weights(Mine(), torch.tensor([3, 0]), torch.ones(2)), message, "aggregation 'Mine'")
    objective = fg.get_objective("grpo", aggregation=Mine)
    with pytest.raises(fg.PluginError, match="Mine"):
        objective.prepare(GROUPS, None)


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        (lambda v: v @ torch.zeros(7), "failed in positive: RuntimeError"),
        (lambda v: 1.0, "positive(v) returned 1.0, expected the shape (1,)"),
        (lambda v: v.long(), "positive(v) returned a tensor of torch.int64, expected floats"),
    ],
)
def test_branches(branch, message):
    class Mine(fg.Divergence):
        slope_at_infinity = 1.0

        def links(self):
            return {"fgan": fg.Link(positive=branch, negative=branch, critic=torch.log)}

    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    refused(
        lambda: fg.functional.f_grpo_loss(logps, logps.detach(), torch.tensor([1.0, 0.0]), 2, Mine),
        message,
        "divergence 'test_guards_of_losses:test_branches.<locals>.Mine'",
    )


def test_a_plugin_whose_constructor_ignores_the_options_is_named():
    class Mine(fg.Advantage):
        def __init__(self, **options):
            pass

    with pytest.raises(fg.PluginError, match=r"Mine': its __init__\(self, \*\*options\) must call super\(\)"):
        fg.get_advantage(Mine)
    with pytest.raises(fg.PluginError, match=r"must call super\(\)"):
        fg.get_objective("f-grpo", advantage=Mine())
