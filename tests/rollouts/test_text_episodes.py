"""Conversations of served models: the same transcripts as with tokens, withheld responses, and no room left."""

import pytest
from episodes_harness import Counter, Script, Talks, TextScript, run, run_text, statuses, tasks_of

import fdiv_gym as fg
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.types import Message, TextCompletion


class Rewards(Counter):
    def opening(self):
        return [Message("system", "rules"), Message("user", self.task.prompt)]

    def reply(self, response):
        said = super().reply(response)
        return fg.Reply(said, reward=0.5 * len(response))


@pytest.mark.parametrize("options", [{}, {"max_turns": 2, "returns": "sum"}], ids=["whole", "truncated"])
def test_tokens_and_texts_give_equal_transcripts_and_verdicts(options):
    def say(i, turn, what):
        return "abc"[turn] * (i + 1)

    tokens = run(Talks(Rewards, **options), tasks_of(1, 3), n=2, engine=Script(say))
    texts = run_text(Talks(Rewards, **options), tasks_of(1, 3), n=2, engine=TextScript(say))
    assert [t.transcript for t in tokens] == [t.transcript for t in texts]
    assert [t.verdict for t in tokens] == [t.verdict for t in texts]
    assert [t.turns for t in tokens] == [t.turns for t in texts]


def test_the_first_turn_is_asked_for_by_groups_and_later_ones_chat_by_chat():
    engine = TextScript()
    run_text(Talks(), tasks_of(1, 2), n=2, engine=engine)
    assert engine.calls == [(2, 2, 3), (2, 1, derive_seed(3, "turn", 1))]
    assert engine.chats[1] == [[Message("user", "t1"), Message("assistant", "ok"), Message("user", "turn 1 of t1")]] * 2


def test_what_is_withheld_ends_its_episode_without_a_score():
    def say(i, turn, chat):
        if turn == 1 and chat[0].content == "t1":
            return TextCompletion("", "eos", 0, "a filter")
        return "ok"

    env = Talks()
    found = run_text(env, tasks_of(2, 2), engine=TextScript(say))
    assert statuses(found) == ["scored", "unscorable"]
    assert "the engine gave no response: a filter" in found[1].verdict.detail
    assert [episode.closed for episode in env.episodes] == [1, 1]


def test_no_room_truncates_an_episode_and_what_was_said_is_judged():
    def say(i, turn, chat):
        short = len(chat) < {"t0": 9, "t1": 3, "t2": 1}[chat[0].content]
        return "ok" if short else TextCompletion("", "length", no_room=True)

    found = run_text(Talks(max_turns=3), tasks_of(2, 2, 2), engine=TextScript(say))
    assert statuses(found) == ["scored", "scored", "unscorable"]
    assert [(t.turns, t.transcript.end, t.transcript.truncated) for t in found] == [
        (2, "done", False), (1, "context", True), (0, "context", True),
    ]  # fmt: skip
    assert [t.response_length for t in found] == [4, 2, 0]
    assert found[1].text == "ok"
    assert "do not fit into the model's context" in found[2].verdict.detail
    masked = run_text(Talks(score_truncated="mask"), tasks_of(2, 2), engine=TextScript(say))
    assert statuses(masked) == ["scored", "scored"]  # a served model is evaluated, not trained
