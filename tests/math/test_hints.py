"""math/Hints-v0: tries at one problem, with hints."""

import itertools
import json

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.data import find_contamination
from fdiv_gym.envs import active_curriculum
from fdiv_gym.envs.play import play
from fdiv_gym_math.hints import overlooking

SMALL = {"train_tasks": 60, "heldout_tasks": 20}


def make(**options):
    return fg.make("math/Hints-v0", **{**SMALL, **options})


def arithmetic(**options):
    return fg.make("math/Arithmetic-v0", **{**SMALL, **options})


def said(env, task, *responses):
    replies = iter(responses)
    return play(env, task, lambda messages: next(replies))


def test_the_problems_are_those_of_arithmetic():
    options = {"level": 3, "operators": "+-*/", "wording": "question", "answer": "boxed", "seed": 5}
    for split in ("train", "heldout"):
        mine, theirs = make(**options).task_list(split), arithmetic(**options).task_list(split)
        assert [t.hash for t in mine] == [t.hash for t in theirs]
    assert not find_contamination(make().task_list("train"), make().task_list("heldout")).shared


def test_an_episode():
    env = make(max_turns=3)
    env.reset(seed=0, options={"task": 0})
    right = int(env.task_list("train")[0].answer)
    assert env.step(str(right - 1))[0] == "too small"
    assert env.step(str(right + 1))[:3] == ("too large", 0.0, False)
    assert env.step(str(right))[:4] == ("", 1.0, True, False)
    env.reset(options={"task": 0})
    assert env.step("?")[0] == "no number"
    env.step("?")
    assert env.step("?")[:4] == ("", 0.0, True, False)


def test_the_last_answer_counts():
    env = make(max_turns=2)
    task = env.task_list("train")[0]
    right, wrong = task.answer, str(int(task.answer) + 1)
    played = said(env, task, wrong, right)
    assert env.score(task, played).score == 1.0
    assert played.outcome == {"solved": True, "tries": 2}
    lost = said(env, task, wrong, wrong)
    assert env.score(task, lost).score == 0.0
    assert (lost.end, lost.truncated, lost.outcome) == ("done", False, {"solved": False, "tries": 2})
    assert [message.content for message in lost.messages] == [task.prompt, wrong, "too large", wrong]
    backwards = fg.Transcript((*task.messages, fg.Message("assistant", right), fg.Message("assistant", wrong)), 1)
    assert env.score(task, backwards).score == 0.0
    assert env.score(task, fg.Transcript(task.messages, 1, outcome={"solved": True})).score == 0.0


def test_turns_is_an_option_of_conversations_now():
    assert make().max_turns == 3
    assert make(max_turns=5).max_turns == 5
    with pytest.raises(fg.ConfigError, match="turns"):
        make(turns=3)


@pytest.mark.parametrize("answer", ["whole", "boxed", "answer-tag", "hash", "last-number"])
@pytest.mark.parametrize("level", [1, 3, 5])
def test_the_reference_player_is_right_at_once(answer, level):
    env = make(level=level, answer=answer, wording="sentence")
    for task in env.task_list("train"):
        played = play(env, task, env.reference_player(task))
        assert len(played.responses) == 1
        assert env.score(task, played).score == 1.0


def test_a_right_value_in_a_wrong_form_gets_no_wrong_hint():
    env = make(operators="+")
    task = env.task_list("train")[0]
    for response in (f"{2 * int(task.answer)}/2", rf"\frac{{{2 * int(task.answer)}}}{{2}}"):
        assert said(env, task, response, task.answer).messages[2].content == "no number"


def test_the_question_repeated_scores_0():
    env = make(operators="+-*/", terms=2, digits=1, answer="last-number", max_turns=1)
    for task in env.task_list("train"):
        assert env.score(task, said(env, task, task.prompt)).score == 0.0
        assert env.score(task, said(env, task, f"{task.prompt}{task.answer}")).score == 1.0


HOSTILE = ["", "\x00", "\ud800", "9" * 1_000_000, "(" * 1_000_000, "1/" * 500_000, "\\boxed{" * 100_000, "٣", "1e999"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_responses_get_a_hint_and_no_score(text):
    env = make(max_turns=2)
    task = env.task_list("train")[0]
    played = said(env, task, text, text)
    assert played.messages[2].content in ("no number", "too small", "too large")
    assert env.score(task, played).score == 0.0


def test_votes_are_for_values():
    env = make()
    task = env.task_list("train")[0]
    assert len({env.vote(task, text) for text in ("12", "012", "+12", "12.0", " 12 ")}) == 1
    assert env.vote(task, "1 2") != env.vote(task, "12")


@pytest.mark.parametrize(
    ("question", "value"), [("5+3-2=", "8"), ("5-30 = ", "5"), ("(2+3)*4=", "5"), ("7 - 6/3", "1")]
)
def test_overlooking_the_last_number(question, value):
    assert overlooking(question) == value


@pytest.mark.parametrize(("answer", "wording", "level"), [("whole", "bare", 2), ("boxed", "question", 5)])
def test_demonstrations_overlook_the_last_number_or_are_right(answer, wording, level):
    env = make(max_turns=3, answer=answer, wording=wording, level=level, train_tasks=500, operators="+-")
    problems = {t.prompt: t for t in env.task_list("train")}
    games = env.demonstrations(1000, np.random.default_rng(0))
    assert games == env.demonstrations(1000, np.random.default_rng(0))
    counts = [0, 0, 0, 0]
    for game in games:
        task = problems[game[0].content]
        responses = [m.content for m in game[1::2]]
        replayed = said(env, task, *responses)
        assert tuple(game) == replayed.messages[: len(game)]  # its hints are those of the environment
        solved = env.score(task, replayed).score == 1.0
        counts[len(responses) - 1 if solved else 3] += 1
        assert len(set(responses[:-1] if solved else responses)) <= 1
        assert {m.content for m in game[2::2]} <= {"too small", "too large"}
    # 0.2, 0.8 * 0.2, 0.8^2 * 0.2, 0.8^3; one problem in a hundred, that with a last number of 0, is right anyhow.
    expected = [200, 160, 128, 512]
    assert all(abs(a - b) < 60 for a, b in zip(counts, expected, strict=True)), counts


class TestCurriculum:
    def test_it_rises_and_falls_as_that_of_arithmetic(self):
        options = {"level": 3, "curriculum": True, "window": 10}
        env, other = make(**options), arithmetic(**options)
        assert env.adapts
        assert active_curriculum(env) is env
        for seed, score in itertools.product(range(6), (0.8, 0.0)):
            assert env.choose_tasks(40, seed) == other.choose_tasks(40, seed)
            for each in (env, other):
                each.observe([(t, score) for t in each.choose_tasks(40, seed)])
            assert env.open_level == other.open_level
            assert env.state_dict() == other.state_dict()
        env.observe([(t, 1.0) for t in env.choose_tasks(40, 99)])
        assert env.open_level > 1
        again = make(**options)
        again.load_state_dict(json.loads(json.dumps(env.state_dict())))
        assert again.choose_tasks(10, 3) == env.choose_tasks(10, 3)

    def test_without_the_option_the_level_is_constant(self):
        assert active_curriculum(make(level=3)) is None

    def test_gymnasium_accepts_it(self):
        check_env(make(), skip_render_check=True)
        check_env(make(level=3, curriculum=True, wording="sentence", answer="boxed"), skip_render_check=True)
