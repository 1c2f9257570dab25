"""Truncated episodes that the user leaves out count as masked, and not as responses that no one could score."""

from dataclasses import replace

import pytest
from conftest_trainer import tiny_config, train
from updates_harness import scored

import fdiv_gym as fg
from fdiv_gym.rollouts.judging import MASKED
from fdiv_gym.runs import EVALUATIONS, METRICS, SAMPLES, RunFolder
from fdiv_gym_accelerate.metrics import check_unscored, rollout_line
from fdiv_gym_accelerate.readings import reading_of
from fdiv_gym_accelerate.streams import rollout_stream
from fdiv_gym_accelerate.windows import History


@pytest.fixture
def some_masked(groups):
    """Two groups of eight: scores 1 and 0, one response without a score, and five masked."""
    verdicts = [fg.Verdict.unscorable("?"), *[fg.Verdict.unscorable(MASKED)] * 5]
    first = scored(groups[0], [1.0, 0.0, *[None] * 6])
    rest = [replace(t, verdict=v) for t, v in zip(first.trajectories[2:], verdicts, strict=True)]
    return [replace(first, trajectories=(*first.trajectories[:2], *rest)), scored(groups[1], [1.0] * 8)]


def test_the_metrics_by_hand(some_masked):
    line = rollout_line(some_masked)
    assert (line["verdicts/unscored"], line["verdicts/masked"]) == (1 / 16, 5 / 16)
    assert line["reward/mean"] == pytest.approx(9 / 10)


def test_the_message_quotes_a_response_that_no_one_could_score(some_masked):
    check_unscored(1, 1 / 16, 0.1, some_masked)
    turned = replace(some_masked[0], trajectories=some_masked[0].trajectories[::-1])
    with pytest.raises(fg.TrainerError, match=r"6% of the responses have no score .*: unscorable: \?$"):
        check_unscored(1, 1 / 16, 0.05, [turned])


def test_the_reading_by_hand(some_masked):
    reading = reading_of(some_masked, rollout_stream(some_masked, 0))
    assert (reading.responses, reading.unscored, reading.masked) == (16, 1, 5)
    assert reading.mean_reward == pytest.approx(9 / 10)
    assert reading.merged(reading).masked == 10


def test_more_masked_episodes_are_no_event(some_masked):
    few, many = History(), History()
    good = reading_of(some_masked[1:], rollout_stream(some_masked[1:], 0))
    good = replace(good, groups=32, mixed=16, responses=256, reward=128.0)
    found = []
    for history, later in ((few, {"masked": 200}), (many, {"unscored": 200})):
        for step in range(20):
            found += [e.name for e in history.add(good if step < 10 else replace(good, **later, reward=28.0))]
        assert ("unscored_rising" in found) == (history is many)


def test_a_run_whose_episodes_are_all_masked_goes_on(tmp_path):
    """One token is never enough for an answer and its end."""
    changes = {"engine": {"max_new_tokens": 1}, "trainer__max_unscored": 0.01, "trainer__evaluate_every": 1}
    env = {"id": "math/Addition-v0", "digits": 1}
    shares = {}
    for how in ("mask", "zero"):
        folder = tmp_path / how
        assert train(tiny_config(env={**env, "score_truncated": how}, trainer__steps=1, **changes), folder).steps == 1
        (line,) = RunFolder(folder).lines(METRICS)
        assert line["verdicts/unscored"] == 0
        shares[how] = line["verdicts/masked"]
        assert line["response/cut_off"] > 0
        (evaluation, *_) = RunFolder(folder).lines(EVALUATIONS)
        assert evaluation["unscored"] == 0
        assert any(s["truncated"] for s in RunFolder(folder).lines(SAMPLES) if s["split"] == "heldout")
    assert shares == {"mask": line["response/cut_off"], "zero": 0}
