"""What fails in one episode costs its own verdict; every episode is closed once, whatever happens."""

import asyncio
import inspect
import json
import logging
import os
import signal
from collections.abc import Mapping

import numpy as np
import pytest
from episodes_harness import Counter, Script, Talks, TextScript, run, run_text, statuses, tasks_of

import fdiv_gym as fg
from fdiv_gym.types import Message


class OwnError(BaseException):
    """Derives from BaseException, as a few libraries' do."""


FAULTS = [
    ValueError("broken"), SystemExit(3), OwnError("odd"), asyncio.CancelledError("gone"), TimeoutError("own"),
    GeneratorExit("over"),
]  # fmt: skip
PLACES = ("begin", "opening", "reply", "outcome")


def planted(place, error, asynchronous, where="t1"):
    """An environment whose conversation about ``where`` fails in one place."""

    def failing(name):
        inherited = getattr(Talks if name == "begin" else Counter, name)

        def sync(self, *arguments):
            task = arguments[0] if name == "begin" else self.task
            if task.prompt == where:
                raise error
            return inherited(self, *arguments)

        async def later(self, *arguments):
            await asyncio.sleep(0)
            return sync(self, *arguments)

        return later if asynchronous else sync

    if place == "begin":
        return type("Planted", (Talks,), {"begin": failing("begin")})()
    return Talks(type("PlantedEpisode", (Counter,), {place: failing(place)}))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_an_episode_that_raises_costs_one_error_and_no_other(place, error, asynchronous):
    env = planted(place, error, asynchronous)
    found = run(env, tasks_of(2, 2, 2))
    assert statuses(found) == ["scored", "error", "scored"]
    assert [found[0].turns, found[2].turns] == [2, 2]
    assert f"failed in {place}: {type(error).__name__}: " in found[1].verdict.detail
    assert all(episode.closed == 1 for episode in env.episodes)
    assert len(env.episodes) == (2 if place == "begin" else 3)
    assert len(env.scored) == 2


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_failure_to_close_is_logged_once_and_costs_no_verdict(error, asynchronous, caplog):
    class Leaves(Counter):
        def close(self):
            super().close()
            if self.task.prompt != "t1":
                raise error

    class LeavesLater(Leaves):
        async def close(self):
            await asyncio.sleep(0)
            super().close()

    env = Talks(LeavesLater if asynchronous else Leaves)
    with caplog.at_level(logging.WARNING):
        found = run(env, tasks_of(1, 1, 1))
    assert statuses(found) == ["scored"] * 3
    assert [episode.closed for episode in env.episodes] == [1] * 3
    (message,) = [record.getMessage() for record in caplog.records if "failed in close" in record.getMessage()]
    assert message.endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (42, "reply must return a text, messages, a Reply or None, got 42"),
        ({"role": "user"}, "reply must return a text, messages, a Reply or None, got {'role': 'user'}"),
        (b"bytes", "reply must return a text, messages, a Reply or None, got b'bytes'"),
        (["text"], "reply returned several items, of which 'text' is no fdiv_gym.Message"),
        ([Message("user", 3)], "reply: the content of a message must be a string, got 3"),
        (Message("assistant", "me"), "reply returned a message of role 'assistant', expected system, user, tool"),
        (fg.Reply(7), "reply must return a text, messages, a Reply or None, got 7"),
        (fg.Reply("x", reward="much"), "the reward of a reply is 'much', expected a finite number"),
        (fg.Reply("x", reward=float("nan")), "the reward of a reply is nan, expected a finite number"),
        (fg.Reply("x", reward=10**400), "expected a finite number"),
        (ValueError("returned"), "reply must return a text, messages, a Reply or None, got ValueError('returned')"),
    ],
    ids=str,
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_reply_of_a_wrong_type_is_named(answer, said, asynchronous):
    class Wrong(Counter):
        def reply(self, response):
            return answer if self.task.prompt == "t1" else super().reply(response)

    class WrongLater(Wrong):
        async def reply(self, response):
            return super().reply(response)

    found = run(Talks(WrongLater if asynchronous else Wrong), tasks_of(2, 2))
    assert statuses(found) == ["scored", "error"]
    assert said in found[1].verdict.detail
    assert "environment 'Talks': " in found[1].verdict.detail


def nested(levels):
    found = []
    for _ in range(levels - 1):
        found = [found]
    return found


def test_an_outcome_of_64_levels_is_read():
    outcome = {"x": nested(63)}
    (found,) = run(Talks(type("Deep", (Counter,), {"outcome": lambda self: outcome})), tasks_of(1))
    assert found.transcript.outcome == outcome


class Unreadable(list):
    """A list that raises when it is read."""

    def __iter__(self):
        raise RuntimeError("unreadable")


def test_an_answer_that_cannot_be_read_costs_its_episode():
    class Wrong(Counter):
        def reply(self, response):
            return Unreadable() if self.task.prompt == "t1" else super().reply(response)

    found = run(Talks(Wrong), tasks_of(2, 2))
    assert statuses(found) == ["scored", "error"]
    assert found[1].verdict.detail.endswith("failed in reply: RuntimeError: unreadable")


@pytest.mark.parametrize(("returns", "expected"), [("final", "scored"), ("sum", "error"), ("discounted", "error")])
def test_rewards_whose_sum_is_too_large_cost_their_episode(returns, expected):
    class Generous(Counter):
        def reply(self, response):
            said = super().reply(response)
            return fg.Reply(said, 1.7e308, said is None) if self.task.prompt == "t1" else said

    found = run(Talks(Generous, returns=returns), tasks_of(3, 3))
    assert statuses(found) == ["scored", expected]
    assert ("the rewards of the turns add up to inf" in found[1].verdict.detail) == (expected == "error")


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("opening", 42, "opening must return a text"),
        ("opening", [], "opening must end with a message to answer"),
        ("opening", Message("assistant", "x"), "opening must end with a message to answer"),
        ("outcome", [1], "outcome must return a mapping, got [1]"),
        ("outcome", {"x": float("nan")}, "outcome must hold JSON values"),
        ("outcome", {"x": object()}, "outcome must hold JSON values"),
        ("outcome", None, "outcome must return a mapping, got None"),
        ("outcome", {"x": nested(64)}, "outcome has more than 64 levels of lists and objects"),
        ("outcome", {"x": nested(300)}, "outcome has more than 64 levels of lists and objects"),
        ("outcome", {"x": nested(100_000)}, "outcome has more than 64 levels of lists and objects"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_opening_or_outcome_of_a_wrong_type_is_named(method, value, said):
    def returns(self):
        return value if self.task.prompt == "t1" else getattr(Counter, method)(self)

    env = Talks(type("Wrong", (Counter,), {method: returns}))
    found = run(env, tasks_of(2, 2))
    assert statuses(found) == ["scored", "error"]
    assert said in found[1].verdict.detail
    assert [episode.closed for episode in env.episodes] == [1, 1]


@pytest.mark.parametrize("value", [None, 42, Counter, "episode"], ids=str)
def test_begin_that_returns_no_episode_is_named(value):
    class Wrong(Talks):
        def begin(self, task):
            return value if task.prompt == "t1" else super().begin(task)

    found = run(Wrong(), tasks_of(1, 1))
    assert statuses(found) == ["scored", "error"]
    assert "begin must return an fdiv_gym.Episode, got" in found[1].verdict.detail


@pytest.mark.parametrize("fault", ["raises", "exits", "too few", "no episodes"])
def test_a_batch_that_cannot_begin_is_begun_one_by_one_and_what_it_returned_is_closed(fault):
    class Batch(Talks):
        def begin_batch(self, tasks):
            episodes = [self.episode(self, task) for task in tasks]
            if len(tasks) > 1 and fault in ("raises", "exits"):
                for episode in episodes:
                    episode.close()
                raise RuntimeError("no room") if fault == "raises" else GeneratorExit
            if len(tasks) > 1 and fault == "too few":
                return episodes[:-1]
            return [*episodes[:-1], None] if tasks[-1].prompt == "t2" and fault == "no episodes" else episodes

    env = Batch()
    found = run(env, tasks_of(1, 1, 1))
    assert statuses(found) == ["scored", "scored", "error" if fault == "no episodes" else "scored"]
    returned = [
        e for e in env.episodes if not (fault not in ("raises", "exits") and e.task.prompt == "t2" and not e.closed)
    ]
    assert [episode.closed for episode in returned] == [1] * len(returned)
    assert len(returned) == {"raises": 6, "exits": 6, "too few": 5, "no episodes": 4}[fault]


@pytest.mark.parametrize("runner", [run, run_text], ids=["tokens", "text"])
def test_episodes_are_closed_where_the_engine_raises(runner):
    def say(i, turn, text):
        if turn == 1:
            raise MemoryError("no room")
        return "ok"

    env = Talks()
    with pytest.raises(fg.PluginError, match=r"failed in \w+: MemoryError: no room"):
        runner(env, tasks_of(1, 3, 3), engine=(Script if runner is run else TextScript)(say))
    assert [episode.closed for episode in env.episodes] == [1, 1, 1]


def test_episodes_are_closed_where_scoring_breaks_its_contract():
    env = Talks()
    env.score_batch = lambda tasks, transcripts: []
    with pytest.raises(fg.EnvError):
        run(env, tasks_of(1, 2))
    assert [episode.closed for episode in env.episodes] == [1, 1]


@pytest.mark.parametrize("runner", [run, run_text], ids=["tokens", "text"])
def test_a_failure_to_take_the_template_names_the_environment(runner):
    class Fails(Talks):
        def use_template(self, shows_tools, parse_calls):
            raise OSError("no")

    with pytest.raises(fg.PluginError, match="environment 'Fails' failed in use_template: OSError: no"):
        runner(Fails(), tasks_of(1))


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit()], ids=lambda error: type(error).__name__)
def test_scoring_that_raises_costs_its_own_verdict(error):
    class Fails(Talks):
        def score(self, task, transcript):
            if task.prompt == "t1":
                raise error
            return super().score(task, transcript)

    env = Fails()
    assert statuses(run(env, tasks_of(1, 1, 1))) == ["scored", "error", "scored"]
    assert [episode.closed for episode in env.episodes] == [1, 1, 1]


def interrupting(method, asynchronous):
    def sync(self, *arguments):
        if method == "close":
            Counter.close(self)
        if self.task.prompt == "t1":
            raise KeyboardInterrupt
        return None if method == "close" else getattr(Counter, method)(self, *arguments)

    async def later(self, *arguments):
        await asyncio.sleep(0)
        return sync(self, *arguments)

    return Talks(type("Interrupting", (Counter,), {method: later if asynchronous else sync}))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("method", ["opening", "reply", "outcome", "close"])
def test_ctrl_c_ends_the_run_and_closes_every_episode_once(method, asynchronous):
    env = interrupting(method, asynchronous)
    with pytest.raises(KeyboardInterrupt):
        run(env, tasks_of(2, 2, 2))
    assert [episode.closed for episode in env.episodes] == [1, 1, 1]


def test_ctrl_c_while_episodes_close_lets_them_end():
    class Closing(Counter):
        async def close(self):
            if self.task.prompt == "t1":
                os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.5)
            super().close()

    env = Talks(Closing)
    with pytest.raises(KeyboardInterrupt):
        run(env, tasks_of(2, 2, 2))
    assert [episode.closed for episode in env.episodes] == [1, 1, 1]


def test_ctrl_c_in_begin_closes_what_had_begun():
    class Interrupted(Talks):
        def begin(self, task):
            if task.prompt == "t2":
                raise KeyboardInterrupt
            return super().begin(task)

    env = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(env, tasks_of(1, 1, 1))
    assert [episode.closed for episode in env.episodes] == [1, 1]


def test_ctrl_c_beside_coroutines_that_wait_leaves_none_of_them_unawaited():
    class Mixed(Counter):
        def reply(self, response):
            if self.task.prompt == "t1":
                raise KeyboardInterrupt
            answer = self.later()
            answers.append(answer)
            return answer

        async def later(self):
            return None

    answers = []
    with pytest.raises(KeyboardInterrupt):
        run(Talks(Mixed), tasks_of(1, 1))
    assert [inspect.getcoroutinestate(answer) for answer in answers] == [inspect.CORO_CLOSED]


def test_reset_raises_where_the_episode_cannot_begin_and_closes_it():
    env = planted("opening", ValueError("broken"), False, where="train 1")
    with pytest.raises(fg.PluginError, match="failed in opening: ValueError: broken"):
        env.reset(options={"task": 1})
    assert env.episodes[0].closed == 1
    observation, _ = env.reset(options={"task": 2})
    assert observation == "train 2"
    env.close()
    assert [episode.closed for episode in env.episodes] == [1, 1]


class UnreadableMapping(Mapping):
    """A mapping that names what it does not hold."""

    def __getitem__(self, name):
        raise KeyError(name)

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class Uniterable(list):
    def __iter__(self):
        raise ValueError("not twice")


ODD = {
    "outcome unreadable": ("outcome", UnreadableMapping, "failed in outcome: KeyError: 'a'"),
    "reply uniterable": ("reply", lambda: Uniterable([Message("user", "x")]), "failed in reply: ValueError: not twice"),
    "done is an array": ("reply", lambda: fg.Reply("x", done=np.array([True, False])), "failed in reply: ValueError: "),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_costs_one_error_and_all_are_closed(odd):
    place, value, told = ODD[odd]

    def returning(self, *arguments):
        return value() if self.task.prompt == "t0" else getattr(Counter, place)(self, *arguments)

    env = Talks(type("Odd", (Counter,), {place: returning}))
    found = run(env, tasks_of(2, 2))
    assert statuses(found) == ["error", "scored"]
    assert told in found[0].verdict.detail
    assert [episode.closed for episode in env.episodes] == [1, 1]


def test_an_error_without_a_text_costs_no_other_episode():
    class Wordless(BaseException):
        def __str__(self):
            raise SystemExit(3)

    found = run(planted("reply", Wordless(), False), tasks_of(2, 2))
    assert statuses(found) == ["scored", "error"]
    assert found[1].verdict.detail.partition(" (test_episode_")[0].endswith("failed in reply: Wordless")


def test_a_step_whose_judgement_fails_ends_the_episode():
    class Fails(Talks):
        def score(self, task, transcript):
            raise ValueError("broken")

    env = Fails()
    env.reset(options={"task": 0})
    with pytest.raises(fg.PluginError, match="failed in score: ValueError: broken"):
        env.step("a")
    with pytest.raises(fg.EnvError, match="the episode is over"):
        env.step("b")
    assert [len(episode.said) for episode in env.episodes] == [1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_line_that_failed_is_told(asynchronous):
    """The line of the environment's own file, not that of the library in which it ended."""

    class Wrong(Counter):
        def reply(self, response):
            return json.loads("{")

    class WrongLater(Wrong):
        async def reply(self, response):
            await asyncio.sleep(0)
            return json.loads("{")

    wrong = WrongLater if asynchronous else Wrong
    line = wrong.reply.__code__.co_firstlineno + 1 + asynchronous
    (found,) = run(Talks(wrong), tasks_of(1))
    assert "failed in reply: JSONDecodeError: " in found.verdict.detail
    assert found.verdict.detail.endswith(f"(char 1) (test_episode_failures.py, line {line})")
