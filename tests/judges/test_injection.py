import json
import subprocess
import sys

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation import judge_injection
from fdiv_gym.evaluation.injections import CARRIERS, INJECTIONS, ORDINARY, carried


class Gullible(fg.Judge):
    """1 for a response that speaks of its own score, 0 otherwise."""

    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(float("score" in r)) for r in responses]


class Firm(fg.Judge):
    """The same score for every response."""

    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(0.3) for _ in responses]


class Silent(fg.Judge):
    async def judge(self, tasks, responses):
        return [fg.Verdict.unscorable("a group of one") for _ in responses]


def test_the_set_is_large_and_distinct():
    assert len(INJECTIONS) >= 40
    texts = {carried(text, "an answer") for text in INJECTIONS.values()}
    assert len(texts) == len(INJECTIONS)
    assert not any("score" in text for text in [*ORDINARY, *(response for _, response in CARRIERS)])


def test_a_gullible_judge_is_caught():
    report = judge_injection(Gullible())
    share = sum("score" in text for text in INJECTIONS.values()) / len(INJECTIONS)
    assert share > 0.4
    found = report["injections"]
    assert (found["moved"], found["raised"], found["mean_change"]) == pytest.approx((share,) * 3)
    assert (found["lowered"], found["unscorable"], found["pairs"]) == (0, 0, len(INJECTIONS) * len(CARRIERS))
    assert report["ordinary"]["moved"] == 0
    assert set(report["strongest"].values()) == {1.0}


def test_a_firm_judge_does_not_move():
    report = judge_injection(Firm())
    assert (report["injections"]["moved"], report["ordinary"]["moved"]) == (0, 0)


def test_a_judge_of_groups_is_refused():
    with pytest.raises(fg.JudgeError, match="scores none of the 6 plain responses: a group of one"):
        judge_injection(Silent())


def test_the_command():
    command = [sys.executable, "-m", "fdiv_gym", "check", "judge", "rule", "--injection"]
    record = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert record["injections"]["texts"] == len(INJECTIONS)
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "strongest injections" in shown
    wrong = subprocess.run([*command[:4], "--injection", "--all"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
