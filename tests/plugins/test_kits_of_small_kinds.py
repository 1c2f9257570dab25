"""The conformance kits of advantages, aggregations and callbacks find planted faults."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kit_assertions import assert_found

import fdiv_gym as fg
from fdiv_gym import testing


class Raw(fg.Advantage):
    def compute(self, groups):
        return groups.rewards


class Uncentred(fg.Advantage):
    def compute(self, groups):
        return groups.rewards.nan_to_num() - 0.3


class Backwards(fg.Advantage):
    def compute(self, groups):
        return -fg.get_advantage("mean-centred").compute(groups)


@pytest.mark.parametrize(
    ("advantage", "check", "message"),
    [
        (Raw, "form", "advantage 'Raw' returned the advantage nan for a response of reward nan, expected a"),
        (Uncentred, "equal", "where all rewards are 0.1 an advantage is"),
        (Uncentred, "unscored", "a response without a score got"),
        (Backwards, "order", "rewards [0.0, 1.0, 0.25, 0.5] got advantages"),
    ],
)
def test_faults_of_advantages(advantage, check, message):
    assert_found(testing.check_advantage(advantage()), check, message)


class Forgets(fg.Advantage):
    """Its factor grows with the steps, and is in no state."""

    factor = 1.0

    def at_step(self, step, steps):
        self.factor += step

    def compute(self, groups):
        return self.factor * fg.get_advantage("mean-centred").compute(groups)


class KeepsOnly(Forgets):
    def state_dict(self):
        return {"factor": self.factor}


class Remembers(KeepsOnly):
    def load_state_dict(self, state):
        self.factor = state["factor"]


class KeepsTensor(Remembers):
    def state_dict(self):
        return {"factor": torch.tensor(self.factor)}


def test_faults_of_the_states_of_advantages():
    assert testing.check_advantage(Remembers()).ok
    assert_found(testing.check_advantage(Forgets()), "state", "state_dict must hold what at_step changed")
    found = testing.check_advantage(KeepsOnly())
    assert_found(found, "state", "an estimator that took the state {'factor': 16.0} has the state {'factor': 1.0}")
    assert_found(testing.check_advantage(KeepsTensor()), "state", "must return JSON values, 'factor' = tensor(16.)")


class PerResponse(fg.Aggregation):
    def weights(self, lengths, shares):
        return shares / lengths


class Undeclared(fg.Aggregation):
    def weights(self, lengths, shares):
        return torch.ones_like(shares) / lengths.sum().clamp(min=1)


def test_faults_of_aggregations():
    assert_found(testing.check_aggregation(PerResponse()), "empty", "empty responses got the weights [inf")
    assert_found(testing.check_aggregation(Undeclared()), "counts-tokens", "set counts_tokens = True")


class WrongArguments(fg.Callback):
    def after_step(self, step):
        pass


class WrongEvent(fg.Callback):
    def after_rollout(self, step, groups):
        pass


def test_faults_of_callbacks():
    report = testing.check_callback(WrongArguments())
    assert_found(report, "arguments", "after_step(step) cannot be called with (step, metrics)")
    assert_found(testing.check_callback(WrongEvent()), "events", "after_rollout is not an event of a run; known: ")


class WrongPanels(fg.Callback):
    """Returns what no report can show."""

    returned: object = None

    def panels(self):
        return self.returned


FIGURE = fg.PanelFigure("a", "b", {"c": [(1, "d")]})
TABLE = fg.PanelTable("a", ["b", "c"], [["d"]])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "panels must return a sequence of Panel, got None"),
        ([{"title": "a"}], "panels must return a sequence of Panel, got [{'title': 'a'}]"),
        ([fg.Panel(3)], "panels returned what is no figure or table: expected a text, got 3"),
        ([fg.Panel("a", [FIGURE])], "panels returned what is no figure or table: could not convert string to float"),
        ([fg.Panel("a", [], [TABLE])], "the table 'a' has rows of another length than its columns"),
        (
            [fg.Panel("a", ["figure"])],
            "no figure or table: expected a PanelFigure, got 'figure'",
        ),
    ],
)
def test_faults_of_panels(returned, message):
    callback = WrongPanels()
    callback.returned = returned
    assert_found(testing.check_callback(callback), "panels", message)


class Measures(fg.Callback):
    returned: object = None

    def metrics(self):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "metrics must return a mapping of names to numbers, got None"),
        ({"a": math.nan}, "metrics returned 'a' = nan, expected a finite number"),
        ({"a": "1"}, "metrics returned 'a' = '1', expected a finite number"),
        ({3: 1.0}, "metrics returned 3 = 1.0, expected a finite number"),
        ({"step": 1}, "metrics returned 'step', which the line of the step has: choose another name"),
    ],
)
def test_faults_of_the_metrics_of_callbacks(returned, message):
    callback = Measures()
    callback.returned = returned
    assert_found(testing.check_callback(callback), "metrics", message)
    callback.returned = {"a": np.float64(0.5)}
    assert testing.check_callback(callback).ok


class Counts(fg.Callback):
    """Keeps its count, which nothing restores."""

    count = 3

    def state_dict(self):
        return {"count": self.count}


class Recounts(Counts):
    def load_state_dict(self, state):
        self.count = state["count"]


class KeepsSet(Counts):
    def state_dict(self):
        return {"count": {3}}


def test_faults_of_the_states_of_callbacks():
    counted, restored = Counts(), Recounts()
    counted.count = restored.count = 4
    assert testing.check_callback(restored).ok
    message = "a new callback with the same options that took the state {'count': 4} has the state {'count': 3}"
    assert_found(testing.check_callback(counted), "state", message)
    assert_found(testing.check_callback(KeepsSet()), "state", "must return JSON values, 'count' = {3}")
