"""The example of each family of environments, for two steps with a tiny model; and a resumed curriculum."""

import json
from pathlib import Path

import pytest

from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.report import write_report

FOLDER = Path(__file__).parents[2] / "examples" / "environments"
TINY = [
    "model.embedded.layers=1", "model.embedded.warm_start_steps=2", "model.embedded.warm_start_batch=4",
    "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4",
    "trainer.evaluate_samples=1",
]  # fmt: skip
SMALL = {
    "reasoning.toml": ["env.train_tasks=8", "env.heldout_tasks=4"],
    "arithmetic.toml": ["env.train_tasks=50"],
    "polynomials.toml": ["env.train_tasks=50"],
}


def fit(name, folder, overrides=(), resume=False):
    config = load_config(FOLDER / name, [*TINY, *SMALL.get(name, []), *overrides])
    if not resume:
        RunFolder.create(folder, config.resolved())
    return config.trainer.build().fit(config, folder, resume=resume)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.chdir(FOLDER.parents[1])


@pytest.mark.parametrize("name", ["arithmetic.toml", "dataset.toml", "polynomials.toml", "reasoning.toml"])
def test_it_trains(name, tmp_path):
    result = fit(name, tmp_path / "run")
    assert (result.status, result.steps) == ("finished", 2)
    lines = RunFolder(result.folder).lines("metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["verdicts/unscored"] == 0 for line in lines)
    assert {event["policy"] for event in result.summary["events"].values()} <= {"info"}


def test_every_example_is_valid_and_listed_here():
    tested = {"arithmetic.toml", "dataset.toml", "polynomials.toml", "reasoning.toml", "gsm8k.toml"}
    assert {path.name for path in FOLDER.glob("*.toml")} == tested
    for path in FOLDER.glob("*.toml"):
        assert load_config(path).env is not None


def test_a_resumed_run_continues_at_its_level(tmp_path):
    steps = ["env.window=2", "env.promote_at=1e-9", "env.demote_at=0", "trainer.checkpoint_every=1", "env.level=5"]

    from fdiv_gym_math.procedural.arithmetic import Arithmetic

    with pytest.MonkeyPatch.context() as patch:
        # A model of this size has no right answer, so half of its answers count as right.
        patch.setattr(Arithmetic, "is_right", lambda env, task, answer: len(answer) % 2 == 0)
        whole = fit("arithmetic.toml", tmp_path / "whole", [*steps, "trainer.steps=4"])
        fit("arithmetic.toml", tmp_path / "cut", [*steps, "trainer.steps=2"])
        resumed = fit("arithmetic.toml", tmp_path / "cut", [*steps, "trainer.steps=4"], resume=True)

    def levels(result):
        samples = RunFolder(result.folder).lines("samples.jsonl")
        return [(s["step"], s["data"]["level"]) for s in samples if s["split"] == "train"]

    assert levels(resumed) == levels(whole)
    assert max(level for _, level in levels(whole)) > 1

    def logged(result):
        lines = RunFolder(result.folder).lines("metrics.jsonl")
        assert {key for line in lines for key in line if key.startswith("curriculum/")} == {"curriculum/open_level"}
        return [line["curriculum/open_level"] for line in lines]

    assert logged(resumed) == logged(whole)
    # The level logged at a step is that of the next step; it is never below the level of the step itself.
    drawn = dict(sorted(levels(whole)))
    assert all(drawn[step] <= level for step, level in zip(range(2, 5), logged(whole), strict=False))
    assert logged(whole)[-1] > 1
    assert "Curriculum" in write_report(whole.folder).read_text()
    record = json.loads((whole.folder / "config.json").read_text())
    assert record["env"]["curriculum"] is True


def test_a_run_and_an_untrained_model_can_be_evaluated_and_the_run_rescored(tmp_path):
    from fdiv_gym.evaluation.plan import Plan, configure
    from fdiv_gym.evaluation.rescoring import rescore
    from fdiv_gym.evaluation.runner import evaluate

    run = fit("dataset.toml", tmp_path / "run").folder
    config, trained_on = configure(str(run))
    done = evaluate(Plan(config, tasks=4, samples=3, trained_on=trained_on), tmp_path / "eval")
    assert done.results["tasks"] == 4
    assert done.results["contamination"]["shared"] == []
    assert done.results["model"] == str(run / "checkpoints" / "step-000002" / "model")
    assert rescore(run).summary()["disagreements"] == 0
    assert rescore(done.folder, "math", {"extraction": "whole"}).summary()["disagreements"] == 0
    untrained, nothing = configure("embedded", None, FOLDER / "dataset.toml", TINY[:3])
    assert nothing is None
    plan = Plan(untrained, tasks=4, samples=1, greedy=True)
    first, second = (evaluate(plan, tmp_path / name) for name in ("a", "b"))
    assert (first.folder / "samples.jsonl").read_text() == (second.folder / "samples.jsonl").read_text()
