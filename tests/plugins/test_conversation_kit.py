"""The conformance kit for conversations finds planted faults, each with a complete message."""

from __future__ import annotations

import asyncio
import time

import gymnasium
import numpy as np
import pytest
from kit_assertions import assert_found

import fdiv_gym as fg
from fdiv_gym import testing
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.runs import parse_config
from fdiv_gym.testing.env import checks_of
from fdiv_gym.testing.report import Report


class Digits(fg.ConversationEnv):
    """A correct environment: say the secret digits, one in each turn. Every fault below derives from it."""

    episode: type[fg.Episode]
    default_turns = 4

    def tasks(self, split):
        secrets = ["12", "345", "67"] if split == "train" else ["89", "210"]
        return [fg.Task(f"{len(secret)} digits: {sum(map(int, secret))}?", secret) for secret in secrets]

    def begin(self, task):
        return self.episode(task.answer)

    def score(self, task, transcript):
        return fg.Verdict.scored(transcript.outcome["right"] / len(task.answer))

    def reference_player(self, task):
        digits = iter(task.answer)
        return lambda messages: next(digits)


class Secret(fg.Episode):
    """Tells whether a digit was right; ends after a wrong one."""

    def __init__(self, digits):
        self.digits, self.right = digits, 0

    def reply(self, response):
        if response != self.digits[self.right]:
            return None
        self.right += 1
        return None if self.right == len(self.digits) else fg.Reply("right", reward=0.5)

    def outcome(self):
        return {"right": self.right}


Digits.episode = Secret


class Later(Secret):
    async def reply(self, response):
        await asyncio.sleep(0)
        return super().reply(response)


class Asynchronous(Digits):
    episode = Later


def with_episode(name, **members):
    """The environment with an episode that is right but for ``members``."""
    return type(name, (Digits,), {"episode": type("Faulty", (Secret,), members)})


class SharedState(Digits):
    """One list for all episodes: the place among the digits is that of the environment."""

    def begin(self, task):
        env = self
        env.place = 0

        class Shared(Secret):
            def reply(self, response):
                if response != self.digits[min(env.place, len(self.digits) - 1)]:
                    return None
                env.place, self.right = env.place + 1, self.right + 1
                return None if self.right == len(self.digits) else "right"

        return Shared(task.answer)


class Counts(Digits):
    """Numbers its episodes, and says the number."""

    begun = 0

    def begin(self, task):
        self.begun += 1
        number = self.begun
        return type("Numbered", (Secret,), {"opening": lambda self: f"episode {number}"})(task.answer)


class SeededByInstance(Digits):
    """Draws what it says from a generator of its own: another instance says something else."""

    def __init__(self, **options):
        super().__init__(**options)
        self.word = f"word {np.random.default_rng().integers(10**9)}"

    def begin(self, task):
        return type("Wordy", (Secret,), {"opening": lambda episode: self.word})(task.answer)


class Moody(Digits):
    """Answers with a word that does not follow from the task."""

    class episode(Secret):  # noqa: N801
        def reply(self, response):
            word = f"word {np.random.default_rng().integers(10**9)}"
            return None if super().reply(response) is None else word


class NeverEnds(Digits):
    class episode(Secret):  # noqa: N801
        def reply(self, response):
            if self.right < len(self.digits) and response == self.digits[self.right]:
                self.right += 1
            return "right"

    def reference_player(self, task):
        digits = iter(task.answer)
        return lambda messages: next(digits, "")


class NeverStops(Digits):
    """Its steps never end."""

    def step(self, action):
        return "again", 0.0, False, False, {}


class NotMaximal(Digits):
    def reference_player(self, task):
        return lambda messages: task.answer[0]


class NoPlayer(Digits):
    def reference_player(self, task):
        return None


class RaisesOnEmpty(Digits):
    def score(self, task, transcript):
        if not transcript.response:
            raise ValueError("nothing said")
        return super().score(task, transcript)


class OtherBatch(Digits):
    def score_batch(self, tasks, transcripts):
        return [fg.Verdict.scored(0.0) for _ in tasks]


class ShortBatch(Digits):
    def score_batch(self, tasks, transcripts):
        return [self.score(task, transcript) for task, transcript in zip(tasks[1:], transcripts[1:], strict=True)]


class OtherBeginning(Digits):
    """A batch of several episodes gets the digits of the first."""

    def begin_batch(self, tasks):
        return [Secret(tasks[0].answer) for _ in tasks]


class RewardsGarbage(Digits):
    def score(self, task, transcript):
        return fg.Verdict.scored(1.0)


class TooHigh(Digits):
    def score(self, task, transcript):
        return fg.Verdict.scored(2.0 * super().score(task, transcript).score)


class FromMemory(Digits):
    """Judges by a state of the environment, which a saved transcript does not have."""

    def begin(self, task):
        self.judged = set()
        return super().begin(task)

    def score(self, task, transcript):
        again = str(transcript) in self.judged
        self.judged.add(str(transcript))
        return fg.Verdict.scored(0.0) if again else super().score(task, transcript)


class Unpicklable(Digits):
    def __init__(self, **options):
        super().__init__(**options)
        self.hook = lambda: None


class DemonstratesHeldout(Digits):
    """A copy of the environment plays held-out tasks: only the first messages tell."""

    def demonstrations(self, count, rng):
        return [(fg.Message("user", "2 digits: 17?"), fg.Message("assistant", "8"))] * count


class PlaysHeldout(Digits):
    def demonstrations(self, count, rng):
        from fdiv_gym.envs.play import play

        task = self.task_list("heldout")[0]
        return [play(self, task, self.reference_player(task)).messages[1:]] * count


class ForgetsToClose(Digits):
    def close(self):
        pass


class VotesNumbers(Digits):
    def vote(self, task, response):
        return 3 if response else None


def raises(*arguments):
    raise OSError("no server")


@pytest.mark.parametrize("env", [Digits, Asynchronous])
def test_a_correct_conversation_passes(env):
    report = testing.check_environment(env())
    assert report.ok, report.text()
    names = {check.name for check in report.checks}
    assert names >= {"gymnasium", "opening", "episode", "closing", "reference_player", "rejects_invalid", "hostile"}
    assert names >= {"repeatable", "interleaved", "instances", "batch", "transcript", "votes", "pickle"}
    assert names >= {"demonstrations", "unscorable", "seeding", "reset"}


FAULTS = [
    (SharedState, "interleaved", "played alone and among others with equal responses: "),
    (Counts, "repeatable", "played twice with equal responses: message 0 was user 'episode "),
    (SeededByInstance, "instances", "played in two instances with equal options with equal responses: message 0 was"),
    (NeverEnds, "reference_player", "the reference player had no turns left (max_turns = 4) before the end"),
    (NeverStops, "episode", "the episode was not over after max_turns = 4 responses"),
    (NotMaximal, "reference_player", "task '2 digits: 3?': the reference player got 0.5, expected the maximum 1.0"),
    (NoPlayer, "reference_player", "3 of 3 tasks of split 'train' have no reference player; set has_reference_resp"),
    (RaisesOnEmpty, "hostile", "empty ('') from turn 1 on: ValueError: nothing said; expected a Verdict"),
    (OtherBatch, "batch", "'2': score() returned 1.0, score_batch() 0.0"),
    (ShortBatch, "batch", "score_batch returned 8 verdicts for 9 transcripts"),
    (OtherBeginning, "interleaved", "with equal responses: "),
    (RewardsGarbage, "rejects_invalid", "task '2 digits: 3?': empty responses got the maximum 1.0"),
    (TooHigh, "reference_player", "returned the score 2.0, outside its declared range [0.0, 1.0]"),
    (FromMemory, "transcript", "and 0.0 once it was written and read: score() must use the task and the transcript"),
    (Unpicklable, "pickle", "raised"),
    (DemonstratesHeldout, "demonstrations", "a demonstration contains the held-out prompt '2 digits: 17?'"),
    (PlaysHeldout, "demonstrations", "the held-out task '2 digits: 17?' is demonstrated"),
    (ForgetsToClose, "closing", "an episode that env.close() left was closed 0 times"),
    (VotesNumbers, "votes", "vote must return a string or None, got 3"),
    (
        with_episode("Speaks", opening=lambda self: (fg.Message("user", "?"), fg.Message("assistant", "1"))),
        "opening",
        "task '2 digits: 3?' of split 'train': environment 'Speaks': opening must end with a message to answer",
    ),
    (with_episode("Silent", opening=lambda self: ""), "opening", "of split 'train': the first messages are empty"),
    (
        with_episode("Object", outcome=lambda self: {"right": self.right, "digits": {1, 2}}),
        "transcript",
        "outcome must hold JSON values: Object of type set is not JSON serializable",
    ),
    (
        with_episode("Refuses", reply=lambda self, response: int(response) and None),
        "hostile",
        "emoji and right-to-left",
    ),
    (with_episode("Leaves", close=raises), "closing", "close() of an episode failed: OSError: no server"),
    (
        with_episode("Unseeded", opening=lambda self: f"{np.random.default_rng().integers(10**9)}"),
        "repeatable",
        "message 0 was user",
    ),
]


@pytest.mark.parametrize(("env", "check", "message"), FAULTS, ids=[env.__name__ for env, *_ in FAULTS])
def test_faults_of_conversations(env, check, message):
    assert_found(testing.check_environment(env(), seconds=10), check, message)


def test_an_episode_that_hangs_is_left():
    def reply(self, response):
        if len(response) > 50_000:
            time.sleep(30)

    report = Report("hangs")
    checks_of(with_episode("Hangs", reply=reply)())["hostile"](report, 0.5)
    assert [check.message for check in report.failures] == [
        "very long ('1111111111111111111111111111111111111...') from turn 1 on: TimeoutError: no result within 0.5 s; "
        "expected a Verdict"
    ]


@pytest.mark.plugin_checks
@pytest.mark.parametrize(("env", "check"), [(NotMaximal, "reference_player"), (Moody, "repeatable")])
def test_the_checks_before_a_run_refuse_a_fault(env, check):
    said: list[str] = []
    testing.check_run_plugins(parse_config({"env": {"id": Digits}}), said.append, seconds=20)
    with pytest.raises(fg.PluginError, match=f"breaks its contract: {check}: "):
        testing.check_run_plugins(parse_config({"env": {"id": env}}), said.append, seconds=20)
    assert said == []


def test_a_registered_conversation_through_gymnasium():
    """Gymnasium's wrappers check each call; two of its environments do not disturb each other."""
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("environment", "my/Digits-v0", Digits, "thirdparty:plugin"))
        one, two = gymnasium.make("my/Digits-v0"), gymnasium.make("my/Digits-v0")
        said = [env.reset(seed=3, options={"task": 0})[0] for env in (one, two)]
        assert said == ["2 digits: 3?"] * 2
        assert [env.step("1")[:4] for env in (one, two)] == [("right", 0.0, False, False)] * 2
        *end, info = one.step("2")
        assert end == ["", 1.0, True, False]
        assert info["verdict"] == fg.Verdict.scored(1.0)
        assert two.step("9")[4]["verdict"] == fg.Verdict.scored(0.5)


def test_the_environment_is_left_as_it_was():
    env = Digits()
    testing.check_environment(env)
    assert not vars(env).keys() & {"begin", "begin_batch"}
    assert env._live is None
