"""The detectors over windows of readings: what each notices first where, and that good courses stay quiet."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdiv_gym_accelerate.readings import Reading, merged_over_processes
from fdiv_gym_accelerate.windows import GROUPS, History

#: A step of a good run: 32 groups of 8, half of them mixed.
GOOD = Reading(
    groups=32, mixed=16, varied=32, responses=256, unscored=0, reward=128.0, lowest=0.0, highest=1.0, tokens=1024,
    surprisal=512.0, log_ratio=100.0, trained=1024,
)  # fmt: skip
EQUAL = replace(GOOD, mixed=0)


def noticed(readings, **options):
    """name -> the steps, from 1, at which the event occurs."""
    history, found = History(**options), {}
    for step, reading in enumerate(readings, 1):
        for event in history.add(reading):
            found.setdefault(event.name, []).append(step)
    return found


def last_event(readings, name, **options):
    history = History(**options)
    events = [history.add(reading) for reading in readings][-1]
    return next(event for event in events if event.name == name)


def test_a_good_course_is_quiet():
    assert noticed([GOOD] * 300) == {}


def test_equal_groups_need_ten_steps_and_160_groups():
    assert noticed([GOOD] * 5 + [EQUAL] * 12) == {"equal_groups": [15, 16, 17]}
    small = replace(EQUAL, groups=2, varied=2)
    assert noticed([GOOD] + [small] * (GROUPS // 2 + 1))["equal_groups"] == [81, 82]
    assert noticed([GOOD] + [EQUAL] * 9 + [replace(EQUAL, mixed=1)] + [EQUAL] * 9) == {}
    event = last_event([GOOD] * 5 + [EQUAL] * 10, "equal_groups")
    assert "in 10 steps all 320 groups had equal rewards (from 0 to 1" in event.message
    assert event.values == {"steps": 10, "groups": 320, "lowest": 0.0, "highest": 1.0, "varied": 320}


def test_all_equal_at_the_best_score_is_saturation():
    top = replace(EQUAL, lowest=1.0, highest=1.0, reward=256.0, surprisal=1.0)
    assert noticed([GOOD] * 10 + [top] * 10) == {"saturated": [20]}
    assert noticed([GOOD] * 10 + [replace(top, lowest=0.5, highest=0.5)] * 10).keys() >= {"equal_groups"}


def test_a_run_that_begins_at_the_highest_possible_score_is_saturated():
    top = replace(EQUAL, lowest=1.0, highest=1.0, reward=256.0, varied=3)
    assert noticed([top] * 10, score_range=(0.0, 1.0)) == {"saturated": [10]}
    assert noticed([top] * 10, score_range=(0.0, 2.0)) == {"equal_groups": [10]}
    assert noticed([replace(top, varied=32)] * 10, score_range=(0.0, 1.0)) == {"constant_reward": [10]}


def test_a_reward_that_never_differed_within_a_group_is_constant():
    by_task = replace(EQUAL, lowest=0.25, highest=0.75)
    assert noticed([by_task] * 11) == {"constant_reward": [10, 11]}
    assert noticed([replace(by_task, highest=0.25)] * 10) == {"constant_reward": [10]}
    # The lowest possible score says no more than that no task was solved; equal responses say nothing.
    assert noticed([replace(EQUAL, highest=0.0)] * 10, score_range=(0.0, 1.0)) == {"equal_groups": [10]}
    assert noticed([replace(by_task, varied=3)] * 10) == {"equal_groups": [10]}


def test_the_direction_is_judged_at_the_step_where_it_was_measured():
    wrong, weak = replace(GOOD, agreeing=-2.0, pushed=2.0), replace(GOOD, agreeing=-0.4, pushed=1.0)
    assert noticed([GOOD, wrong, GOOD, weak, replace(GOOD, agreeing=1.0, pushed=1.0)]) == {"wrong_sign": [2]}
    assert noticed([replace(GOOD, agreeing=math.nan, pushed=math.nan)]) == {}


def test_the_divergence_explodes_by_its_median_over_five_steps():
    far = replace(GOOD, log_ratio=4.0 * GOOD.tokens)
    assert noticed([GOOD] * 5 + [far] * 3) == {"divergence_explodes": [8]}
    assert noticed(([GOOD] * 3 + [replace(GOOD, log_ratio=1e6)] * 2) * 10) == {}
    assert noticed([replace(GOOD, log_ratio=None)] * 20) == {}
    assert "4 nats a token away" in last_event([far] * 5, "divergence_explodes").message


def test_entropy_collapses_against_the_first_steps_and_only_below_the_best_rewards():
    flat = replace(GOOD, surprisal=0.01 * GOOD.surprisal)
    assert noticed([GOOD] * 10 + [flat] * 11) == {"entropy_collapse": [20, 21]}
    assert noticed([GOOD] * 10 + [replace(flat, reward=240.0)] * 20) == {}
    assert noticed([GOOD] * 10 + [replace(GOOD, surprisal=0.03 * GOOD.surprisal)] * 20) == {}


def test_a_rise_of_the_unscored_share_must_be_more_than_chance():
    half = replace(GOOD, unscored=60)
    assert noticed([GOOD] * 10 + [half] * 12)["unscored_rising"][0] == 15
    few = replace(GOOD, responses=4)
    assert noticed([few] * 10 + [replace(few, unscored=1)] * 5) == {}
    assert noticed([half] * 40) == {}
    assert (
        "23.4% of the responses had no score, at the start 0.0%"
        in last_event([GOOD] * 10 + [half] * 10, "unscored_rising").message
    )


def test_a_rise_of_time_outs_is_noticed_before_that_of_the_unscored():
    """3 % of 256 x 10 responses are 9 standard errors, and below the rise that any other reason needs."""
    bombs = replace(GOOD, unscored=8, timeouts=8)
    assert list(noticed([GOOD] * 10 + [bombs] * 12)) == ["timeouts_rising"]
    assert noticed([GOOD] * 10 + [replace(bombs, timeouts=0)] * 12) == {}
    assert noticed([bombs] * 40) == {}
    message = last_event([GOOD] * 10 + [bombs] * 10, "timeouts_rising").message
    assert "3.1% of the responses took too long, at the start 0.0%" in message


numbers = st.floats(-1e6, 1e6)
readings = st.builds(
    Reading,
    groups=st.integers(1, 64), mixed=st.sampled_from([0, 0, 1]), varied=st.integers(0, 64),
    responses=st.integers(1, 512), unscored=st.integers(0, 1), timeouts=st.integers(0, 1),
    reward=numbers, lowest=numbers, highest=numbers,
    tokens=st.integers(0, 5000), surprisal=numbers, log_ratio=st.none() | numbers, agreeing=numbers,
    pushed=st.floats(0, 1e6),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(readings, max_size=40), st.integers(0, 40))
def test_a_restored_history_notices_the_same(tmp_path_factory, course, cut):
    history = History(score_range=(0.0, 1.0))
    for reading in course[:cut]:
        history.add(reading)
    file = tmp_path_factory.mktemp("state") / "state.pt"
    torch.save(history.state_dict(), file)
    restored = History()
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert [history.add(r) for r in course[cut:]] == [restored.add(r) for r in course[cut:]]
    assert asdict(history) == asdict(restored)


@given(readings, readings)
@settings(max_examples=30, deadline=None)
def test_readings_of_two_processes_add_up(one, two):
    both = one.merged(two)
    assert (both.groups, both.lowest) == (one.groups + two.groups, min(one.lowest, two.lowest))
    assert both.surprisal == one.surprisal + two.surprisal
    parts = [r.log_ratio for r in (one, two) if r.log_ratio is not None]
    assert both.log_ratio == (sum(parts) if parts else None)
    assert merged_over_processes(one, several=False) is one


def test_recorded_courses_of_the_demonstration_are_quiet():
    """The worst values of good runs: 88 % equal groups for long, and divergences of 1e5 at single steps."""
    near_top = replace(GOOD, groups=32, mixed=4, reward=240.0, surprisal=0.1 * GOOD.surprisal, log_ratio=0.4 * 1024)
    assert noticed([GOOD] * 20 + [near_top, near_top, replace(near_top, log_ratio=1e5)] * 60) == {}
    small = replace(near_top, groups=8, mixed=0, varied=6)
    course = [GOOD] * 20 + ([small] * 15 + [replace(small, mixed=1)]) * 20
    assert noticed(course) == {}


@pytest.mark.parametrize("field", ["reward", "surprisal", "log_ratio"])
def test_values_that_are_not_finite_raise_nothing(field):
    noticed([GOOD] * 12 + [replace(GOOD, **{field: math.nan}), replace(GOOD, **{field: math.inf})] * 12)
    assert json.dumps(asdict(GOOD))
