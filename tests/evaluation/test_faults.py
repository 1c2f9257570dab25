"""Risk: an evaluation continues with other weights, code or damaged samples, or a broken plugin ends it silently."""

import json
import os
import sys
import threading

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation.plan import Plan, configure, weights_digest
from fdiv_gym.evaluation.rescoring import rescore
from fdiv_gym.evaluation.runner import evaluate
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar
from fdiv_gym.runs.folder import RunFolder


class Letters:
    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]


class Constant(fg.Engine):
    """Always responds ``yes``."""

    fail = False
    wait: threading.Event | None = None

    def load(self, model, env=None):
        if Constant.fail:
            raise fg.EngineError("the prompt is too long")
        return Letters()

    def generate(self, prompts, n, sampling):
        if Constant.wait is not None:
            Constant.wait.wait(20)
        return [[fg.Completion((1,), (-1.0,), "yes", "eos")] * n for _ in prompts]


class Fine(fg.TextEnv):
    """Six tasks."""

    count = 6

    def tasks(self, split):
        return [fg.Task(f"{split} {i}", "yes") for i in range(type(self).count)]

    def score(self, task, response):
        return fg.Verdict.scored(float(response == task.answer))


class Broken(Fine):
    """Fails at the configured place."""

    class Options(fg.TextEnv.Options):
        where: str = ""
        leaves: bool = False

    def _fail(self, where):
        if self.options.where == where:
            if self.options.leaves:
                sys.exit(0)
            raise RuntimeError("boom")

    def tasks(self, split):
        self._fail("tasks")
        return super().tasks(split)

    def vote(self, task, response):
        self._fail("vote")
        return 3 if self.options.where == "number" else response

    def metrics(self, samples):
        self._fail("metrics")
        return {"mine": float("nan")} if self.options.where == "no_number" else {}

    def score(self, task, response):
        self._fail("score")
        return super().score(task, response)


class Raises(fg.Verifier):
    """Raises an exception, or exits, on every pair."""

    class Options(fg.Verifier.Options):
        leaves: bool = False

    def verify(self, reference, response):
        if self.options.leaves:
            sys.exit(0)
        raise RuntimeError("boom")


@pytest.fixture(autouse=True)
def plugins():
    with discovery.registry.scoped() as registry:
        registrar = Registrar(registry, "test:faults")
        registrar.add("environment", "test/Fine-v0", Fine)
        registrar.add("environment", "test/Broken-v0", Broken)
        registrar.add("engine", "constant", Constant)
        registrar.add("verifier", "raises", Raises)
        Constant.fail, Constant.wait, Fine.count = False, None, 6
        yield


def plan(env="test/Fine-v0", model="some/model", overrides=(), **settings):
    config, _ = configure(model, env, None, ["engine.name=constant", *overrides])
    return Plan(config, **{"samples": 2, "batch": 2, **settings})


def test_other_weights_under_the_same_name_are_another_evaluation(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"a" * 5_000_000)
    before = plan(model=str(model)).fingerprint()
    evaluate(plan(model=str(model)), tmp_path / "e")
    evaluate(plan(model=str(model)), tmp_path / "e")
    (model / "model.safetensors").write_bytes(b"a" * 4_999_999 + b"b")
    after = plan(model=str(model))
    assert before != after.fingerprint()
    with pytest.raises(fg.ConfigError, match="another weights"):
        evaluate(after, tmp_path / "e")
    assert weights_digest("some/model") is None


def test_the_same_weights_in_another_place_are_the_same_evaluation(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"a" * 100)
    here, there = plan(model=str(tmp_path / "here")), plan(model=str(tmp_path / "there"))
    evaluate(here, tmp_path / "e")
    evaluate(there, tmp_path / "e")
    assert here.fingerprint() == there.fingerprint()
    assert plan(model="some/model").fingerprint() != plan(model="other/model").fingerprint()


@pytest.mark.parametrize("model", ["a text", None, 3])
def test_a_plan_with_a_damaged_model_is_another_evaluation(tmp_path, model):
    evaluate(plan(), tmp_path / "e")
    path = tmp_path / "e" / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": model}))
    with pytest.raises(fg.ConfigError, match="another model"):
        evaluate(plan(), tmp_path / "e")


def test_other_code_under_the_same_name_is_another_evaluation(tmp_path, monkeypatch):
    evaluate(plan("math/Addition-v0"), tmp_path / "e")
    monkeypatch.setattr("fdiv_gym.runs.provenance.source_hash", lambda *modules: "another")
    with pytest.raises(fg.ConfigError, match="another sources"):
        evaluate(plan("math/Addition-v0"), tmp_path / "e")


def test_an_evaluation_that_failed_before_its_first_sample_starts_again(tmp_path):
    Constant.fail = True
    with pytest.raises(fg.EngineError):
        evaluate(plan(), tmp_path / "e")
    Constant.fail = False
    assert evaluate(plan(samples=4), tmp_path / "e").results["samples"] == 4


def test_two_evaluations_never_share_a_folder(tmp_path):
    Constant.wait = threading.Event()
    first = threading.Thread(target=lambda: evaluate(plan(), tmp_path / "e"))
    first.start()
    try:
        while not (tmp_path / "e" / "evaluation.json").exists():
            assert first.is_alive()
        with pytest.raises(fg.ConfigError, match=f"process {os.getpid()} is writing into .* choose another --output"):
            evaluate(plan(), tmp_path / "e")
    finally:
        Constant.wait.set()
        first.join()
    assert len(RunFolder(tmp_path / "e").lines("samples.jsonl")) == 12
    evaluate(plan(), tmp_path / "e")


def test_fewer_tasks_than_before_are_changed_tasks(tmp_path):
    evaluate(plan(), tmp_path / "e")
    Fine.count = 3
    with pytest.raises(fg.ConfigError, match="12 samples for 3 tasks: the environment's tasks have changed"):
        evaluate(plan(), tmp_path / "e")


@pytest.mark.parametrize("line", ['{"a": 1}', "[1]", "3", '{"index": 1}', "score", "order"])
def test_damaged_samples_are_reported_and_not_counted(tmp_path, line):
    evaluate(plan(), tmp_path / "e")
    path = tmp_path / "e" / "samples.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[4])
    if line == "score":
        line = json.dumps(record | {"verdict": record["verdict"] | {"score": "x"}})
    elif line == "order":
        line = json.dumps(record | {"sample": 1})
    lines[4] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(fg.FdivGymError, match=r"samples\.jsonl, line 5 is damaged"):
        evaluate(plan(), tmp_path / "e")
    if line.startswith("{") and "sample" not in line:
        assert rescore(tmp_path / "e").refused == {"whose line is damaged": 1}


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [({"seed": -1}, {}, "seed must be at least 0"), ({}, {"threshold": float("nan")}, "finite"),
     ({}, {"threshold": float("inf")}, "finite")],
)  # fmt: skip
def test_numbers_are_refused_before_anything_is_drawn(tmp_path, settings, arguments, message):
    with pytest.raises(fg.ConfigError, match=message):
        evaluate(plan(**settings), tmp_path / "e", **arguments)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("where", ["tasks", "vote", "metrics"])
def test_a_broken_environment_is_one_line_with_its_name(tmp_path, where, leaves):
    fault = "SystemExit: 0" if leaves else "RuntimeError: boom"
    with pytest.raises(fg.PluginError, match=rf"test/Broken-v0.* failed in {where}.*: {fault}"):
        evaluate(
            plan("test/Broken-v0", overrides=[f"env.where={where}", f"env.leaves={str(leaves).lower()}"]),
            tmp_path / "e",
        )


@pytest.mark.parametrize(
    ("where", "message"), [("no_number", "the metric 'mine' = nan"), ("number", "vote must return a string or None")]
)
def test_metrics_and_votes_of_a_wrong_kind_are_refused(tmp_path, where, message):
    with pytest.raises(fg.EnvError, match=message):
        evaluate(plan("test/Broken-v0", overrides=[f"env.where={where}"]), tmp_path / "e")


@pytest.mark.parametrize("where", ["tasks", "vote", "metrics", "score", "no_number", "number"])
@pytest.mark.parametrize("leaves", [False, True])
def test_check_finds_every_broken_environment(where, leaves):
    options = ["--set", f"where={where}", "--set", f"leaves={str(leaves).lower()}"]
    result = CliRunner().invoke(app, ["check", "environment", "test/Broken-v0", *options])
    assert result.exit_code != 0
    assert "Broken-v0" in result.output + str(result.exception)


def test_the_reason_why_nothing_was_scored_is_shown(tmp_path):
    done = evaluate(plan("test/Broken-v0", overrides=["env.where=score"]), tmp_path / "e")
    assert done.results["unscored"] == 1.0
    culprit = "environment 'test/Broken-v0' of plugin test:faults"
    assert done.results["unscored_reason"] == f"error: RuntimeError: boom (in {culprit})"


@pytest.mark.parametrize("leaves", [False, True])
def test_a_failing_verifier_gives_errors_and_the_evaluation_continues(tmp_path, leaves):
    evaluate(plan(), tmp_path / "e")
    done = rescore(tmp_path / "e", "raises", {"leaves": leaves})
    assert {str(verdict.status) for verdict in done.verdicts} == {"error"}
    assert "SystemExit" in done.verdicts[0].detail if leaves else "boom" in done.verdicts[0].detail


def test_what_is_neither_a_model_nor_a_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RunFolder.create(tmp_path / "runs" / "first", {"seed": 0})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for model, message in (
        ("nothere", r"^there is no run 'nothere' here \(known: runs/first\); to evaluate a model"),
        ("runs/frist", r"^there is no run 'runs/frist' here \(did you mean 'runs/first'"),
        ("", "^the model's name is empty"),
        ("empty", "^empty is neither a run folder nor a model folder: it has no config.json$"),
        ("runs", "no config.json; inside it are runs/first"),
        ("file", "^file is a file"),
    ):
        with pytest.raises(fg.ConfigError, match=message):
            configure(model)


def test_an_evaluation_that_fails_before_its_first_sample_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config, trained_on = configure("some-owner/no-such-model", "math/Addition-v0")
    folder = tmp_path / "evaluations" / "one"
    with pytest.raises(fg.TrainerError, match="no local model folder"):
        evaluate(Plan(config, tasks=2, samples=1, trained_on=trained_on), folder)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("kept")
    with pytest.raises(fg.ConfigError, match="not empty"):
        evaluate(Plan(config, tasks=2, samples=1, trained_on=trained_on), tmp_path / "other")
    assert (tmp_path / "other" / "notes.txt").read_text() == "kept"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused_on_one_line(name):
    with pytest.raises(fg.ConfigError, match="the name of model"):
        configure(name, "math/Addition-v0")
    with pytest.raises(fg.ConfigError, match="the name of --env"):
        configure("embedded", name)
    with pytest.raises(fg.ConfigError, match="names no model"):
        fg.parse_config({"env": {"id": "math/Addition-v0"}, "model": {"name_or_path": name}})
