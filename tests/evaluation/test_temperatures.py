"""A sweep over temperatures with an engine whose answers at each temperature are known; and the untrained model."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation import configure, parse_temperatures
from fdiv_gym.evaluation.source import locate
from fdiv_gym.evaluation.temperatures import best_of
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_math.addition import Addition

ADDITION = Path(__file__).parents[2] / "examples" / "addition.toml"


class Letters:
    """A tokenizer of one token a character."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]


class Warm(fg.Engine):
    """Answers an addition: greedily wrong, at 0.5 three of four right, at 2 one right and the others all different."""

    drawn: ClassVar[list[tuple[float, int]]] = []

    def load(self, model, env=None):
        return Letters()

    def generate(self, prompts, n, sampling):
        Warm.drawn.append((sampling.temperature, n))
        return [[_completed(said) for said in self.say(prompt, n, sampling)] for prompt in prompts]

    def say(self, prompt, n, sampling):
        right = str(sum(map(int, "".join(map(chr, prompt)).rstrip("=").split("+"))))[::-1]
        return {0.0: ["1"], 0.5: [right] * 3 + ["1"], 2.0: [right, "1", "2", "3"]}[sampling.temperature][:n]


def _completed(text):
    return fg.Completion((1,) * len(text), (-0.5,) * len(text), text, "eos")


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    with discovery.registry.scoped() as registry:
        Registrar(registry, "test:temperatures").add("engine", "warm", Warm)
        Warm.drawn = []
        yield


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else str(result.exception)


def sweep(folder, *arguments):
    options = ("--env", "math/Addition-v0", "--set", "engine.name=warm", "-n", 4, "--tasks", 5, "-o", folder)
    return call("some/model", *options, "--temperature", "0.5,2", *arguments)


def test_each_temperature_is_evaluated_once_and_compared(tmp_path):
    record = json.loads(sweep(tmp_path / "e", "--json"))
    assert [row["temperature"] for row in record["evaluations"]] == [0.0, 0.5, 2.0]
    assert [row["mode"] for row in record["evaluations"]] == ["greedy", "sampled", "sampled"]
    greedy, half, two = ({k: m["value"] for k, m in row["metrics"].items()} for row in record["evaluations"])
    assert greedy == {"pass@1": 0.0, "avg@1": 0.0}
    # 3 of 4 right: the majority is right. One right and three different wrong answers: four tied answers.
    assert half == {"pass@1": 0.75, "pass@4": 1.0, "avg@4": 0.75, "maj@4": 1.0}
    assert two == {"pass@1": 0.25, "pass@4": 1.0, "avg@4": 0.25, "maj@4": 0.25}
    best = {key: (found["metric"], found["temperature"], found["value"]) for key, found in record["best"].items()}
    assert best == {
        "single": ("avg@4", 0.5, 0.75), "majority": ("maj@4", 0.5, 1.0), "any": ("maj@4", 0.5, 1.0),
    }  # fmt: skip
    assert Warm.drawn == [(0.0, 1), (0.5, 4), (2.0, 4)]
    written = json.loads((tmp_path / "e" / "results.json").read_text())
    assert {"folder": str(tmp_path / "e"), **written} == record


def test_each_folder_is_an_evaluation_that_names_its_temperature_and_is_resumed(tmp_path):
    sweep(tmp_path / "e")
    for name, temperature in (("greedy", 0.0), ("temperature-0.5", 0.5), ("temperature-2", 2.0)):
        folder = tmp_path / "e" / name
        assert json.loads((folder / "results.json").read_text())["temperature"] == temperature
        plan = json.loads((folder / "evaluation.json").read_text())
        assert plan["greedy"] == (temperature == 0)
        assert plan["engine"].get("temperature", 1.0) == (temperature or 1.0)
        assert len(RunFolder(folder).lines("samples.jsonl")) == (5 if temperature == 0 else 20)
    shutil.rmtree(tmp_path / "e" / "temperature-2")
    Warm.drawn = []
    sweep(tmp_path / "e")
    assert Warm.drawn == [(2.0, 4)]


def cells_of(text):
    rows = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith(("│", "|"))]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_table_fits_a_terminal_and_names_the_best(tmp_path):
    text = sweep(tmp_path / "e")
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert cells_of(text) == [
        ["greedy", "0.000", "0.000 to 0.000", "-", ""],
        ["0.5", "0.750", "0.750 to 0.750", "1.000", "1.000 to 1.000"],
        ["2", "0.250", "0.250 to 0.250", "0.250", "0.250 to 0.250"],
    ]
    assert "best by one response: 0.750 (avg@4 at temperature 0.5)" in text
    assert "best by a majority vote: 1.000 (maj@4 at temperature 0.5)" in text


def test_a_temperature_without_votes_has_no_majority(tmp_path, monkeypatch):
    monkeypatch.setattr(type(fg.make("math/Addition-v0")), "vote", lambda env, task, text: None)
    record = json.loads(sweep(tmp_path / "none", "--json"))
    assert [sorted(row["metrics"]) for row in record["evaluations"]][1:] == [["avg@4", "pass@1", "pass@4"]] * 2
    assert record["best"].keys() == {"single", "any"}
    assert "maj" not in sweep(tmp_path / "none")
    sweep(tmp_path / "e", "--json")
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "e" / "temperature-0.5")  # drawn again, with votes; the last row has none
    text = sweep(tmp_path / "e")
    assert "maj@4" in text
    assert cells_of(text)[1:] == [
        ["0.5", "0.750", "0.750 to 0.750", "1.000", "1.000 to 1.000"], ["2", "0.250", "0.250 to 0.250", "-", ""],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' in '' is not a number"),
        ("0.5,,1", "'' in '0.5,,1' is not a number"),
        ("0.5,warm", "'warm' in '0.5,warm' is not a number"),
        ("-1", "must be a finite number above 0, got -1"),
        ("0", "above 0, got 0; the greedy evaluation is always included"),
        ("nan", "finite number above 0, got nan"),
        ("1,inf", "finite number above 0, got inf"),
        ("0.5,1,0.50", "0.5 is given twice"),
    ],
)
def test_a_bad_list_is_refused(text, message):
    with pytest.raises(fg.ConfigError, match=r"--temperature: ") as error:
        parse_temperatures(text)
    assert message in str(error.value)


def test_a_list_may_have_spaces():
    assert parse_temperatures("0.1, 0.3,1") == [0.1, 0.3, 1.0]


def test_conflicting_options_are_refused(tmp_path):
    common = ("some/model", "--env", "math/Addition-v0", "--temperature", "0.5", "-o", tmp_path / "e")
    assert "omit --greedy" in call(*common, "--greedy", code=1)
    assert "exclude each other" in call(*common, "--set", "engine.temperature=1", code=1)
    assert not (tmp_path / "e").exists()


def test_the_best_leaves_out_what_was_not_measured():
    none = {"value": None, "low": None, "high": None, "tasks": 0}
    assert best_of([{"temperature": 0.0, "metrics": {"avg@1": none}}]) == {}


# ---- the untrained model of a run ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tiny = [
        "model.embedded.layers=1", "model.embedded.warm_start_steps=3", "model.embedded.warm_start_batch=4",
        "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=8", "trainer.evaluate_tasks=4",
        "trainer.evaluate_samples=1", "trainer.learning_rate=0.01", "trainer.warmup_steps=0",
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("untrained") / "run"
    config = load_config(ADDITION, tiny)
    RunFolder.create(folder, config.resolved())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        # A model this small is never right; so that it learns, some of its answers count as right.
        patch.setattr(Addition, "score", lambda env, task, response: fg.Verdict.scored(len(set(response)) % 2))
        config.trainer.build().fit(config, folder)
    return folder


def test_step_0_is_the_model_that_the_run_started_from(run, tmp_path):
    call(run, "--step", 0, "--greedy", "--tasks", 4, "-o", tmp_path / "e")
    drawn = {(s["prompt"], s["response"]): s["logprob"] for s in RunFolder(tmp_path / "e").lines("samples.jsonl")}
    at_start = {
        (s["prompt"], s["response"]): s["logprob"]
        for s in RunFolder(run).lines("samples.jsonl")
        if (s["step"], s["split"], s["mode"]) == (0, "heldout", "greedy")
    }
    assert len(drawn) == 4
    assert drawn.keys() == at_start.keys()
    assert all(drawn[key] == pytest.approx(at_start[key], abs=1e-5) for key in drawn)
    call(run, "--greedy", "--tasks", 4, "-o", tmp_path / "trained")
    trained = RunFolder(tmp_path / "trained").lines("samples.jsonl")
    assert {(s["prompt"], s["response"]): s["logprob"] for s in trained} != drawn


def test_the_untrained_model_does_not_depend_on_the_environment_of_the_evaluation(run):
    own, _ = configure(str(run), step=0)
    other, trained_on = configure(str(run), "math/Arithmetic-v0", step=0)
    assert other.env.name == "math/Arithmetic-v0"
    assert other.model.name_or_path == own.model.name_or_path
    assert trained_on["id"] == "math/Addition-v0"


def test_a_step_that_is_not_there_is_refused(run, tmp_path):
    assert locate(str(run), 2)[1].endswith("step-000002/model")
    with pytest.raises(fg.ConfigError, match=r"no checkpoint of step 1; it has 0, 2 \(0 is the initial model\)"):
        locate(str(run), 1)
    with pytest.raises(fg.ConfigError, match="'embedded' is not a run folder"):
        locate("embedded", 0)
    with pytest.raises(fg.ConfigError, match="not a run folder"):
        locate(str(run / "checkpoints" / "step-000002"), 0)


def test_other_initial_weights_than_those_of_the_run_are_refused(run, tmp_path):
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    (copy / "config.json").write_text((run / "config.json").read_text())
    (copy / "provenance.json").write_text(json.dumps({"initial_weights": "0123456789abcdef"}))
    with pytest.raises(fg.TrainerError, match="started with initial weights 0123456789abcdef, but"):
        locate(str(copy), 0)


def test_the_initial_model_of_a_run_on_preferences_is_not_built_from_an_environment(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    config = load_config(ADDITION.parent / "preferences_only.toml").resolved()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(fg.ConfigError, match="built from its preferences"):
        configure(str(tmp_path), "safety/Refusal-v0", step=0)
    config["model"]["name_or_path"] = "some/model"
    (tmp_path / "config.json").write_text(json.dumps(config))
    untrained, _ = configure(str(tmp_path), "safety/Refusal-v0", step=0)
    assert untrained.model.name_or_path == "some/model"


def test_a_sweep_writes_into_a_folder_of_its_own(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    for name in ("config.json", "evaluation.json"):  # of a run, and of an evaluation at one temperature
        (taken / name).write_text("{}")
        shown = call("embedded", "--env", "math/Addition-v0", "--temperature", "1", "-o", str(taken), code=1)
        assert f"contains something other than an evaluation at several temperatures ({name})" in shown
        (taken / name).unlink()


def test_a_k_above_the_number_of_samples_is_refused_before_anything_is_drawn(tmp_path):
    arguments = ("--env", "math/Addition-v0", "--temperature", "1", "-n", "2", "-k", "9")
    shown = call("embedded", *arguments, "-o", str(tmp_path / "new"), code=1)
    assert "every k must be from 1 to the number of samples, 2; got [9]: raise --samples or lower -k" in shown
    assert not (tmp_path / "new").exists()
