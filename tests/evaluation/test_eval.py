"""Evaluating and rescoring with a scripted engine: the responses are known, so every metric is."""

import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation.plan import Plan, configure
from fdiv_gym.evaluation.rescoring import rescore
from fdiv_gym.evaluation.runner import evaluate
from fdiv_gym.manifest import seal
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar
from fdiv_gym.runs.folder import RunFolder


class Echo(fg.TextEnv):
    """Task i asks for the text i; scored 1 for it, 0 for another, unscorable for ``?``."""

    class Options(fg.TextEnv.Options):
        tasks: int = 6
        right: str = "{}"

    def tasks(self, split):
        first = 0 if split == "heldout" else 4
        return [fg.Task(f"say {i}", str(i), {"i": i}) for i in range(first, first + self.options.tasks)]

    def score(self, task, response):
        if response == "?":
            return fg.Verdict.unscorable("asked back")
        return fg.Verdict.scored(float(response == self.options.right.format(task.answer)))

    def metrics(self, samples):
        return {"questions": sum(s["response"] == "?" for s in samples) / len(samples)}


class Same(Echo):
    """Another name for it."""


class Letters:
    """A tokenizer of one token a character."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]


class Scripted(fg.Engine):
    """Responds with the number of the prompt for the first ``right`` responses, then ``no``, then ``?``."""

    class Options(fg.Engine.Options):
        right: int = 2
        questions: int = 0

    calls: Sequence[tuple[int, int, int]] = []
    stop_after: int | None = None

    def load(self, model, env=None):
        return Letters()

    def generate(self, prompts, n, sampling):
        Scripted.calls = [*Scripted.calls, (len(prompts), n, sampling.seed)]
        if Scripted.stop_after is not None and len(Scripted.calls) > Scripted.stop_after:
            raise fg.EngineError("the power went off")
        groups = []
        for prompt in prompts:
            text = "".join(map(chr, prompt)).split()[1]
            o = self.options
            said = [text] * o.right + ["no"] * (n - o.right - o.questions) + ["?"] * o.questions
            groups.append([fg.Completion((1,) * len(s), (-0.5,) * len(s), s, "eos") for s in said[:n]])
        return groups

    def close(self):
        pass


class Suffix(fg.Verifier):
    """Right if the response ends with the reference."""

    def verify(self, reference, response):
        return fg.Verdict.scored(float(response.endswith(reference)))


@pytest.fixture(autouse=True)
def plugins():
    with discovery.registry.scoped() as registry:
        registrar = Registrar(registry, "test:eval")
        registrar.add("environment", "test/Echo-v0", Echo)
        registrar.add("environment", "test/Same-v0", Same)
        registrar.add("engine", "scripted", Scripted)
        registrar.add("verifier", "suffix", Suffix)
        Scripted.calls, Scripted.stop_after = [], None
        yield


def plan(env="test/Echo-v0", overrides=(), **settings):
    config, trained_on = configure("some/model", env, None, ["engine.name=scripted", *overrides])
    return Plan(config, **{"samples": 4, "batch": 2, "trained_on": trained_on, **settings})


def test_metrics_samples_and_results(tmp_path):
    done = evaluate(plan(overrides=["engine.questions=1"]), tmp_path / "e")
    metrics = {name: metric["value"] for name, metric in done.results["metrics"].items()}
    # Each task: two right, one wrong, one without a score, which is left out.
    assert metrics["pass@1"] == pytest.approx(2 / 3)
    assert metrics["pass@2"] == 1.0
    assert metrics["pass@4"] is None
    assert metrics["avg@4"] == pytest.approx(2 / 3)
    assert metrics["maj@2"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert done.results["unscored"] == 0.25
    assert done.results["env_metrics"] == {"questions": 0.25}
    assert done.results["tasks"] == 6
    lines = RunFolder(done.folder).lines("samples.jsonl")
    assert [line["index"] for line in lines[::4]] == list(range(6))
    assert lines[0]["response"] == lines[0]["vote"] == "0"
    assert lines[0]["verdict"]["score"] == 1.0
    assert json.loads((done.folder / "results.json").read_text()) == done.results


def test_it_resumes_after_an_interruption_and_draws_the_same(tmp_path):
    whole = evaluate(plan(), tmp_path / "whole")
    calls, Scripted.calls, Scripted.stop_after = Scripted.calls, [], 2
    with pytest.raises(fg.EngineError):
        evaluate(plan(), tmp_path / "cut")
    with (tmp_path / "cut" / "samples.jsonl").open("a") as file:
        file.write('{"index": 4, "task_hash": "half a batch", "verd')
    Scripted.calls, Scripted.stop_after = [], None
    again = evaluate(plan(), tmp_path / "cut")
    assert Scripted.calls == calls[2:]
    assert (again.folder / "samples.jsonl").read_text() == (whole.folder / "samples.jsonl").read_text()
    assert again.results == whole.results
    evaluate(plan(), tmp_path / "cut")
    assert Scripted.calls == calls[2:]


def test_another_evaluation_is_not_mixed_in(tmp_path):
    evaluate(plan(), tmp_path / "e")
    for other, key in ((plan(samples=3), "samples"), (plan(seed=1), "seed"), (plan(overrides=["env.right=x"]), "env")):
        with pytest.raises(fg.ConfigError, match=f"another evaluation .another {key}"):
            evaluate(other, tmp_path / "e")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "notes.txt").write_text("mine")
    with pytest.raises(fg.ConfigError, match="not empty"):
        evaluate(plan(), tmp_path / "f")


def test_wrong_numbers_are_refused(tmp_path):
    with pytest.raises(fg.ConfigError, match="every k"):
        evaluate(plan(), tmp_path / "e", ks=[5])
    with pytest.raises(fg.ConfigError, match="greedy"):
        plan(greedy=True)
    with pytest.raises(fg.ConfigError, match="at least 1"):
        plan(samples=0)
    with pytest.raises(
        fg.ConfigError, match="there is no run 'some/model' here; to evaluate a model of that name give --env"
    ):
        configure("some/model")


def test_thresholds_ks_and_a_share_of_the_tasks(tmp_path):
    done = evaluate(plan(tasks=3, split="train"), tmp_path / "e", ks=[1], threshold=0.0)
    assert done.results["tasks"] == 3
    assert list(done.results["metrics"]) == ["pass@1", "avg@4"]
    assert done.results["metrics"]["pass@1"]["value"] == 1.0
    assert RunFolder(done.folder).lines("samples.jsonl")[0]["prompt"] == "say 4"


def make_run(folder, env):
    """What a run folder looks like to an evaluation."""
    for step in (5, 10):
        (folder / "checkpoints" / f"step-{step:06d}" / "model").mkdir(parents=True)
        (folder / "checkpoints" / f"step-{step:06d}" / "state.pt").touch()
        seal(folder / "checkpoints" / f"step-{step:06d}")
    record = {"seed": 3, "env": env, "engine": {"name": "scripted", "right": 1}, "model": {"name_or_path": "embedded"}}
    (folder / "config.json").write_text(json.dumps(record))


def test_a_run_folder_gives_its_newest_checkpoint_environment_and_engine(tmp_path):
    make_run(tmp_path, {"id": "test/Echo-v0", "right": "{}!"})
    config, trained_on = configure(str(tmp_path))
    assert config.model.name_or_path == str(tmp_path / "checkpoints" / "step-000010" / "model")
    assert config.env.options.right == "{}!"
    assert config.engine.options.right == 1
    assert trained_on == {"id": "test/Echo-v0", "right": "{}!"}
    older, _ = configure(str(tmp_path / "checkpoints" / "step-000005"), overrides=["engine.right=2"])
    assert older.model.name_or_path.endswith("step-000005/model")
    assert older.engine.options.right == 2
    other, trained_on = configure(str(tmp_path), "test/Same-v0")
    assert other.env.name == "test/Same-v0"
    assert other.env.options.right == "{}"
    assert trained_on["id"] == "test/Echo-v0"


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(fg.TrainerError, match="no checkpoint yet"):
        configure(str(tmp_path))


def test_problems_the_model_was_trained_on_are_reported(tmp_path):
    make_run(tmp_path, {"id": "test/Echo-v0"})
    config, trained_on = configure(str(tmp_path))
    done = evaluate(Plan(config, samples=1, trained_on=trained_on), tmp_path / "evaluation")
    found = done.results["contamination"]
    # Training asks for 4 to 9, the evaluation for 0 to 5.
    assert len(found["shared"]) == 2
    assert (found["train_tasks"], found["evaluation_tasks"]) == (6, 6)


class TestRescore:
    def test_nothing_changes_with_the_same_environment(self, tmp_path):
        evaluate(plan(overrides=["engine.questions=1"]), tmp_path / "e")
        done = rescore(tmp_path / "e")
        assert done.summary() == {
            "samples": 24, "disagreements": 0, "mean_before": pytest.approx(2 / 3),
            "mean_after": pytest.approx(2 / 3), "statuses_before": {"scored": 18, "unscorable": 6},
            "statuses_after": {"scored": 18, "unscorable": 6}, "refused": {},
            "reasons_after": {"asked back": 6},
        }  # fmt: skip

    def test_another_option_another_verifier_another_environment(self, tmp_path):
        evaluate(plan(overrides=["engine.questions=1"]), tmp_path / "e")
        assert rescore(tmp_path / "e", options={"right": "no"}).summary()["mean_after"] == pytest.approx(1 / 3)
        verified = rescore(tmp_path / "e", "suffix")
        assert verified.summary()["disagreements"] == 6
        assert {d["response"] for d in verified.disagreements()} == {"?"}
        assert verified.disagreements()[0]["old"]["status"] == "unscorable"
        assert verified.disagreements()[0]["new"]["score"] == 0.0
        assert rescore(tmp_path / "e", "test/Same-v0").summary()["disagreements"] == 0

    def test_a_changed_task_is_refused(self, tmp_path):
        done = evaluate(plan(), tmp_path / "e")
        path = done.folder / "samples.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["answer"] = "another"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert list(rescore(done.folder).summary()["refused"].values()) == [1]

    def test_without_samples_or_with_an_unknown_name(self, tmp_path):
        with pytest.raises(fg.ConfigError, match="has no samples"):
            rescore(tmp_path)
        evaluate(plan(), tmp_path / "e")
        with pytest.raises(fg.ConfigError, match="neither a verifier nor an environment"):
            rescore(tmp_path / "e", "sufix")


class TestCommandLine:
    def call(self, *arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_table_and_json(self, tmp_path):
        common = ("eval", "some/model", "--env", "test/Echo-v0", "--set", "engine.name=scripted", "-n", 4)
        table = self.call(*common, "-o", tmp_path / "e")
        assert "pass@2" in table
        assert "24" not in table.split("pass@1")[0]
        assert "questions" in table
        record = json.loads(self.call(*common, "-o", tmp_path / "e", "--json"))
        assert record["metrics"]["pass@1"]["value"] == 0.5
        assert record["folder"] == str(tmp_path / "e")

    def test_greedy_draws_one_sample(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        out = self.call(
            "eval", "some/model", "--env", "test/Echo-v0", "--set", "engine.name=scripted", "--greedy", "--json"
        )
        record = json.loads(out)
        assert (record["mode"], record["samples"]) == ("greedy", 1)
        assert record["folder"].startswith("evaluations/test-Echo-v0-")
        assert Scripted.calls[0][1] == 1

    def test_rescore_lists_disagreements(self, tmp_path):
        evaluate(plan(overrides=["engine.questions=1"]), tmp_path / "e")
        text = self.call("rescore", tmp_path / "e", "--with", "suffix", "--diff")
        assert "6 disagreements" in " ".join(text.split())
        assert text.count("unscorable -> 0") == 6
        record = json.loads(self.call("rescore", tmp_path / "e", "--with", "suffix", "--diff", "--json"))
        assert len(record["disagreeing"]) == 6

    @pytest.mark.parametrize(("change", "differs"), [(5e-7, False), (2e-6, True)])
    def test_a_judge_that_rounds_differently_agrees(self, tmp_path, change, differs):
        evaluate(plan(), tmp_path / "e")
        path = tmp_path / "e" / "samples.jsonl"
        first, *others = path.read_text().splitlines(keepends=True)
        record = json.loads(first)
        record["verdict"]["score"] += change
        path.write_text("".join([json.dumps(record) + "\n", *others]))
        assert len(rescore(tmp_path / "e").disagreements()) == differs


def test_an_option_that_overrides_a_preset_one_stays_in_the_configuration():
    from fdiv_gym.runs.config import parse_config

    with discovery.registry.scoped() as registry:
        Registrar(registry, "test:preset").add("environment", "test/Preset-v0", Echo, options={"right": "{}!"})
        preset = parse_config({"env": {"id": "test/Preset-v0"}})
        assert "right" not in preset.resolved()["env"]
        changed = parse_config({"env": {"id": "test/Preset-v0", "right": "{}?"}})
        assert parse_config(changed.resolved()) == changed
        assert changed.env.options.right == "{}?"
