"""The runner: a state for each episode, turns taken together, limits, and equal transcripts for equal seeds."""

import pytest
from episodes_harness import ENCODER, SAMPLING, Counter, Script, Talks, TextScript, run, run_text, statuses, tasks_of

import fdiv_gym as fg
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.types import Message


def contents(trajectory):
    return [message.content for message in trajectory.transcript.messages]


@pytest.mark.parametrize("runner", [run, run_text], ids=["tokens", "text"])
def test_each_trajectory_has_a_state_of_its_own(runner):
    env = Talks()
    engine = (Script if runner is run else TextScript)(say=lambda i, turn, text: f"{turn}{'abcdef'[i]}")
    found = runner(env, tasks_of(1, 3), n=2, engine=engine)
    assert len(env.episodes) == 4
    assert [t.turns for t in found] == [1, 1, 3, 3]
    assert contents(found[0]) == ["t0", "0a"]
    # In later turns only the second group plays, and its episodes are the first and second of the batch.
    assert contents(found[3]) == ["t1", "0d", "turn 1 of t1", "1b", "turn 2 of t1", "2b"]
    assert [t.transcript.outcome for t in found] == [
        {"turns": 1, "said": "0a"}, {"turns": 1, "said": "0b"},
        {"turns": 3, "said": "0c1a2a"}, {"turns": 3, "said": "0d1b2b"},
    ]  # fmt: skip
    assert [t.verdict.score for t in found] == [1.0] * 4
    assert [episode.closed for episode in env.episodes] == [1] * 4


def test_sync_replies_are_called_in_order_and_an_ended_episode_hears_nothing_more():
    env = Talks()
    run(env, tasks_of(2, 1, 2), engine=Script(say=lambda i, turn, text: str(turn)))
    assert env.log == [
        ("begin", "t0"), ("begin", "t1"), ("begin", "t2"),
        ("reply", "t0", 0, "0"), ("reply", "t1", 0, "0"), ("reply", "t2", 0, "0"),
        ("reply", "t0", 1, "1"), ("reply", "t2", 1, "1"),
        ("close", "t0"), ("close", "t1"), ("close", "t2"),
    ]  # fmt: skip


def test_an_episode_is_judged_once_on_its_whole_transcript_after_all_have_ended():
    env = Talks()
    run(env, tasks_of(3, 1))
    assert [len(transcript.responses) for transcript in env.scored] == [3, 1]
    assert all(transcript.opening == 1 for transcript in env.scored)


def test_the_first_turn_is_shared_by_a_group_and_every_turn_has_a_seed_of_its_own():
    engine = Script()
    run(Talks(), tasks_of(2, 2), n=3, engine=engine)
    assert engine.calls == [(2, 3, 3), (6, 1, derive_seed(3, "turn", 1))]


def test_an_opening_replaces_the_prompt():
    class Opens(Counter):
        def opening(self):
            return [Message("system", "play"), Message("user", "board")]

    engine = Script(say=lambda i, turn, text: "xy"[i])
    found = run(Talks(Opens, system_prompt="be kind"), tasks_of(1), n=2, engine=engine)
    assert engine.calls == [(1, 2, 3)]
    assert [contents(t) for t in found] == [["play", "board", "x"], ["play", "board", "y"]]
    assert [t.transcript.opening for t in found] == [2, 2]


def test_openings_that_differ_within_a_group_are_answered_apart():
    class Differs(Counter):
        def opening(self):
            return f"board {env.episodes.index(self)}"

    env = Talks(Differs, system_prompt="be kind")
    engine = Script(say=lambda i, turn, text: "xy"[i])
    found = run(env, tasks_of(1), n=2, engine=engine)
    assert engine.calls == [(2, 1, 3)]
    assert engine.prompts == [["be kind\nboard 0", "be kind\nboard 1"]]
    assert [contents(t) for t in found] == [["be kind", "board 0", "x"], ["be kind", "board 1", "y"]]


def test_batch_forms_of_begin_and_score_are_used():
    class Batched(Talks):
        def begin_batch(self, tasks):
            self.log.append(("batch", len(tasks)))
            return [self.episode(self, task) for task in tasks]

        def score_batch(self, tasks, transcripts):
            self.log.append(("score", len(transcripts)))
            return [
                fg.Verdict.scored(len(t.responses) / task.data["turns"])
                for task, t in zip(tasks, transcripts, strict=True)
            ]

    env = Batched()
    found = run(env, tasks_of(1, 2), n=2)
    assert env.log[0] == ("batch", 4)
    assert env.log[-1] == ("score", 4)
    assert ("begin", "t0") not in env.log
    assert [t.verdict.score for t in found] == [1.0] * 4


def test_the_turns_run_out():
    env = Talks(max_turns=2)
    found = run(env, tasks_of(1, 2, 3))
    assert [(t.turns, t.transcript.end, t.transcript.truncated) for t in found] == [
        (1, "done", False), (2, "done", False), (2, "turns", True),
    ]  # fmt: skip
    assert contents(found[2])[-1] == "turn 2 of t2"  # the answer to the last response is kept


def test_the_context_ends_one_episode_and_no_other():
    env = Talks()
    # t0 has 2 characters, "ok" and its end 3, "turn 1 of t0" 12: 17 before the second response of 8.
    engine = Script(context=24)
    found = run(env, tasks_of(1, 4), engine=engine)
    assert [(t.turns, t.transcript.end) for t in found] == [(1, "done"), (1, "context")]
    assert statuses(found) == ["scored", "scored"]
    found = run(Talks(), tasks_of(1, 4), engine=Script(context=25))
    assert [(t.turns, t.transcript.end) for t in found] == [(1, "done"), (2, "context")]


def test_an_episode_without_room_for_any_response_is_unscorable_and_the_others_go_on():
    env = Talks()
    long = fg.Task("long " * 20, data={"turns": 1})
    found = run(env, [long, *tasks_of(1)], engine=Script(context=20))
    assert statuses(found) == ["unscorable", "scored"]
    assert "100 tokens and engine.max_new_tokens = 8 do not fit" in found[0].verdict.detail
    assert found[0].turns == 0
    assert sum(found[0].loss_mask) == 0
    assert [episode.closed for episode in env.episodes] == [1, 1]


class Rewarded(Counter):
    """Turn t is rewarded with t + 1; the second reply gives None in place of a reward's message."""

    def reply(self, response):
        self.turn += 1
        self.said.append(response)
        return fg.Reply("on" if self.turn < 3 else None, reward=float(self.turn))


@pytest.mark.parametrize(
    ("options", "score"),
    [
        ({}, 1.0),
        ({"returns": "final"}, 1.0),
        ({"returns": "sum"}, 1 + 2 + 3 + 1),
        ({"returns": "discounted", "discount": 0.5}, 1 + 0.5 * 2 + 0.25 * 3 + 0.25 * 1),
        ({"returns": "discounted", "discount": 1.0}, 7.0),
    ],
)
@pytest.mark.parametrize("runner", [run, run_text], ids=["tokens", "text"])
def test_rewards_of_turns_add_up_as_returns_says(runner, options, score):
    (found,) = runner(Talks(Rewarded, **options), tasks_of(3))
    assert found.transcript.rewards == (1.0, 2.0, 3.0)
    assert found.verdict.score == score


@pytest.mark.parametrize("options", [{}, {"returns": "final"}, {"returns": "sum"}])
def test_a_discount_that_discounts_nothing_is_refused(options):
    returns = options.get("returns", "final")
    with pytest.raises(fg.ConfigError, match=rf'discount = 0.5 has no effect with returns = "{returns}": set returns'):
        Talks(discount=0.5, **options)
    assert Talks(discount=0.95, **options).options.discount == 0.95  # a run folder holds every default
    assert Talks(discount=0.5, returns="discounted").options.discount == 0.5

    class Other(Talks):
        class Options(fg.ConversationEnv.Options):
            discount: float = 0.5

    assert Other(**Other().options.model_dump()).options.discount == 0.5


def test_a_truncated_episode_keeps_the_rewards_of_its_turns():
    (found,) = run(Talks(Rewarded, returns="sum", max_turns=2), tasks_of(3))
    assert found.transcript.rewards == (1.0, 2.0)
    assert found.verdict.score == 1 + 2 + 1


@pytest.mark.parametrize(("how", "expected"), [("as_is", [1.0, 1.0]), ("zero", [1.0, 0.0]), ("mask", [1.0, None])])
def test_the_score_of_an_episode_whose_turns_ran_out(how, expected):
    found = run(Talks(score_truncated=how, max_turns=1), tasks_of(1, 2))
    assert [t.verdict.score for t in found] == expected


def test_done_and_an_empty_answer_end_an_episode():
    answers = {
        "none": None, "reply": fg.Reply(), "nothing": fg.Reply(None), "list": [], "done": fg.Reply("bye", done=True),
        "text": "go on", "message": Message("tool", "42"), "empty text": "",
    }  # fmt: skip

    class Answers(Counter):
        def reply(self, response):
            return answers[self.task.prompt]

    found = run(Talks(Answers, max_turns=2), [fg.Task(name) for name in answers])
    ends = {name: t.transcript.end for name, t in zip(answers, found, strict=True)}
    assert ends == dict.fromkeys(["none", "reply", "nothing", "list", "done"], "done") | dict.fromkeys(
        ["text", "message", "empty text"], "turns"
    )
    said = {name: t.transcript.messages[2:3] for name, t in zip(answers, found, strict=True)}
    assert said["done"] == (Message("user", "bye"),)
    assert said["message"] == (Message("tool", "42"),)


def test_equal_seeds_give_equal_trajectories():
    def drawn(seed):
        class Drawn(Script):
            def generate(self, prompts, n, sampling):
                self.say = lambda i, turn, text: str(derive_seed(sampling.seed, i) % 1000)
                return super().generate(prompts, n, sampling)

        sampling = SAMPLING.__class__(max_new_tokens=8, seed=seed)
        return run_episodes(Talks(), Drawn(), ENCODER, tasks_of(1, 3, 2), 2, sampling)

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again
    assert [g.trajectories[0].transcript for g in first] != [g.trajectories[0].transcript for g in other]


def test_a_text_env_is_an_episode_of_one_turn_and_needs_no_watchdog_over_replies():
    class Plain(fg.TextEnv):
        def tasks(self, split):
            return [fg.Task("2+2=", "4")]

        def score(self, task, response):
            return fg.Verdict.scored(float(response == task.answer))

    found = run(Plain(), [fg.Task("2+2=", "4")], n=2, engine=Script(say=lambda i, t, text: "45"[i]))
    assert [t.verdict.score for t in found] == [1.0, 0.0]
    assert [(t.turns, t.transcript.end) for t in found] == [(1, "done"), (1, "done")]
