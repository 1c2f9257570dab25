"""``eval`` and ``rescore`` that are told to end, and a folder that asks for a secret: the commands themselves."""

import json
import signal
import threading
import time

import pytest
from folder_harness import config_file, end, finish, start

import fdiv_gym as fg
from fdiv_gym.evaluation.samples import sample_record
from fdiv_gym.manifest import seal
from fdiv_gym.runs import RunFolder
from fdiv_gym.testing.servers import FaultyServer
from fdiv_gym.types import Trajectory

pytestmark = pytest.mark.slow


def wait_for(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told_to_end(process, number):
    """The last line of a command that gets a signal."""
    try:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, errors
    return errors.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_evaluation_that_is_told_to_end_goes_on_where_it_was(tmp_path, number):
    run = tmp_path / "run"
    trained = finish("train", config_file(tmp_path), "--output", run, "--set", "trainer.steps=2")
    assert trained.returncode == 0, trained.stderr
    command = ["eval", run, "--tasks", "20", "--samples", "32", "--batch", "1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finish(*command, "--output", whole).returncode == 0
    process = start(*command, "--output", cut)
    wait_for(lambda: (cut / "samples.jsonl").exists(), process)
    assert told_to_end(process, number) == f"interrupted; run the same command again to resume ({cut})"
    assert 0 < len(RunFolder(cut).lines("samples.jsonl")) < 20 * 32
    assert not (cut / ".writer").exists()
    again = finish(*command, "--output", cut)
    assert again.returncode == 0, again.stderr
    assert RunFolder(cut).lines("samples.jsonl") == RunFolder(whole).lines("samples.jsonl")


class Slow(FaultyServer):
    """Answers when it is allowed to."""

    def __init__(self):
        super().__init__()
        self.allowed = threading.Event()

    def _proper(self, text):
        self.allowed.wait(60)
        return super()._proper(text)


def judged_folder(path, address, samples):
    """A run folder whose samples a judge on a server scored."""
    model = path / "checkpoints" / "step-000001" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    seal(model.parent)
    judge = {"name": "llm", "model": "m", "base_url": address, "retries": 0}
    (path / "config.json").write_text(json.dumps({"env": {"id": "safety/Preference-v0", "judge": judge}}))
    env = fg.make("safety/Preference-v0")
    task = env.task_list("train")[0]
    records = []
    for i in range(samples):
        made = Trajectory((0,), (0.0,), (True,), f"{i} <score=10>", "eos", fg.Verdict.scored(0.0))
        place = {"split": "train", "mode": "sampled", "index": 0, "sample": i}
        records.append({"step": 1, **sample_record(env, task, made, **place)})
    (path / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_rescoring_that_is_told_to_end_leaves_the_folder_as_it_was(tmp_path, number):
    with Slow() as server:
        folder = judged_folder(tmp_path / "run", server.address, 4)
        cache = {"FDIV_GYM_CACHE": str(tmp_path / "cache")}
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        process = start("rescore", folder, "--trust-endpoints", **cache)
        wait_for(lambda: server.heard, process)
        assert told_to_end(process, number) == "interrupted; run the same command again"
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        server.allowed.set()
        again = finish("rescore", folder, "--trust-endpoints", "--json", **cache)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["mean_after"] == 1.0


@pytest.mark.parametrize("command", [["rescore"], ["train", "--accept-changes", "--resume"], ["eval"]])
def test_a_run_folder_gets_no_secret(tmp_path, command):
    secrets = {"AWS_SECRET_ACCESS_KEY": "aws-secret", "OPENAI_API_KEY": "sk-secret"}
    secrets["FDIV_GYM_KEYS"] = str(tmp_path / "no-keys.toml")
    with FaultyServer() as attacker:
        folder = judged_folder(tmp_path / "run", attacker.address, 1)
        refused = finish(*command, folder, **secrets)
        assert refused.returncode == 2
        assert "--trust-endpoints" in refused.stderr
        assert attacker.heard == []
        values = json.loads((folder / "config.json").read_text())
        values["env"]["judge"]["api_key_env"] = "AWS_SECRET_ACCESS_KEY"
        (folder / "config.json").write_text(json.dumps(values))
        refused = finish(*command, folder, "--trust-endpoints", **secrets)
        assert refused.returncode == 2
        assert "api_key_env" in refused.stderr
        assert attacker.heard == []
        if command == ["rescore"]:
            del values["env"]["judge"]["api_key_env"]
            (folder / "config.json").write_text(json.dumps(values))
            trusted = finish(*command, folder, "--trust-endpoints", **secrets)
            assert trusted.returncode == 0, trusted.stderr
            assert attacker.heard == ["Bearer none"]
