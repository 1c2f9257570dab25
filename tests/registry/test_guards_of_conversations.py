"""Every fault of a conversation is reported on one line with its environment."""

from __future__ import annotations

import re

import numpy as np
import pytest
from faulty_plugins import MESSAGE, WHO, Talk, an, fails, gives, one_line, talk

import fdiv_gym as fg


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (an(Talk, begin=gives(42)), "begin must return an fdiv_gym.Episode, got 42"),
        (an(Talk, begin_batch=gives([])), "begin_batch must return an fdiv_gym.Episode for each of 1 tasks, got []"),
        (an(Talk, begin=fails(OSError("no server"))), "failed in begin: OSError: no server"),
        (talk(opening=fails(OSError("no server"))), "failed in opening: OSError: no server"),
        (talk(opening=gives(42)), "opening must return a text, messages or None, got 42"),
        (
            an(Talk, begin=fg.ConversationEnv.begin),
            "NotImplementedError: define begin(task), which returns an fdiv_gym.",
        ),
        (an(Talk, tasks=fg.ConversationEnv.tasks), "NotImplementedError: define tasks(split), which returns fdiv_gym."),
        (talk(opening=gives(fg.Reply("hi"))), "opening must return a text, messages or None, got Reply("),
        (talk(opening=gives(())), "opening must end with a message to answer, got ()"),
        (talk(opening=gives((MESSAGE, fg.Message("assistant", "hi")))), "opening must end with a message to answer"),
        (talk(opening=gives(fg.Message("robot", "hi"))), "opening returned a message of role 'robot', expected system"),
        (an(Talk, default_turns=0), "max_turns must be a positive integer, got 0"),
        (an(Talk, default_turns="3"), "max_turns must be a positive integer, got '3'"),
        (an(Talk, default_turns=True), "max_turns must be a positive integer, got True"),
        (an(Talk, max_turns=property(fails(KeyError("n")))), "failed in max_turns: KeyError: 'n'"),
    ],
)
def test_a_conversation_that_cannot_begin(env, message):
    def episode() -> None:
        env.reset()
        env.step("x")

    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        episode()
    assert one_line(caught.value).startswith(WHO)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"reply": gives(42)}, "reply must return a text, messages, a Reply or None, got 42"),
        (
            {"reply": gives(["again"])},
            "reply returned several items, of which 'again' is no fdiv_gym.Message; a reward or",
        ),
        ({"reply": gives(("again", 0.5))}, "told by fdiv_gym.Reply(said, reward, done)"),
        ({"reply": gives(fg.Reply("again", done="no"))}, "done of a reply is 'no', expected True or False"),
        ({"reply": gives(fg.Message("user", 3))}, "reply: the content of a message must be a string, got 3"),
        ({"reply": gives(fg.Message("assistant", "x"))}, "reply returned a message of role 'assistant', expected"),
        ({"reply": gives([MESSAGE, None])}, "reply returned several items, of which None is no fdiv_gym.Message"),
        ({"reply": gives(fg.Reply(said=3))}, "reply must return a text, messages, a Reply or None, got 3"),
        ({"reply": gives(fg.Reply("again", reward=float("nan")))}, "the reward of a reply is nan, expected a finite"),
        ({"reply": gives(fg.Reply("again", reward="1"))}, "the reward of a reply is '1', expected a finite number"),
        (
            {"reply": fg.Episode.reply},
            "NotImplementedError: the episode has no reply(response): define it in its class",
        ),
        ({"reply": gives(fg.Reply("again", done=None))}, "done of a reply is None, expected True or False"),
        ({"outcome": fails(KeyError("n"))}, "failed in outcome: KeyError: 'n'"),
        ({"outcome": gives(["solved"])}, "outcome must return a mapping, got ['solved']"),
        ({"outcome": gives({"solved": float("inf")})}, "outcome must hold JSON values: "),
        ({"outcome": gives({"state": object()})}, "outcome must hold JSON values: "),
    ],
)
def test_what_an_episode_says(members, message):
    """The fault costs the episode, whose verdict names it."""
    env = talk(**members)
    env.reset()
    *_, info = env.step("x")
    if "outcome" in members:
        *_, info = env.step("y")
    verdict = info["verdict"]
    assert verdict.status == "error"
    assert message in verdict.detail
    assert verdict.detail.startswith(WHO)
    assert "\n" not in verdict.detail


def test_a_failing_close_is_logged_and_nothing_else(caplog):
    env = talk(close=fails(OSError("no server")), reply=gives(None))
    env.reset()
    assert env.step("ba")[4]["verdict"] == fg.Verdict.scored(1.0)
    assert f"{WHO} failed in close: OSError: no server" in caplog.text


@pytest.mark.parametrize(("done", "ends"), [(True, True), (0, False), (np.True_, True), (np.bool_(False), False)])
def test_what_counts_as_the_end(done, ends):
    env = talk(reply=gives(fg.Reply("again", done=done)))
    env.reset()
    _, _, terminated, truncated, _ = env.step("x")
    assert (terminated, truncated) == (ends, False)


@pytest.mark.parametrize(
    ("player", "message"),
    [
        ("1", "a player must be a function of the messages so far, got '1'"),
        (gives(1), "a player must return a string, got 1"),
    ],
)
def test_what_a_player_is(player, message):
    env = talk(reply=gives("again"))
    with pytest.raises(fg.EnvError, match=re.escape(message)):
        env.play(env.task_list("train")[0], player)
