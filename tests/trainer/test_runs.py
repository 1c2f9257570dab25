"""Whole runs: deterministic, resumable, interruptible, and clear about what is wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from conftest_trainer import tiny_config, train, without_times
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation import Plan, configure, evaluate, is_sample, mean_metrics
from fdiv_gym.models.loading import load_model
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.evaluation import Evaluator
from fdiv_gym_accelerate.settings import TrainerOptions


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A finished run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        return train(tiny_config(), folder)


def test_a_run_leaves_everything_behind(straight):
    run = RunFolder(straight.folder)
    summary = run.read_json("summary.json")
    assert (summary["status"], summary["steps"]) == ("finished", 4)
    assert set(summary["before"]) == set(summary["after"]) == {"score/sampled", "score/greedy"}
    assert [line["step"] for line in run.lines("metrics.jsonl")] == [1, 2, 3, 4]
    assert [line["step"] for line in run.lines("evaluations.jsonl")] == [0, 2, 4]
    assert run.config()["objective"]["divergence"]["name"] == "pearson"
    plugins = run.read_json("provenance.json")["plugins"]
    assert {"fdiv-gym:core", "fdiv-gym:math", "fdiv-gym:accelerate", "fdiv-gym:transformers"} == set(plugins)
    assert [p.name for p in run.checkpoints()] == ["step-000002", "step-000004"]


def test_the_table_can_be_recomputed_from_the_samples(straight):
    run = RunFolder(straight.folder)
    last = [s for s in run.lines("samples.jsonl") if s["split"] == "heldout" and s["step"] == 4]
    line = run.lines("evaluations.jsonl")[-1]
    metrics = mean_metrics(fg.make("math/Addition-v0", digits=1), last)
    assert metrics == {key: line[key] for key in metrics}
    assert set(metrics) == {"score/sampled", "score/greedy", "unscored", "response_tokens"}
    assert straight.summary["after"]["score/sampled"] == line["score/sampled"]


def test_a_run_and_an_evaluation_write_one_schema_and_both_can_be_rescored(straight, tmp_path):
    config, trained_on = configure(str(straight.folder))
    done = evaluate(Plan(config, tasks=3, samples=2, trained_on=trained_on), tmp_path / "evaluation")
    run, evaluation = (RunFolder(folder).lines("samples.jsonl") for folder in (straight.folder, done.folder))
    assert len({tuple(line) for line in [*run, *evaluation]}) == 1
    assert all(is_sample(line) for line in [*run, *evaluation])
    assert {line["step"] for line in evaluation} == {None}
    assert {(line["split"], line["mode"]) for line in run} == {
        ("train", "sampled"), ("heldout", "sampled"), ("heldout", "greedy"),
    }  # fmt: skip
    for folder, lines in ((straight.folder, run), (done.folder, evaluation)):
        result = CliRunner().invoke(app, ["rescore", str(folder), "--json"])
        assert result.exit_code == 0, result.output
        summary = json.loads(result.stdout)
        assert (summary["samples"], summary["disagreements"], summary["refused"]) == (len(lines), 0, {})


def test_samples_say_which_task_and_which_response_they_are(straight):
    lines = RunFolder(straight.folder).lines("samples.jsonl")
    env = fg.make("math/Addition-v0", digits=1)
    heldout = [line for line in lines if line["split"] == "heldout"]
    for line in heldout:
        assert line["task_hash"] == env.task_list("heldout")[line["index"]].hash
    first = [(line["mode"], line["index"], line["sample"]) for line in heldout if line["step"] == 0]
    samples = len([place for place in first if place[:2] == ("sampled", 0)])
    assert first == [("sampled", i, k) for i in range(4) for k in range(samples)] + [("greedy", i, 0) for i in range(4)]
    train = [(line["index"], line["sample"]) for line in lines if (line["split"], line["step"]) == ("train", 1)]
    assert train == [divmod(number, 4) for number in range(len(train))]
    assert train


def test_each_process_places_its_own_tasks_in_the_whole_step():
    """The second of three processes holds tasks 1, 4, 7 ... of a step."""
    env = fg.make("math/Addition-v0", digits=1)
    trajectory = fg.Trajectory((7, 8), (0.0, -1.0), (False, True), "3", "eos", fg.Verdict.scored(1.0))
    groups = [fg.TrajectoryGroup(task, (trajectory, trajectory)) for task in env.task_list("train")[:3]]
    second = SimpleNamespace(process_index=1, num_processes=3)
    settings = TrainerOptions(samples_per_step=5)
    evaluator = Evaluator(second, None, None, None, env, [], settings, seed=0, pad_token=0, ledger=None)
    records = evaluator.training_samples(2, groups)
    assert [(r["index"], r["sample"]) for r in records] == [(1, 0), (1, 1), (4, 0), (4, 1), (7, 0)]
    assert {(r["step"], r["split"], r["mode"]) for r in records} == {(2, "train", "sampled")}
    assert evaluator.training_samples(2, None) == []


def test_rollouts_are_on_policy_at_every_step(straight):
    gaps = [line["engine/logprob_gap"] for line in RunFolder(straight.folder).lines("metrics.jsonl")]
    assert max(gaps) < 1e-4


def test_same_seed_same_metrics_other_seed_others(straight, tmp_path):
    again = train(tiny_config(), tmp_path / "again")
    other = train(tiny_config(seed=1), tmp_path / "other")
    lines = [without_times(RunFolder(r.folder).lines("metrics.jsonl")) for r in (straight, again, other)]
    assert lines[0] == lines[1] != lines[2]


def test_resume_equals_a_straight_run(straight, tmp_path):
    """Cut a run off after its second step as a kill would, then go on: the same metrics and weights."""
    folder = tmp_path / "cut"
    train(tiny_config(), folder)
    import shutil

    shutil.rmtree(folder / "checkpoints" / "step-000004")
    (folder / "summary.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "half a li')
    result = train(tiny_config(), folder, resume=True)
    assert (result.status, result.steps) == ("finished", 4)
    for name in ("metrics.jsonl", "evaluations.jsonl", "samples.jsonl"):
        resumed, expected = RunFolder(folder).lines(name), RunFolder(straight.folder).lines(name)
        assert without_times(resumed) == without_times(expected)
    weights = [load_model(f / "checkpoints" / "step-000004" / "model").state_dict() for f in (folder, straight.folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_checkpoint_is_a_model_folder(straight, tmp_path):
    source = straight.folder / "checkpoints" / "step-000004" / "model"
    config = tiny_config(model={"name_or_path": str(source)}, trainer__steps=1)
    result = train(config, tmp_path / "next")
    before = result.summary["before"]
    assert before == straight.summary["after"]


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_folder_and_resume_goes_on(tmp_path, cache_folder):
    config = tmp_path / "run.toml"
    config.write_text(
        '[env]\nid = "math/Addition-v0"\ndigits = 1\n[model.embedded]\nlayers = 1\nheads = 1\nwarm_start_steps = 30\n'
        "warm_start_batch = 32\n[engine]\nmax_new_tokens = 4\n"
        "[trainer]\nsteps = 100000\nprompts_per_step = 4\ngroup_size = 4\nevaluate_tasks = 4\n"
    )
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "fdiv_gym", "train"]
    process = subprocess.Popen([*command, str(config), "--output", str(folder)], stdout=subprocess.PIPE, text=True)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 130
    assert f"fdiv-gym train --resume {folder}" in " ".join(output.split())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["steps"] >= 1
    run = RunFolder(folder)
    assert run.checkpoints()[-1].name == f"step-{summary['steps']:06d}"
    longer = ["--set", f"trainer.steps={summary['steps'] + 1}"]
    done = subprocess.run([*command, "--resume", str(folder), *longer], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "summary.json").read_text())["steps"] == summary["steps"] + 1


def test_ctrl_c_in_the_warm_start_leaves_nothing_and_says_so(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        '[env]\nid = "math/Addition-v0"\n[model.embedded]\nwarm_start_steps = 2000\nwarm_start_batch = 4\n'
    )
    folder = tmp_path / "run"
    environment = {**os.environ, "FDIV_GYM_CACHE": str(tmp_path / "cache")}
    environment.pop("FDIV_GYM_QUIET", None)  # the first line of the warm start is waited for
    command = [sys.executable, "-m", "fdiv_gym", "train", str(config), "--output", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert "warm start 1/2000" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "interrupted; run the command again"
    assert not folder.exists()


def test_report_is_one_self_contained_escaped_file(straight):
    from fdiv_gym.runs.report import write_report

    run = RunFolder(straight.folder)
    original = (straight.folder / "samples.jsonl").read_text()
    hostile = json.loads(original.split("\n")[0]) | {"response": "<script>alert(1)</script>", "split": "heldout"}
    hostile["transcript"]["messages"][-1]["content"] = hostile["response"]
    try:
        (straight.folder / "samples.jsonl").write_text(json.dumps(hostile) + "\n" + original)
        html = write_report(straight.folder).read_text()
    finally:
        (straight.folder / "samples.jsonl").write_text(original)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert 'src="http' not in html
    for title in ("Held-out score", "Training reward", "Divergence from the reference"):
        assert title in html
    assert f"{run.read_json('summary.json')['before']['score/sampled']:.3f}" in html


def test_report_of_nothing_is_an_error(tmp_path):
    from fdiv_gym.runs.report import write_report

    with pytest.raises(fg.TrainerError, match="there is no run in"):
        write_report(tmp_path)
    run = RunFolder.create(tmp_path / "new", {})
    with pytest.raises(fg.TrainerError, match="no metrics yet"):
        write_report(run.path)


def test_a_step_with_too_many_unscored_responses_stops_the_run(tmp_path, monkeypatch):
    from fdiv_gym_math.addition import Addition

    monkeypatch.setattr(Addition, "score", lambda *_: fg.Verdict.unscorable("the judge is away"))
    with pytest.raises(fg.TrainerError, match=r"step 1: 100% of the responses have no score.*the judge is away"):
        train(tiny_config(), tmp_path / "run")


def test_a_full_disk_is_one_clear_error_and_older_checkpoints_stay(tmp_path, monkeypatch):
    from fdiv_gym_accelerate import checkpoint

    folder = tmp_path / "run"
    real = torch.save
    calls = []

    def full(state, path):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(state, path)

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(fg.TrainerError, match=r"cannot write a checkpoint in .*: No space left on device"):
        train(tiny_config(), folder)
    assert [p.name for p in RunFolder(folder).checkpoints()] == ["step-000002"]
    assert not list((folder / "checkpoints").glob(".writing-*"))
    monkeypatch.setattr(checkpoint.torch, "save", real)
    assert train(tiny_config(), folder, resume=True).steps == 4


def test_no_room_for_a_checkpoint_is_told_before_the_first_step(tmp_path, monkeypatch):
    import collections

    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 1000))
    with pytest.raises(fg.TrainerError, match="0 MB free, one checkpoint takes about"):
        train(tiny_config(), tmp_path / "run")


def test_bf16_runs_and_stays_close(tmp_path):
    result = train(tiny_config(trainer__precision="bf16", trainer__steps=2), tmp_path / "bf16")
    lines = RunFolder(result.folder).lines("metrics.jsonl")
    assert all(line["engine/logprob_gap"] < 0.2 for line in lines)
    weights = load_model(result.folder / "checkpoints" / "step-000002" / "model").state_dict()
    assert all(w.dtype == torch.float32 and torch.isfinite(w).all() for w in weights.values())


@pytest.mark.parametrize(
    ("fault", "message"), [("cut", "cannot load a model"), ("incomplete", "q_proj.weight missing")]
)
def test_damaged_or_incomplete_weights_are_refused(straight, tmp_path, fault, message):
    from safetensors.torch import load_file, save_file

    source = RunFolder(straight.folder).checkpoints()[-1] / "model"
    folder = shutil.copytree(source, tmp_path / "model")
    file = folder / "model.safetensors"
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    else:
        weights = load_file(file)
        kept = {name: tensor for name, tensor in weights.items() if "q_proj" not in name}
        save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(fg.TrainerError, match=message):
        load_model(folder)


def test_a_start_that_fails_gives_its_folder_back(tmp_path, monkeypatch, capsys):
    import sys

    from fdiv_gym.cli.main import main

    config = tmp_path / "run.toml"
    config.write_text('[env]\nid = "math/Addition-v0"\n[model]\nname_or_path = "./nowhere"\n')
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # a retry meets the same error, not "already contains a run"
        monkeypatch.setattr(sys, "argv", ["fdiv-gym", "train", str(config), "--output", str(tmp_path / "run")])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        assert "there is no model folder nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_folder_named_as_a_model_points_to_its_checkpoint(straight):
    from fdiv_gym.models.loading import check_model_folder

    with pytest.raises(fg.TrainerError, match=r"is a run folder; .*step-000004/model"):
        check_model_folder(straight.folder)


def test_dropout_never_separates_the_trained_policy_from_the_sampled_one(tmp_path, tiny):
    """A model with dropout is sampled and trained without it: the gap stays at rounding."""
    model, tokenizer, _ = tiny
    model.config.attention_dropout = 0.5
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model.config.attention_dropout = 0.0
    config = tiny_config(model={"name_or_path": str(tmp_path / "model")}, trainer__steps=2, objective__name="grpo")
    lines = RunFolder(train(config, tmp_path / "run").folder).lines("metrics.jsonl")
    assert max(line["engine/logprob_gap"] for line in lines) < 1e-4


def test_cut_off_lines_do_not_stop_a_resume(tmp_path):
    run = RunFolder.create(tmp_path / "run", {})
    run.append("timeouts.jsonl", {"key": "a"})
    with (run.path / "timeouts.jsonl").open("ab") as file:
        file.write('{"key": "\u00fc'.encode()[:-1])
    with (run.path / "metrics.jsonl").open("w") as file:
        file.write('{"step": 1}\n{"step": 2}\n{"st')
    run.keep_until(1)
    assert run.lines("timeouts.jsonl") == [{"key": "a"}]
    assert run.lines("metrics.jsonl") == [{"step": 1}]
    run.append("timeouts.jsonl", {"key": "b"})
    assert [line["key"] for line in run.lines("timeouts.jsonl")] == ["a", "b"]


def test_fit_itself_refuses_a_resume_with_changed_plugins(straight, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(straight.folder, folder)
    run = RunFolder(folder)
    record = run.read_json("provenance.json")
    record["plugins"]["fdiv-gym:math"]["source"] = "0" * 16
    run.write_json("provenance.json", record)
    with pytest.raises(fg.TrainerError, match=r"plugins of the run .* have changed: fdiv-gym:math"):
        train(tiny_config(), folder, resume=True)
