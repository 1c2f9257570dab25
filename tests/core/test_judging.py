"""What length does to a verdict, by hand."""

from dataclasses import replace

import pytest

import fdiv_gym as fg
from fdiv_gym.rollouts import is_masked, run_episodes
from fdiv_gym.rollouts.judging import MASKED, after_length
from fdiv_gym.types import Message, Transcript, Verdict

WHOLE = Transcript((Message("user", "a"), Message("assistant", "b")), 1)
CUT, ENDED = replace(WHOLE, cut_off=True), replace(WHOLE, end="context")


class Positive(fg.TextEnv):
    """Scores from 1 to 3."""

    score_range = (1.0, 3.0)


def judged(score, transcript=WHOLE, tokens=10, env=fg.TextEnv, masks=True, **options):
    env = env(**options)
    return after_length(env, env.options, transcript, tokens, Verdict.scored(score, part=0.5), masks)


@pytest.mark.parametrize("transcript", [WHOLE, CUT, ENDED, replace(WHOLE, end="turns")])
@pytest.mark.parametrize(("how", "expected"), [("as_is", 0.7), ("zero", 0.0), ("mask", None)])
def test_a_truncated_episode_scores_as_the_option_says(transcript, how, expected):
    found = judged(0.7, transcript, score_truncated=how)
    if transcript is WHOLE:
        expected = 0.7
    assert found.score == expected
    assert is_masked(found) == (expected is None)
    assert found.status == ("unscorable" if expected is None else "scored")


@pytest.mark.parametrize(("how", "expected"), [("as_is", 0.7), ("zero", 0.0), ("mask", 0.7)])
def test_an_evaluation_leaves_no_episode_out(how, expected):
    assert judged(0.7, CUT, masks=False, score_truncated=how).score == expected


def test_zero_is_what_is_nearest_to_it_in_the_range():
    assert judged(3.0, CUT, env=Positive, score_truncated="zero").score == 1.0


def test_only_what_the_user_asked_for_counts_as_masked():
    assert [is_masked(v) for v in (None, Verdict.scored(1.0, MASKED), Verdict.unscorable("?"))] == [False] * 3
    error = Verdict.error("boom")
    env = fg.TextEnv(score_truncated="mask")
    assert after_length(env, env.options, CUT, 5, error, True) is error  # a fault stays one


@pytest.mark.parametrize(
    ("tokens", "penalty"), [(0, 0.0), (100, 0.0), (125, 0.125), (150, 0.25), (200, 0.5), (10_000, 0.5), (None, 0.0)]
)
def test_the_length_penalty_rises_from_start_to_end(tokens, penalty):
    found = judged(0.75, tokens=tokens, length_penalty={"start": 100, "end": 200, "penalty": 0.5})
    assert found.score == pytest.approx(0.75 - penalty)
    known = {} if tokens is None else {"length_penalty": penalty}  # 0 too: the mean of a step is over all of them
    assert dict(found.components) == {"part": 0.5} | known


def test_a_truncated_and_long_episode_pays_both():
    options = {"score_truncated": "zero", "length_penalty": {"start": 0, "end": 10}}
    assert judged(0.75, CUT, tokens=4, **options).score == pytest.approx(-0.4)


@pytest.mark.parametrize("bad", [{"start": 5, "end": 5}, {"start": -1, "end": 5}, {"start": 0, "end": 5, "penalty": 0}])
def test_a_penalty_that_is_none_is_refused(bad):
    with pytest.raises((fg.ConfigError, ValueError)):
        fg.TextEnv(length_penalty=bad)


def test_returns_are_added_before_length_counts():
    from fdiv_gym.envs.play import with_returns

    three = Transcript((Message("user", "a"), *[Message("assistant", "b")] * 3), 1, rewards=(1.0, 0.0, 2.0))
    env = fg.ConversationEnv(returns="discounted", discount=0.5)
    assert with_returns(env, three, Verdict.scored(4.0)).score == 1.0 + 0.25 * 2.0 + 0.25 * 4.0
    assert with_returns(fg.ConversationEnv(returns="sum"), three, Verdict.scored(4.0)).score == 7.0
    assert with_returns(fg.ConversationEnv(), three, Verdict.scored(4.0)).score == 4.0


class Echo(fg.Episode):
    """Goes on for ever."""

    def reply(self, response):
        return "x"


class Endless(fg.ConversationEnv):
    """Prompts of 3 and of 30 tokens."""

    default_turns = 100

    def tasks(self, split):
        return [fg.Task("abc"), fg.Task("a" * 30)]

    def begin(self, task):
        return Echo()

    def score(self, task, transcript):
        return Verdict.scored(len(transcript.responses) / 100)


class Words(fg.Engine):
    """Two characters each time, in a context of 16 tokens."""

    context_length = 16

    def generate(self, prompts, n, sampling):
        assert all(len(p) + sampling.max_new_tokens <= 16 for p in prompts)
        return [[fg.Completion((10, 11), (-1.0, -1.0), "67", "length")] * n for _ in prompts]


@pytest.mark.parametrize(("how", "score"), [("as_is", 0.04), ("zero", 0.0), ("mask", None)])
def test_the_end_of_the_context_ends_the_episode_and_not_the_run(how, score):
    """3 tokens, then 2 and 1 a turn: the fifth response would end at 3 + 4 * 3 + 2 = 17 tokens."""
    from fdiv_gym.models.chat import ChatEncoder
    from fdiv_gym.models.embedded import character_tokenizer

    env, engine = Endless(score_truncated=how, isolate=False), Words(max_new_tokens=2)
    groups = run_episodes(
        env, engine, ChatEncoder(character_tokenizer()), env.task_list("train"), 2, engine.sampling(0)
    )
    for t in groups[0].trajectories:
        assert (t.turns, t.transcript.end, t.transcript.truncated, t.response_length) == (4, "context", True, 8)
        assert (t.verdict.score, is_masked(t.verdict)) == (score, score is None)
        assert len(t.token_ids) == 3 + 4 * 2 + 3
    for t in groups[1].trajectories:
        assert (t.turns, t.response_length, len(t.token_ids)) == (0, 0, 1)
        assert (t.verdict.status, is_masked(t.verdict)) == ("unscorable", False)
        assert t.verdict.detail == (
            "a prompt of 30 tokens and engine.max_new_tokens = 2 do not fit into the model's context of 16 tokens"
        )
