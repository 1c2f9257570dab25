"""Conversations of a plugin of others: played in the process of the run, judged in a process of its own."""

import os
import sys

import pytest
from episodes_harness import Script, run, statuses

import fdiv_gym as fg
from fdiv_gym.registry import close_plugin
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar

PLUGIN = """
import os, random, time
import fdiv_gym as fg


class Guess(fg.Episode):
    def __init__(self, task):
        self.task, self.tries = task, 0

    def opening(self):
        return [fg.Message("system", "guess"), fg.Message("user", self.task.text)]

    def reply(self, response):
        self.tries += 1
        return None if response == self.task.answer else fg.Reply(fg.Message("tool", "wrong"), reward=-0.5)

    def outcome(self):
        return {"played in": os.getpid(), "tries": self.tries}


class Guesses(fg.ConversationEnv):
    score_range = (-5.0, 1.0)

    def tasks(self, split):
        return [fg.Task((fg.Message("user", f"{split} {i}"),), str(i)) for i in range(4)]

    def begin(self, task):
        return Guess(task)

    def score(self, task, transcript):
        if transcript.responses[0] == "exit":
            os._exit(0)
        if transcript.responses[0] == "hang":
            time.sleep(600)
        seen = {
            "judged in": float(os.getpid()), "played in": float(transcript.outcome["played in"]),
            "rewards": float(len(transcript.rewards)), "roles": float(len({m.role for m in transcript.messages})),
            "opening": float(transcript.opening), "ended": float(transcript.end == "done"), "draw": random.random(),
        }
        return fg.Verdict(float(transcript.response == task.answer), components=seen)
"""


@pytest.fixture
def guesses(tmp_path, monkeypatch):
    """The environment, registered by a package of another distribution; built with the options that a test gives."""
    (tmp_path / "foreign_talks.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    built = []

    def make(**options):
        built.append(fg.make("foreign/Guesses-v0", **options))
        return built[-1]

    with discovery.registry.scoped() as registry:
        registrar = Registrar(registry, "foreign-talks:plugin")
        registrar.add("environment", "foreign/Guesses-v0", "foreign_talks:Guesses", summary="guess a number")
        yield make
    for env in built:
        close_plugin(env)
    sys.modules.pop("foreign_talks", None)


def say(*first):
    return lambda i, turn, text: first[i] if turn == 0 else "1"


def test_a_foreign_conversation_is_played_here_and_judged_elsewhere_on_its_whole_transcript(guesses):
    env = guesses(returns="sum", max_turns=2)
    tasks = env.task_list("train")[:2]
    found = run(env, tasks, n=2, engine=Script(say("9", "0", "9", "8")))
    assert statuses(found) == ["scored"] * 4
    seen = [t.verdict.components for t in found]
    assert {components["played in"] for components in seen} == {os.getpid()}
    (elsewhere,) = {components["judged in"] for components in seen}
    assert elsewhere != os.getpid()
    # Task 0 gets "9" and then "1", both wrong; "0"; task 1 gets "9", "1" and "8", "1".
    assert [t.verdict.score for t in found] == [-1.0, 1.0, 0.5, 0.5]
    assert [components["rewards"] for components in seen] == [2, 0, 2, 2]
    assert [components["roles"] for components in seen] == [4, 3, 4, 4]
    assert [components["opening"] for components in seen] == [2] * 4
    assert [components["ended"] for components in seen] == [0, 1, 1, 1]


def test_a_scorer_that_draws_gives_equal_verdicts_to_equal_transcripts_after_a_restart(guesses):
    def draws():
        env = guesses()
        found = run(env, env.task_list("train")[:2], engine=Script(say("0", "1")))
        return [t.verdict.components["draw"] for t in found]

    first = draws()
    assert first == draws()
    assert len(set(first)) == 2


def test_a_scorer_that_ends_its_process_costs_the_verdicts_of_its_batch_only(guesses):
    env = guesses(max_turns=1)
    tasks = env.task_list("train")[:2]
    found = run(env, tasks, engine=Script(say("exit", "1")))
    assert statuses(found) == ["error"] * 2
    assert "the process that scored 2 responses ended with status 0" in found[0].verdict.detail
    assert statuses(run(env, tasks, engine=Script(say("0", "1")))) == ["scored"] * 2


def test_a_scorer_that_hangs_on_a_transcript_is_killed(guesses):
    env = guesses(max_turns=1, score_deadline_s=3.0)
    tasks = env.task_list("train")[:1]
    assert statuses(run(env, tasks, engine=Script(say("0")))) == ["scored"]  # its worker is ready
    assert statuses(run(env, tasks, engine=Script(say("hang")))) == ["timeout"]
