"""The conformance kit on the engine, and on engines with one planted fault each."""

import re
from dataclasses import replace

import pytest
from model_server import ModelServer

import fdiv_gym as fg
from fdiv_gym.rollouts import TextEngine
from fdiv_gym.testing import CannotCheckError, check_engine
from fdiv_gym.types import TextCompletion


def words(text, rng, temperature):
    return (str(rng.randrange(100, 1000)) if temperature else "777"), "stop"


@pytest.fixture
def talker():
    with ModelServer(answer=words) as server:
        yield server


def test_the_engine_passes(talker):
    report = check_engine(fg.get_engine("openai", base_url=talker.address))
    assert report.ok, report.text()
    assert report.notes == []
    assert {check.name for check in report.checks} == {
        "load", "samples", "stop-reason", "several-turns", "repeatable", "refusals", "training", "close",
    }  # fmt: skip


def test_without_a_model_nothing_can_be_checked():
    class Unreachable(TextEngine):
        def load(self, model, env=None):
            raise fg.ConfigError("name a server")

    with pytest.raises(CannotCheckError, match="name a server"):
        check_engine(Unreachable())


class Sound(TextEngine):
    """Says a number of three digits, another one for each sample."""

    def load(self, model, env=None):
        return None

    def respond(self, chats, n, sampling):
        if any(not any(m.content for m in chat) for chat in chats):
            raise fg.EngineError("an empty chat")
        said = [str(100 + i) for i in range(n)]
        cut = sampling.max_new_tokens < 3
        return [[TextCompletion(s[:1] if cut else s, "length" if cut else "eos") for s in said] for _ in chats]


class Few(Sound):
    def respond(self, chats, n, sampling):
        return [group[:1] for group in super().respond(chats, n, sampling)]


class Strings(Sound):
    def respond(self, chats, n, sampling):
        return [[c.text for c in group] for group in super().respond(chats, n, sampling)]


class Unlimited(Sound):
    def respond(self, chats, n, sampling):
        return super().respond(chats, n, replace(sampling, max_new_tokens=99))


class Silent(Sound):
    def respond(self, chats, n, sampling):
        return [[replace(c, text="") for c in group] for group in super().respond(chats, n, sampling)]


class AcceptsAll(Sound):
    def respond(self, chats, n, sampling):
        return [[TextCompletion("1", "length")] * n for _ in chats]


class Trains(Sound):
    def update_weights(self, weights):
        return None


class NegativeCount(Sound):
    def respond(self, chats, n, sampling):
        return [[replace(c, tokens=-1) for c in group] for group in super().respond(chats, n, sampling)]


def test_a_sound_engine_passes():
    assert check_engine(Sound()).ok


@pytest.mark.parametrize(
    ("engine", "check", "message"),
    [
        (Few, "samples", r"returned \[1, 1, 1\] completions, expected 4"),
        (Strings, "samples", "must return TextCompletion objects"),
        (Silent, "samples", "no response has a text"),
        (NegativeCount, "samples", "tokens = -1"),
        (Unlimited, "stop-reason", "'eos' for '100', but max_new_tokens is 1"),
        (AcceptsAll, "refusals", "a chat without messages was accepted"),
        (Trains, "training", "update_weights was accepted"),
    ],
)
def test_planted_faults_are_found(engine, check, message):
    report = check_engine(engine())
    assert report.failed(check)
    assert any(re.search(message, f.message) for f in report.failures if f.name == check)


def test_equal_samples_and_other_repetitions_are_noted():
    class Wavering(Sound):
        count = 0

        def respond(self, chats, n, sampling):
            type(self).count += 1
            return [[replace(c, text=f"{self.count}") for c in group] for group in super().respond(chats, n, sampling)]

    report = check_engine(Wavering())
    assert report.ok, report.text()
    assert [note.split(":")[0].split(" gave")[0] for note in report.notes] == [
        "the samples of each prompt are all equal", "the same seed", "a greedy request",
    ]  # fmt: skip
