"""The report of a run: intervals, smoothing, rounding, facts."""

from __future__ import annotations

import json
import math
import statistics

import pytest

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder, write_report
from fdiv_gym.runs.pages import (
    complete_samples,
    evaluation_table,
    number,
    sample_table,
    score_cards,
    score_intervals,
    text,
)
from fdiv_gym.runs.plots import Curves, plots_of, smoothed
from fdiv_gym.runs.report import facts_of


def sample(step, mode, task, score):
    return {"step": step, "mode": mode, "split": "heldout", "task_hash": task, "verdict": {"score": score}}


def test_the_interval_is_over_tasks_not_samples():
    scores = {"a": (1.0, 1.0), "b": (0.0, 1.0), "c": (0.0, 0.0)}
    samples = [sample(0, "sampled", task, s) for task, pair in scores.items() for s in pair]
    samples.append(sample(0, "sampled", "d", None))  # no score: left out
    samples.append(sample(0, "greedy", "a", 1.0))  # one task: no interval
    samples.append({**sample(0, "sampled", "z", 1.0), "split": "train"})
    half = 1.96 * statistics.stdev([1.0, 0.5, 0.0]) / math.sqrt(3)
    assert score_intervals(samples) == {(0, "sampled"): pytest.approx((0.5 - half, 0.5 + half))}


def test_equal_scores_of_one_have_an_interval_with_a_width():
    samples = [sample(0, "greedy", str(task), 1.0) for task in range(256)]
    low, high = score_intervals(samples)[0, "greedy"]
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(256 / (256 + 1.96**2))  # Wilson's lower bound at a share of 1: n/(n + z^2)
    samples[:128] = [sample(0, "greedy", str(task), 0.0) for task in range(128)]
    assert score_intervals(samples)[0, "greedy"] == pytest.approx((0.4392, 0.5608), abs=1e-4)


def test_smoothing_keeps_constants_and_the_first_value():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    first, second = smoothed([1.0, 0.0], span=3)
    assert (first, second) == (1.0, pytest.approx(0.25 / 0.75))


def test_ratios_to_the_old_policy_are_drawn_where_a_step_takes_several_updates():
    line = {"step": 1, "loss": 0.5, "ratio/p01": 0.9, "ratio/p50": 1.0, "ratio/p99": 1.1, "ratio/kl_old": 0.01}

    def titles(updates):
        return set(plots_of([Curves("run", [{**line, "updates/count": updates}], [], {})]))

    several = {"Ratio to the old policy", "KL divergence to the old policy", "Updates of a step"}
    assert titles(1.0) == {"Loss"}  # the policy is the old one: nothing to see
    assert titles(4.0) == {"Loss"} | several


def test_turns_and_outcomes_are_drawn_of_environments_of_several_turns():
    one = {"step": 1, "loss": 0.5, "response/cut_off": 0.0, "response/tokens": 3.0}
    several = one | {"episode/turns": 2.0, "episode/truncated": 0.5, "episode/environment_tokens": 4.0}

    def titles(line):
        return list(plots_of([Curves("run", [line], [], {})]))

    turns = ["Turns of an episode", "Truncated episodes", "Tokens of an episode"]
    assert titles(one) == ["Loss", "Response length"]
    assert titles(several) == [*titles(one), *turns]
    assert titles(several | {"episode/calls": 1.0}) == [*titles(several), "Outcomes of episodes"]
    assert titles(several | {"episode/$\\frac{": 1.0, "episode/\u202e": 1.0}) == titles(several)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"), (0.123456, "0.1235"), (None, "-"), (True, "True"), ("x", "x"), (1e-9, "1e-09"), (10291.7, "10,292"),
        (12345, "12,345"), (10**30, "1e+30"), (math.inf, "inf"), (-2e7, "-20,000,000"),
    ],
)  # fmt: skip
def test_numbers_are_rounded(value, shown):
    assert number(value) == shown


def test_scores_have_three_decimals():
    assert [number(v, "score/greedy") for v in (1, 0.99609375, None)] == ["1.000", "0.996", "-"]


def test_a_text_is_cut_and_shows_what_cannot_be_seen():
    assert text("a\n\x1b[31m\u202eb\ud800") == "a\n\\x1b[31m\\u202eb\\ud800"
    assert text("x" * 4010) == "x" * 4000 + "\n... 10 more characters"


def complete(step, task, score=0.0, response="r"):
    record = sample(step, "sampled", task, score) | {"prompt": "p" + task, "answer": "a", "response": response}
    record["verdict"]["status"] = "scored"
    messages = (fg.Message("user", "p" + task), fg.Message("assistant", response))
    return record | {"transcript": fg.Transcript(messages, 1).to_dict()}


def test_samples_with_missing_keys_are_left_out():
    good = complete(0, "t")
    bad = [{"a": 1}, {**good, "step": "x"}, {**good, "verdict": {}}, {**good, "verdict": 3}, {**good, "response": None}]
    bad += [{k: v for k, v in good.items() if k != key} for key in ("split", "mode", "task_hash", "prompt")]
    bad += [{**good, "verdict": {"score": "1"}}, {**good, "verdict": {"score": True}}]
    bad += [{**good, "transcript": None}, {**good, "transcript": good["transcript"] | {"end": "lost"}}]
    assert complete_samples([*bad, good]) == [good]


def test_the_sample_table_has_one_column_for_each_evaluation():
    table = sample_table([complete(0, "t"), complete(5, "t", 1.0, "better"), complete(5, "only late")])
    assert table["steps"] == [0, 5]
    assert [[s["response"] for s in row["samples"]] for row in table["rows"]] == [["r", "better"]]
    assert sample_table([complete(0, "t")])["steps"] == [0]
    assert sample_table([]) == {}


def test_the_cards_show_first_and_last_with_the_interval_of_the_last():
    lines = [{"step": 0, "score/greedy": None}, {"step": 4, "score/greedy": 0.5}]
    (card,) = score_cards(lines, {(4, "greedy"): (0.4, 0.6)})
    assert (card["values"], card["interval"]) == (["-", "0.500"], (0.4, 0.6))
    assert score_cards(lines[:1], {})[0]["values"] == ["-"]


def test_the_facts_name_the_divergence():
    config = {"seed": 3, "env": {"id": "e"}, "model": {"name_or_path": "m"}}
    config["objective"] = {"name": "f-grpo", "divergence": {"name": "kl", "link": ""}}
    assert facts_of(config) == {"environment": "e", "objective": "f-grpo (kl)", "model": "m", "seed": "3"}
    assert facts_of({"objective": {"name": "dpo"}})["environment"] == "none"


def test_divergences_stand_last_with_their_errors():
    lines = [
        {"step": 3, "unscored": 0.0, "divergence/kl": 0.25, "divergence_error/kl": 0.01, "score/greedy": 1},
        {"step": 4, "divergence/kl": 0.5},
    ]
    assert evaluation_table(lines) == {
        "step": ["3", "4"], "score/greedy": ["1.000", "-"], "unscored": ["0", "-"],
        "divergence/kl": ["0.25 ± 0.01", "0.5"],
    }  # fmt: skip


def run_folder(path, name, rate):
    config = {"seed": 0, "env": {"id": "math/Addition-v0"}, "objective": {"name": "f-grpo", "beta": rate}}
    run = RunFolder.create(path / name, config)
    run.append("metrics.jsonl", *({"step": i, "loss": -0.1 * i, "reward/mean": 0.1 * i} for i in (1, 2, 3)))
    run.append("evaluations.jsonl", {"step": 0, "score/sampled": 0.25}, {"step": 3, "score/sampled": 0.123456})
    return run.path


def test_a_report_shows_facts_meanings_and_rounded_numbers(tmp_path):
    html = write_report(run_folder(tmp_path, "one", 0.1)).read_text()
    assert "math/Addition-v0" in html
    assert "Loss" in html
    assert 'title="Mean score of the step' in html  # the glossary on hover
    assert "0.3</td>" in html  # 0.30000000000000004, rounded


def test_a_run_without_a_finite_value_or_a_summary_has_a_report(tmp_path):
    run = RunFolder.create(tmp_path / "run", {"trainer": {"steps": 9}})
    run.append("metrics.jsonl", {"step": 1, "loss": math.nan, "reward/mean": 0.5, "flag": True})
    run.append("evaluations.jsonl", {"step": 0, "score/sampled": math.nan})
    run.append("samples.jsonl", complete(0, "t", None, "\ud800"), {"a": 1})
    html = write_report(run.path).read_text()
    assert "no summary.json: running or killed; 1 of 9 steps recorded" in html
    assert "<figcaption>Training reward" in html  # drawn although it is one point
    assert "<figcaption>Loss" not in html
    assert "1 lines of samples.jsonl are damaged" in html
    assert "\\ud800" in html


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "config.json").write_text("[]"), "config.json is damaged: it holds no JSON object"),
        (lambda run: (run / "config.json").write_text("[" * 100_000), "config.json cannot be read: maximum recursion"),
        (lambda run: (run / "samples.jsonl").write_text("[" * 100_000 + "\n{}\n"), "samples.jsonl, line 1 is damaged"),
        (lambda run: (run / "samples.jsonl").mkdir(), "samples.jsonl cannot be read: it is not a regular file"),
        (
            lambda run: (run / "metrics.jsonl").write_text('{"loss": 1}\n'),
            "metrics.jsonl, record 1 is damaged: it has no",
        ),
    ],
)
def test_a_damaged_run_folder_is_named(tmp_path, damage, message):
    path = run_folder(tmp_path, "one", 0.1)
    damage(path)
    with pytest.raises(fg.TrainerError, match=message):
        write_report(path)


def test_a_path_that_is_no_run_folder_suggests_one(tmp_path):
    run_folder(tmp_path, "first", 0.1)
    for path, message in (
        ("frist", "there is no such folder .did you mean '.*first'"),
        ("first/config.json", "it is a file; did you mean '.*first'"),
        (".", "runs inside it: .*first"),
    ):
        with pytest.raises(fg.TrainerError, match=message):
            write_report(tmp_path / path)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run = run_folder(tmp_path, "one", 0.1)
    old = write_report(run).read_text()
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(fg.TrainerError, match="No space left"):
        write_report(run)
    assert (run / "report.html").read_text() == old
    assert not list(run.glob(".report*"))


def test_names_of_another_persons_run_act_on_no_reader(tmp_path):
    hostile = '"><script>a</script>\x1b]0;x\x07\u202e\ud800'
    (tmp_path / "config.json").write_text(json.dumps({"env": {"id": hostile}, hostile: {hostile: hostile}}))
    (tmp_path / "summary.json").write_text(
        json.dumps({"status": hostile, "before": {hostile: 1}, "after": {hostile: 1}})
    )
    lines = [{"step": step, hostile: 1.0, "reward/mean": 0.5} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report(tmp_path).read_text()
    assert "\\x1b]0;x\\x07\\u202e\\ud800" in page
    assert "<script>a" not in page
    assert not set(page) & set("\x1b\x07\u202e")
