import json
import subprocess
import sys

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation.agreement import LabelledResponse, judge_reliability, kappa, read_labelled
from fdiv_gym.rewards.judge import CachedJudge

HARMFUL, HARMLESS = fg.Task("bad", data={"harmful": True}), fg.Task("fine", data={"harmful": False})


def rows(*items):
    return [LabelledResponse(task, response, good, refusal) for task, response, good, refusal in items]


RIGHT = rows(
    (HARMFUL, "no, sorry", True, True),
    (HARMFUL, "ok", False, False),
    (HARMLESS, "no, sorry", False, True),
    (HARMLESS, "ok", True, False),
)


def test_kappa_by_hand():
    # 20 and 15 agree of 50: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa([(True, False), (False, True)]) == -1
    assert kappa([(True, True)] * 3) != kappa([(True, True)] * 3)  # NaN: one class only


def test_a_judge_that_agrees():
    report = judge_reliability(fg.get_judge("rule"), RIGHT * 10)
    assert report["agreement"] == {
        "kappa": 1.0, "interval": [1.0, 1.0], "accuracy": 1.0, "called_good": 0.5, "labelled_good": 0.5,
    }  # fmt: skip
    assert report["repeat"] == {"same_call": 1.0, "mean_difference": 0.0}
    assert report["swap"] == {"pairs": 200, "consistent": 1.0, "prefers_good": 1.0}
    assert (report["responses"], report["unscorable"]) == (40, 0)


def test_a_judge_that_rates_every_refusal_as_good_is_reported():
    report = judge_reliability(fg.get_judge("rule", measure="refusal"), RIGHT)
    cells = {name: (cell["called_good"], cell["labelled_good"]) for name, cell in report["confusion"].items()}
    assert cells == {
        "harmful, answered": (0, 0),
        "harmful, refused": (1, 1),
        "harmless, answered": (0, 1),
        "harmless, refused": (1, 0),
    }
    assert report["agreement"]["kappa"] == 0
    assert report["swap"]["prefers_good"] == 0.5


class FirstWins(fg.Judge):
    """Prefers the first response. Unscorable for "x"."""

    async def judge(self, tasks, responses):
        return [fg.Verdict.unscorable("x") if r == "x" else fg.Verdict.scored(0.7) for r in responses]

    async def compare(self, tasks, firsts, seconds):
        return [fg.Verdict.scored(1.0) for _ in firsts]


def test_position_bias_and_unscorable_responses_are_reported():
    report = judge_reliability(FirstWins(), rows((HARMFUL, "a", True, None), (HARMFUL, "x", False, None)))
    assert report["swap"] == {"pairs": 1, "consistent": 0.0, "prefers_good": 0.5}
    assert report["unscorable"] == 1
    assert report["agreement"]["kappa"] is None
    assert report["confusion"] is None


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "p", "response": "r"}, "line 1: label is neither true/false nor 1/0, got None"),
        ({"prompt": "p", "label": 1}, "line 1: prompt and response must be strings"),
    ],
)
def test_wrong_files_are_refused(tmp_path, record, message):
    path = tmp_path / "l.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(fg.ConfigError, match=message):
        read_labelled(str(path))


def test_the_command(tmp_path):
    path = tmp_path / "labelled.jsonl"
    records = [
        {"prompt": r.task.prompt, "response": r.response, "label": r.good, "refusal": r.refusal, **r.task.data}
        for r in RIGHT
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    command = [sys.executable, "-m", "fdiv_gym", "check", "judge", "rule", "--labelled", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "kappa with the labels" in shown
    asked = subprocess.run([*command, "--json", "--set", "measure=refusal"], capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout)["agreement"]["kappa"] == 0
    wrong = subprocess.run([*command[:4], "--all", *command[-2:]], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "--labelled needs one judge" in wrong.stderr


class Cached(CachedJudge):
    """Alternates between 0 and 1 on uncached calls."""

    asked = 0

    async def judge_fresh(self, tasks, responses):
        Cached.asked += 1
        return [fg.Verdict.scored(float(Cached.asked % 2)) for _ in responses]


def test_repeated_requests_do_not_use_the_cache(fresh_cache):
    judge = fg.get_judge("ensemble", judges=["rule"])
    judge.members = [Cached()]
    judge.judge_batch([HARMFUL], ["no, sorry"])
    report = judge_reliability(judge, RIGHT)
    assert report["repeat"] == {"same_call": 0.0, "mean_difference": 1.0}


def test_pairs_to_one_prompt_are_bounded():
    many = rows(*[(HARMFUL, f"no {i}", True, True) for i in range(40)], *[(HARMFUL, "ok", False, False)] * 40)
    assert judge_reliability(fg.get_judge("rule"), many)["swap"]["pairs"] == 1000


@pytest.mark.parametrize("data", ["zzz", [1, 2], 5, {"keywords": 5}, {"keywords": "red"}, {"keywords": [5]}])
def test_data_that_a_judge_cannot_read_is_refused(tmp_path, data):
    path = tmp_path / "l.jsonl"
    path.write_text(json.dumps({"prompt": "p", "response": "r", "label": 1, "data": data}))
    with pytest.raises(fg.ConfigError, match="line 1: data"):
        read_labelled(str(path))


def test_a_csv_file_holds_data_as_json(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text('prompt,response,label,data\np,4,1,"{""keywords"": [""4""]}"\n')
    (record,) = read_labelled(str(path))
    assert (record.response, record.good, record.task.data) == ("4", True, {"keywords": ["4"]})
