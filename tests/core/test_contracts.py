"""Verdict, Task, TextSpace and TextEnv fulfil their contracts."""

import json
import math
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.envs.spaces import TextSpace
from fdiv_gym.rollouts.scoring import TimeoutLedger, score_checked
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym_math.addition import without_carrying


class Echo(fg.TextEnv):
    """Scores 1 if the response repeats the prompt."""

    def tasks(self, split):
        return [fg.Task(f"{split} {i}", answer=f"{split} {i}") for i in range(3)]

    def score(self, task, response):
        if response == "raise":
            raise ZeroDivisionError("boom")
        if response == "exit":
            raise SystemExit(0)
        if response == "?":
            return fg.Verdict.unscorable("no verdict")
        return fg.Verdict.scored(float(response == task.answer))


@pytest.mark.parametrize("score", ["1.0", None, math.nan, math.inf, [1.0], 10**400])
def test_a_scored_verdict_needs_a_finite_number(score):
    with pytest.raises(fg.EnvError, match="finite number"):
        fg.Verdict(score)


def test_numpy_scores_become_floats():
    verdict = fg.Verdict(np.float32(0.5))
    assert type(verdict.score) is float
    assert verdict.score == 0.5


def test_verdicts_other_than_scored_have_no_score():
    for verdict in (fg.Verdict.unscorable("a"), fg.Verdict.error("b"), fg.Verdict.timeout("c")):
        assert verdict.score is None
        assert not verdict.is_scored
        assert fg.Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
    with pytest.raises(fg.EnvError, match=r"has no score, got 0\.0"):
        fg.Verdict(0.0, fg.Status.TIMEOUT)


def test_task_hash_follows_the_content_only():
    task = fg.Task("p", "a", {"x": 1, "y": [1, 2]})
    assert task.hash == fg.Task("p", "a", {"y": [1, 2], "x": 1}).hash == pickle.loads(pickle.dumps(task)).hash
    assert len({task.hash, fg.Task("p", "b").hash, fg.Task("q", "a").hash, fg.Task("p").hash}) == 4
    with pytest.raises(fg.EnvError, match="must be JSON"):
        _ = fg.Task("p", data={"x": object()}).hash
    with pytest.raises(fg.EnvError, match="must be a string"):
        fg.Task(3)


def test_text_space_contains_any_alphabet():
    space = TextSpace(max_length=8, seed=0)
    assert "ü٣\n" in space
    assert "123456789" not in space
    assert 3 not in space
    assert all(space.sample() in space for _ in range(50))
    assert TextSpace(8) == space != TextSpace(9)


def test_reward_is_the_score_and_unscorable_is_the_minimum_with_its_verdict():
    env = Echo()
    prompt, info = env.reset(seed=0, options={"task": 1})
    assert (prompt, info["task"]) == ("train 1", 1)
    assert env.step("train 1")[1:4] == (1.0, True, False)
    with pytest.raises(fg.EnvError, match="call reset"):
        env.step("again")
    env.reset()
    _, reward, terminated, _, info = env.step("?")
    assert (reward, terminated, info["verdict"].status) == (0.0, True, "unscorable")


@pytest.mark.parametrize("task", [-1, 3, "1", True, 1.0])
def test_a_task_out_of_range_is_refused(task):
    with pytest.raises(fg.EnvError, match="from 0 to 2"):
        Echo().reset(options={"task": task})


def test_own_random_generator_only():
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    env = Echo()
    first = [env.reset(seed=7)[0]] + [env.reset()[0] for _ in range(20)]
    second = [env.reset(seed=7)[0]] + [env.reset()[0] for _ in range(20)]
    assert first == second
    assert len(set(first)) == 3
    assert (np.random.get_state()[1] == state).all()


def test_a_response_whose_scoring_raises_affects_only_its_verdict():
    env = Echo()
    tasks = env.task_list("train")
    verdicts = score_checked(env, tasks, [tasks[0].answer, "raise", "exit"])
    assert [v.score for v in verdicts] == [1.0, None, None]
    assert [v.status for v in verdicts[1:]] == ["error", "error"]
    assert "ZeroDivisionError: boom" in verdicts[1].detail
    assert "SystemExit: 0" in verdicts[2].detail


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("1.0", "must return a Verdict, got '1.0'"),
        (1.0, "must return a Verdict, got 1.0"),
        (fg.Verdict.scored(1.5), r"score 1.5, outside its declared range \[0.0, 1.0\]"),
    ],
)
def test_a_broken_environment_is_named(returned, message):
    class Broken(Echo):
        def score(self, task, response):
            return returned

    env = Broken()
    with pytest.raises(fg.EnvError, match=r"environment 'Broken'.*" + message):
        score_checked(env, env.task_list("train")[:1], ["x"])
    env.reset()
    with pytest.raises(fg.EnvError, match=message):
        env.step("x")


def test_wrong_number_of_verdicts_is_refused():
    class Short(Echo):
        def score_batch(self, tasks, responses):
            return [fg.Verdict.scored(1.0)]

    env = Short()
    with pytest.raises(fg.EnvError, match="1 verdicts for 2 responses"):
        score_checked(env, env.task_list("train")[:2], ["x", "y"])


def test_timeouts_are_remembered_and_replayed():
    calls, keys = [], []

    class Slow(Echo):
        def score(self, task, response):
            calls.append(response)
            return fg.Verdict.timeout("5 s") if response == "slow" else super().score(task, response)

    env = Slow()
    tasks = env.task_list("train")[:2]
    first = score_checked(env, tasks, ["slow", "x"], TimeoutLedger(remember=keys.append))
    replayed = score_checked(env, tasks, ["slow", "x"], TimeoutLedger(keys))
    assert [v.status for v in first] == [v.status for v in replayed] == ["timeout", "scored"]
    assert calls == ["slow", "x", "x"]


class Guesses(fg.Episode):
    """Says no, and which turn it is, until the right response."""

    def __init__(self, right):
        self.right, self.turn = right, 0

    def reply(self, response):
        self.turn += 1
        return None if response == self.right else f"no, turn {self.turn}"


class Thrice(fg.ConversationEnv):
    """Asks for the prompt itself, up to three times; the last response counts."""

    default_turns = 3

    def tasks(self, split):
        return Echo().tasks(split)

    def begin(self, task):
        return Guesses(task.answer)

    def score(self, task, transcript):
        return fg.Verdict.scored(float(transcript.response == task.answer))


def test_multi_turn_gives_the_reward_once():
    env = Thrice()
    prompt, info = env.reset(seed=0, options={"task": 0})
    assert (prompt, info["task"], info["messages"]) == ("train 0", 0, (fg.Message("user", "train 0"),))
    assert env.step("a")[:4] == ("no, turn 1", 0.0, False, False)
    *said, info = env.step("train 0")
    assert said == ["", 1.0, True, False]
    assert (info["turn"], info["verdict"]) == (2, fg.Verdict.scored(1.0))
    with pytest.raises(fg.EnvError, match="call reset"):
        env.step("a")
    env.reset(options={"task": 0})
    assert [env.step(text)[4].get("verdict") for text in "ab"] == [None, None]
    assert env.step("c")[1:4] == (0.0, False, True)
    with pytest.raises(fg.EnvError, match="call reset"):
        env.step("a")


def test_a_conversation_is_a_gymnasium_environment():
    check_env(Thrice(), skip_render_check=True)


def test_an_empty_split_is_an_error():
    class Empty(Echo):
        def tasks(self, split):
            return []

    with pytest.raises(fg.EnvError, match="environment 'Empty': there are no tasks in split 'train'"):
        Empty().reset()


def test_derived_seeds_differ_and_repeat():
    seeds = {derive_seed(s, purpose, step) for s in range(5) for purpose in "ab" for step in range(20)}
    assert len(seeds) == 200
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2)
    assert all(0 <= s < 2**63 for s in seeds)


@pytest.mark.parametrize("options", [{}, {"digits": 1}, {"digits": 4, "terms": 3, "reverse": False}])
def test_addition_passes_gymnasiums_checker(options):
    check_env(fg.make("math/Addition-v0", **options), skip_render_check=True)


def test_addition_through_gymnasium():
    env = gymnasium.make("fdiv_gym:math/Addition-v0", digits=2)
    prompt, _ = env.reset(seed=3)
    a, b = prompt.removesuffix("=").split("+")
    _, reward, terminated, truncated, info = env.step(str(int(a) + int(b))[::-1])
    assert (reward, terminated, truncated, info["verdict"].score) == (1.0, True, False, 1.0)
    assert isinstance(env.unwrapped, fg.TextEnv)


@pytest.mark.parametrize("options", [{}, {"digits": 1}, {"digits": 3}, {"terms": 3}, {"digits": 9, "train_tasks": 500}])
def test_train_and_heldout_share_no_task(options):
    env = fg.make("math/Addition-v0", **options)
    train = {t.prompt for t in env.task_list("train")}
    heldout = {t.prompt for t in env.task_list("heldout")}
    assert train
    assert heldout
    assert not train & heldout
    other = fg.make("math/Addition-v0", **options, seed=5)
    assert not {t.prompt for t in other.task_list("train")} & heldout
    assert len(train) == len(env.task_list("train"))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([12, 34], "46"),  # no carry: right
        ([57, 85], "32"),  # 7+5=12 and 5+8=13; the right sum is 142
        ([19, 23], "32"),  # 9+3=12 and 1+2=3; the right sum is 42
        ([57, 53], "00"),  # zeros in front are written
        ([7, 8], "5"),
        ([99, 99, 99], "77"),  # 27 in each column; the right sum is 297
        ([905, 17, 8], "910"),  # columns 5+7+8=20, 0+1=1, 9
    ],
)
def test_without_carrying_each_column_is_added_modulo_ten(numbers, expected):
    assert without_carrying(numbers) == expected


@pytest.mark.parametrize("options", [{}, {"digits": 3, "terms": 4, "reverse": False}, {"forget_carry": 0.25}])
def test_demonstrations_come_from_the_training_split_and_forget_to_carry(options):
    env = fg.make("math/Addition-v0", **options)
    answers = {t.prompt: t.answer for t in env.task_list("train")}
    pairs = env.demonstrations(4000, np.random.default_rng(0))
    turn = -1 if env.options.reverse else 1
    forgotten = {p: without_carrying([int(n) for n in p[:-1].split("+")])[::turn] for p, _ in pairs}
    assert all(r in (answers[p], forgotten[p]) for p, r in pairs)
    with_a_carry = [r == forgotten[p] for p, r in pairs if forgotten[p] != answers[p]]
    assert len(with_a_carry) > 2000
    p = env.options.forget_carry
    assert abs(np.mean(with_a_carry) - p) < 4 * (p * (1 - p) / len(with_a_carry)) ** 0.5


@pytest.mark.parametrize(("probability", "answer"), [(0.0, "right"), (1.0, "without carrying")])
def test_a_teacher_who_never_or_always_forgets_to_carry(probability, answer):
    env = fg.make("math/Addition-v0", digits=1, forget_carry=probability)
    for prompt, response in env.demonstrations(200, np.random.default_rng(1)):
        a, b = map(int, prompt[:-1].split("+"))
        assert response == (str(a + b)[::-1] if answer == "right" else str((a + b) % 10))


@pytest.mark.parametrize("response", ["", " ", "64a", "٤٦", "46 46", "046", "+46", "4" * 10_000, "46\x00"])
def test_addition_rewards_the_exact_digits_only(response):
    env = fg.make("math/Addition-v0")
    task = fg.Task("12+52=", "46")
    assert env.score(task, response).score == 0.0
    assert env.score(task, " 46\n").score == 1.0


def test_environment_options_are_checked():
    with pytest.raises(fg.ConfigError, match=r"environment 'math/Addition-v0'.*unknown option 'digit'.*'digits'"):
        fg.make("math/Addition-v0", digit=2)
    with pytest.raises(fg.UnknownNameError, match="did you mean 'math/Addition-v0'"):
        fg.make("math/Additon-v0")


@pytest.mark.parametrize("options", [{"digits": 1}, {"digits": 2}, {"digits": 2, "terms": 3, "train_tasks": 3000}])
def test_no_heldout_addition_exchanges_the_terms_of_a_training_problem(options):
    env = fg.make("math/Addition-v0", **options).unwrapped

    def terms(split):
        return {tuple(sorted(task.prompt.rstrip("=").split("+"))) for task in env.task_list(split)}

    assert terms("train")
    assert terms("heldout")
    assert not terms("train") & terms("heldout")
