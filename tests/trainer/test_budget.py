"""A budget of tokens, verifications or seconds ends a run at the first step that reaches it, also after a resume."""

import re

import pytest
import torch
from conftest_trainer import tiny_config, train, without_times
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.manifest import seal
from fdiv_gym.runs import RunFolder
from fdiv_gym_accelerate.run import Run
from fdiv_gym_accelerate.settings import Budget
from fdiv_gym_accelerate.spending import Spending


def budget_config(**budget):
    return tiny_config(trainer__steps=50, trainer__samples_per_step=16, trainer__budget=budget)


def sampled_tokens(run):
    """The cumulated tokens of the steps, from the samples, of which every one is kept."""
    sums, total = [], 0
    for step in range(1, len(run.lines("metrics.jsonl")) + 1):
        found = [s["tokens"] for s in run.lines("samples.jsonl") if s["split"] == "train" and s["step"] == step]
        assert len(found) == 16
        total += sum(found)
        sums.append(total)
    return sums


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of three steps of 16 responses: the budget of 33 is reached in the third."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        return train(budget_config(verifications=33), folder)


def test_verifications_end_the_run_at_the_first_step_that_reaches_them(straight):
    run = RunFolder(straight.folder)
    assert (straight.status, straight.steps, straight.summary["ended_by"]) == ("finished", 3, "verifications")
    assert straight.summary["spent"]["verifications"] == 48
    assert [line["spent/verifications"] for line in run.lines("metrics.jsonl")] == [16, 32, 48]
    # Evaluated and saved at its last step; the evaluation every two steps is there too.
    assert [line["step"] for line in run.lines("evaluations.jsonl")] == [0, 2, 3]
    assert [path.name for path in run.checkpoints()] == ["step-000002", "step-000003"]
    assert set(straight.summary["after"]) == {"score/sampled", "score/greedy"}


def test_a_budget_that_a_step_meets_exactly_ends_the_run_there(tmp_path):
    assert train(budget_config(verifications=32), tmp_path / "run").steps == 2


def test_tokens_are_those_of_the_samples(straight, tmp_path):
    sums = sampled_tokens(RunFolder(straight.folder))
    assert [line["spent/tokens"] for line in RunFolder(straight.folder).lines("metrics.jsonl")] == sums
    at_two = train(budget_config(tokens=sums[1]), tmp_path / "two")
    assert (at_two.steps, at_two.summary["ended_by"], at_two.summary["spent"]["tokens"]) == (2, "tokens", sums[1])
    assert train(budget_config(tokens=sums[1] + 1), tmp_path / "three").steps == 3


def test_replaced_groups_count(tmp_path):
    config = tiny_config(
        trainer__steps=50, trainer__budget={"verifications": 17}, trainer__dynamic_sampling={"budget": 4}
    )
    result = train(config, tmp_path / "run")
    groups = [line["groups/sampled"] for line in RunFolder(result.folder).lines("metrics.jsonl")]
    assert result.summary["spent"]["verifications"] == 4 * sum(groups) >= 17 > 4 * sum(groups[:-1])


def test_a_killed_run_ends_at_the_same_step_with_the_same_sums(straight, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    step = Run.train_step

    def killed(run):
        if run.step == 2:
            raise KilledError
        step(run)

    monkeypatch.setattr(Run, "train_step", killed)
    with pytest.raises(KilledError):
        train(budget_config(verifications=33), tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    resumed = train(budget_config(verifications=33), tmp_path / "run", resume=True)
    assert (resumed.steps, resumed.summary["ended_by"]) == (3, "verifications")
    plain = [without_times(RunFolder(each.folder).lines("metrics.jsonl")) for each in (straight, resumed)]
    assert plain[0] == plain[1]


def test_a_run_that_its_budget_ended_is_finished_and_can_be_extended(straight, tmp_path):
    result = CliRunner().invoke(app, ["train", "--resume", str(straight.folder)])
    assert result.exit_code == 0, result.output
    assert "nothing was left to do" in result.output
    assert len(RunFolder(straight.folder).lines("metrics.jsonl")) == 3
    more = ["train", "--resume", str(straight.folder), "--set", "trainer.budget.verifications=49"]
    result = CliRunner().invoke(app, more)
    assert result.exit_code == 0, result.output
    assert re.search(r"Its budget ended it: 64 verifications spent", result.output)
    assert [line["step"] for line in RunFolder(straight.folder).lines("evaluations.jsonl")] == [0, 2, 3, 4]


def test_seconds_are_those_of_the_clock_which_a_resume_continues(tmp_path, monkeypatch):
    """The clock is planted: a step takes 10 s, an evaluation 100 s, the pause before the resume counts nothing."""
    now = [0.0]
    step, evaluate = Run.train_step, Run.evaluate

    def slow_step(run):
        now[0] += 10
        step(run)
        if stops == [run.step]:
            raise KeyboardInterrupt

    def slow_evaluation(run):
        now[0] += 100
        evaluate(run)

    monkeypatch.setattr(Run, "clock", lambda run: run.seconds + now[0] - begun[0])
    monkeypatch.setattr(Run, "train_step", slow_step)
    monkeypatch.setattr(Run, "evaluate", slow_evaluation)
    config = budget_config(seconds=125)  # 100 + 10 + 10 at step 2, evaluated then; step 3 ends at 230
    begun, stops = [0.0], []
    whole = train(config, tmp_path / "whole")
    assert (whole.steps, whole.summary["ended_by"], whole.summary["spent"]["seconds"]) == (3, "seconds", 230)
    begun, stops = [now[0]], [3]
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut")
    # The checkpoint of step 2 was written after its evaluation, at 220 s: over the budget, and yet step 3 is taken.
    begun, stops = [now[0]], []
    resumed = train(config, tmp_path / "cut", resume=True)
    assert (resumed.steps, resumed.summary["ended_by"], resumed.summary["spent"]["seconds"]) == (3, "seconds", 230)
    times = [line["time/run_seconds"] for line in RunFolder(tmp_path / "cut").lines("metrics.jsonl")]
    assert times == [110, 120, 230]


def test_a_checkpoint_without_the_sums_is_refused_with_a_clear_message(tmp_path):
    result = train(tiny_config(trainer__steps=1), tmp_path / "run")
    (checkpoint,) = RunFolder(result.folder).checkpoints()
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    del state["extra"]["spent"]
    torch.save(state, checkpoint / "state.pt")
    seal(checkpoint)
    with pytest.raises(fg.TrainerError, match=r"step-000001 lacks what the run had spent.*start a new run"):
        train(tiny_config(trainer__steps=2), tmp_path / "run", resume=True)


def test_without_a_budget_the_steps_end_the_run(tmp_path):
    summary = train(tiny_config(trainer__steps=1), tmp_path / "run").summary
    assert (summary["ended_by"], summary["spent"]["verifications"]) == ("steps", 16)


def test_the_first_limit_that_is_reached_is_named():
    spending = Spending(Budget(tokens=10, seconds=5.0))
    spending.add((), 4.9)
    assert spending.exhausted is None
    spending.add((), 5.0)
    assert spending.exhausted == "seconds"


@pytest.mark.parametrize("budget", [{}, {"tokens": 0}, {"seconds": -1}, {"token": 5}, {"seconds": float("inf")}])
def test_a_wrong_budget_is_refused(budget):
    with pytest.raises(fg.ConfigError, match="budget"):
        budget_config(**budget)


def test_a_budget_that_preferences_cannot_spend_is_refused(tmp_path):
    lines = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 40
    (tmp_path / "pairs.jsonl").write_text(lines)
    config = tiny_config(
        objective={"name": "fdo"}, preferences={"path": str(tmp_path / "pairs.jsonl")},
        trainer__budget={"tokens": 5},
    )  # fmt: skip
    with pytest.raises(fg.ConfigError, match=r"trainer\.budget\.tokens concerns rollouts"):
        train(config, tmp_path / "run")
