"""Checks of the state that a plugin keeps in checkpoints."""

from __future__ import annotations

import copy
import json

import torch

from fdiv_gym.objectives.advantages.base import Advantage, checked_advantages
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry.guard import restore_state, state_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.callback import Callback
from fdiv_gym.testing.report import Report

STEPS = 10


def check_callback_state(callback: Callback, report: Report) -> None:
    """The state is of JSON values, and a new callback with the same options takes it."""
    with report.section("state"):
        state = state_of(callback)
        fresh = type(callback)(**dict(callback.options)) if state else callback
        restore_state(fresh, state)
        _same_state(fresh, state, "a new callback with the same options", report)


def check_advantage_state(advantage: Advantage, groups: GroupBatch, report: Report) -> None:
    """After five steps the state is of JSON values, and an estimator that takes it goes on in the same way."""
    with report.section("state"):
        walked, resumed = copy.deepcopy(advantage), copy.deepcopy(advantage)
        for step in range(1, STEPS // 2 + 1):
            walked.at_step(step, STEPS)
            checked_advantages(walked, groups)
        state = state_of(walked)
        restore_state(resumed, state)
        _same_state(resumed, state, "an estimator", report)
        for one in (walked, resumed):
            one.at_step(STEPS // 2 + 1, STEPS)
        same = torch.equal(checked_advantages(walked, groups), checked_advantages(resumed, groups))
        report.check(
            "state", same,
            "one that took the state of step 5 computes other advantages at step 6 than one that ran through: "
            "state_dict must hold what at_step changed",
        )  # fmt: skip


def _same_state(plugin: Advantage | Callback, state: dict[str, object], what: str, report: Report) -> None:
    found = state_of(plugin)
    report.check(
        "state", json.dumps(found, sort_keys=True) == json.dumps(state, sort_keys=True),
        f"{what} that took the state {shorten(state)} has the state {shorten(found)}: load_state_dict must restore it",
    )  # fmt: skip
