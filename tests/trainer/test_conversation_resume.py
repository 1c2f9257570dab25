"""A run of conversations that is killed in the middle of a turn goes on exactly as if it had not been."""

import os
import signal
import subprocess
import sys

import pytest
from conftest_trainer import without_times

from fdiv_gym.runs.folder import RunFolder

PLUGIN = '''
import asyncio, os, random, signal
import fdiv_gym as fg



def steps_done():
    path = os.environ.get("METRICS", "")
    return open(path).read().count("\\n") if os.path.exists(path) else 0


@fg.hookimpl
def fdiv_gym_register(registrar):
    registrar.add("environment", "me/Echoes-v0", "echoes.plugin:Echoes", summary="random letters")


class Echo(fg.Episode):
    """Says random letters that follow from the task, and waits for random times that do not."""

    def __init__(self, task):
        self.rng, self.turn = random.Random(task.data["seed"]), 0

    def opening(self):
        return self.rng.choice("abcdefgh") + ">"

    async def reply(self, response):
        await asyncio.sleep(random.random() / 1000)
        if self.turn == 1 and steps_done() == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self.turn += 1
        return fg.Reply(self.rng.choice("ijklmn") + ">" if self.turn < 3 else None, reward=0.1 * len(response))

    def outcome(self):
        return {"turns": self.turn}


class Echoes(fg.ConversationEnv):
    score_range = (0.0, 1.0)

    def tasks(self, split):
        return [fg.Task(f"{split} {i}", data={"seed": i + 100 * (split == "train")}) for i in range(12)]

    def begin(self, task):
        return Echo(task)

    def score(self, task, transcript):
        return fg.Verdict.scored(min(1.0, sum(map(len, transcript.responses)) / 12))

    def reference_player(self, task):
        return lambda messages: "xyz"[: 1 + len(messages) % 3]
'''
CONFIG = """
[env]
id = "me/Echoes-v0"
returns = "sum"
[model.embedded]
layers = 1
heads = 1
warm_start_steps = 12
warm_start_batch = 8
[engine]
max_new_tokens = 4
[trainer]
steps = 4
prompts_per_step = 3
group_size = 4
evaluate_tasks = 4
evaluate_every = 2
checkpoint_every = 1
check_plugins = false
"""


@pytest.fixture
def command(tmp_path, cache_folder):
    """Runs fdiv-gym with the plugin installed; gives the finished process."""
    (tmp_path / "echoes").mkdir()
    (tmp_path / "echoes" / "__init__.py").touch()
    (tmp_path / "echoes" / "plugin.py").write_text(PLUGIN)
    (tmp_path / "echoes-1.0.dist-info").mkdir()
    (tmp_path / "echoes-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: echoes\nVersion: 1.0\n")
    (tmp_path / "echoes-1.0.dist-info" / "entry_points.txt").write_text("[fdiv_gym]\nplugin = echoes.plugin\n")
    (tmp_path / "run.toml").write_text(CONFIG)

    def start(*words, metrics=""):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "METRICS": str(metrics)}
        return subprocess.run(
            [sys.executable, "-m", "fdiv_gym", "train", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return start


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_turn_resumes_exactly(command, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = command("run.toml", "--output", str(straight))
    assert done.returncode == 0, done.stderr
    # In the second turn of the episodes of step 3, or of the evaluation before it.
    found = command("run.toml", "--output", str(killed), metrics=killed / "metrics.jsonl")
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert [line["step"] for line in RunFolder(killed).lines("metrics.jsonl")] == [1, 2]
    done = command("--resume", str(killed))
    assert done.returncode == 0, done.stderr
    for name in ("metrics.jsonl", "evaluations.jsonl", "samples.jsonl"):
        resumed, expected = RunFolder(killed).lines(name), RunFolder(straight).lines(name)
        assert without_times(resumed) == without_times(expected)
        assert expected
    assert {line["turns"] for line in RunFolder(straight).lines("samples.jsonl")} == {3}
