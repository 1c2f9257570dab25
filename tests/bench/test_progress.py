"""The estimate of what is left."""

import pytest

from fdiv_gym.bench.progress import Progress, duration


def progress(total, at_a_time, earlier=()):
    return Progress(total, [], [], list(earlier), at_a_time, lambda line: None)


def test_nothing_is_known_before_the_first_cell_has_ended():
    assert progress(4, 2).seconds_left() is None


def test_what_is_left_is_shared_by_the_cells_that_run_at_a_time():
    of = progress(7, 2)
    of.add_done("a", 10.0)
    of.add_done("b", 30.0)
    # Five cells of 20 s: two of them have run for 5 and 15 s, so 15 + 5 + 3 * 20 s of work for two.
    assert of.seconds_left([5.0, 15.0]) == 40.0
    of.add_failed("c", "it failed")
    assert of.seconds_left([5.0, 15.0]) == 30.0


def test_the_last_cells_take_as_long_as_the_longest_of_them():
    of = progress(3, 8)
    of.add_done("a", 20.0)
    assert of.seconds_left([19.0, 1.0]) == 19.0
    assert of.seconds_left([100.0, 100.0]) == 0.0


def test_earlier_runs_count_until_a_cell_has_run_from_its_start():
    of = Progress(4, ["a", "b"], [], [100.0, 200.0], 1, lambda line: None)
    assert of.seconds_left() == 300.0
    of.add_done("c", None)  # resumed
    assert of.seconds_left() == 150.0
    assert progress(2, 1, [50.0]).seconds_left() == 100.0


def test_nothing_left_has_no_estimate():
    of = progress(1, 1)
    of.add_done("a", 3.0)
    assert of.seconds_left() is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (12240, "3.4 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
