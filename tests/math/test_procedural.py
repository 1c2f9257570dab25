import itertools
import random
import re

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import fdiv_gym as fg
from fdiv_gym.data import find_contamination
from fdiv_gym.envs import active_curriculum
from fdiv_gym.rewards import rational
from fdiv_gym_math.procedural.polynomials import multiply, read, write

NAMES = ("Arithmetic", "LinearEquation", "Fractions", "Countdown", "Modular", "Polynomial")
SMALL = {"train_tasks": 60, "heldout_tasks": 20}


def make(name, **options):
    return fg.make(f"math/{name}-v0", **{**SMALL, **options})


@pytest.mark.parametrize("name", NAMES)
def test_gymnasiums_checker_passes(name):
    check_env(make(name), skip_render_check=True)
    check_env(make(name, level=3, curriculum=True, wording="sentence", answer="boxed"), skip_render_check=True)


@pytest.mark.parametrize(("name", "level"), list(itertools.product(NAMES, range(1, 6))))
def test_only_the_reference_response_is_right(name, level):
    env = make(name, level=level)
    train, heldout = env.task_list("train"), env.task_list("heldout")
    assert not {t.prompt for t in train} & {t.prompt for t in heldout}
    assert not find_contamination(train, heldout).shared
    for task in [*train, *heldout]:
        reference = env.reference_response(task)
        assert env.score(task, reference).score == 1.0
        assert env.score(task, f" {reference}\n").score == 1.0
        for wrong in (
            "",
            "?",
            reference + "1",
            f"{reference} or 1",
            f"the answer is {reference}",
            task.prompt,
            f"{reference};1",
        ):
            assert env.score(task, wrong).score == 0.0, (task.prompt, wrong)
        assert task.data["level"] == level


@pytest.mark.parametrize("name", NAMES)
def test_the_same_options_give_the_same_tasks(name):
    first, second = make(name, level=2), make(name, level=2)
    assert [t.hash for t in first.task_list("train")] == [t.hash for t in second.task_list("train")]
    assert [t.hash for t in first.task_list("train")] != [
        t.hash for t in make(name, level=2, seed=1).task_list("train")
    ]


def value_of(text):
    """Python's own arithmetic, on expressions made here; brackets around fractions make it exact."""
    from fractions import Fraction

    return eval(re.sub(r"\d+", lambda m: f"Fraction({m.group()})", text), {"Fraction": Fraction})


@pytest.mark.parametrize("level", range(1, 6))
def test_arithmetic_agrees_with_python(level):
    env = make("Arithmetic", level=level, operators="+-*/")
    for task in env.task_list("train"):
        assert value_of(task.prompt.removesuffix("=")) == int(task.answer)


@pytest.mark.parametrize("level", range(1, 6))
def test_fractions_agree_with_python(level):
    for task in make("Fractions", level=level).task_list("train"):
        assert value_of(task.prompt.removesuffix("=")) == rational(task.answer)


@pytest.mark.parametrize("level", range(1, 6))
def test_equations_hold_at_their_solution(level):
    for task in make("LinearEquation", level=level).task_list("train"):
        x = rational(task.answer)
        explicit = re.sub(r"(\d)([x(])", r"\1*\2", task.prompt).replace("x", f"({x})")
        left, right = explicit.split("=")
        assert value_of(left) == value_of(right)


@pytest.mark.parametrize("level", [1, 2, 3, 5])
def test_remainders_agree_with_python(level):
    for task in make("Modular", level=level).task_list("train"):
        expression, modulus = task.prompt.removesuffix("=").split(" mod ")
        assert int(task.answer) == eval(expression.replace("^", "**")) % int(modulus)


def test_modular_inverses_are_inverses():
    for task in make("Modular", level=4).task_list("train"):
        a, m = map(int, re.fullmatch(r"(\d+)\^-1 mod (\d+)=", task.prompt).groups())
        assert a * int(task.answer) % m == 1
        assert not make("Modular", level=4).score(task, str(int(task.answer) + m)).score


@pytest.mark.parametrize("level", range(1, 6))
def test_polynomials_agree_at_points(level):
    for task in make("Polynomial", level=level).task_list("train"):
        for x in (-2, 0, 3, 7):
            left = re.sub(r"(\d)x", r"\1*x", task.prompt.removesuffix("=")).replace(")(", ")*(").replace("^", "**")
            right = re.sub(r"(\d)x", r"\1*x", task.answer).replace("^", "**")
            assert eval(left, {"x": x}) == eval(right, {"x": x})


def test_polynomial_forms():
    assert read("3x^2-x+5") == read("5 - x + 3*x**2") == {2: 3, 1: -1, 0: 5}
    assert write({2: 3, 1: -1, 0: 5}) == "3x^2-x+5"
    assert write({}) == "0"
    assert read("0") == {}
    assert multiply({1: 1, 0: 2}, {1: 1, 0: -2}) == {2: 1, 0: -4}
    for wrong in ("x+x", "2x+0", "(x+1)(x+2)", "x^", "", "+", "x^2^2", "xx", "2 3", "x" * 10_000, "1e3"):
        assert read(wrong) is None


def test_countdown_accepts_any_right_expression_and_no_other_number():
    env = make("Countdown")
    task = fg.Task("", "", {"numbers": [3, 7, 5], "target": 26, "level": 1})
    assert env.score(task, "5+(7*3)").score == 1.0
    assert env.score(task, "26").score == 0.0
    assert env.score(task, "3*7+3+2").score == 0.0
    assert env.score(task, "13+13").score == 0.0
    short = fg.Task("", "", {"numbers": [3, 7, 5], "target": 21, "level": 1})
    assert env.score(short, "3*7").score == 1.0
    assert make("Countdown", use_all=True).score(short, "3*7").score == 0.0
    assert make("Countdown", use_all=True).score(task, "3*7+5").score == 1.0


def test_fractions_must_be_in_lowest_terms_by_default():
    task = fg.Task("", "1/2", {"level": 1})
    assert make("Fractions").score(task, "2/4").score == 0.0
    assert make("Fractions", lowest_terms=False).score(task, "2/4").score == 1.0


def test_answer_forms_and_wordings():
    env = make("Arithmetic", answer="boxed", wording="sentence")
    task = env.task_list("train")[0]
    assert "\\boxed{}" in task.prompt
    assert env.reference_response(task) == f"\\boxed{{{task.answer}}}"
    assert env.score(task, f"I think \\boxed{{{task.answer}}}.").score == 1.0
    assert env.score(task, task.answer).score == 0.0
    assert env.score(task, f"\\boxed{{{task.answer}}} \\boxed{{1}}").score == 0.0
    assert env.vote(task, "so \\boxed{ 12 }") == "12"
    assert env.vote(task, "so \\boxed{ 1 2 }") == "1 2"  # scored 0, so no vote for 12
    assert env.vote(task, "12") is None


def test_the_wording_as_a_question():
    env = make("Arithmetic", operators="+-", level=2, wording="question")
    asked = re.compile(r"What is (\d+ [-+] \d+)\? Reply with the result only\.")
    for task in [*env.task_list("train"), *env.task_list("heldout")]:
        assert eval(asked.fullmatch(task.prompt).group(1)) == int(task.answer)
        assert env.score(task, f" {task.answer}.\n").score == 1.0
        for wrong in (
            f"The result is {task.answer}",
            env.question_of(task),
            f"{env.question_of(task)} = {task.answer}",
        ):
            assert env.score(task, wrong).score == 0.0
    assert not find_contamination(env.task_list("train"), env.task_list("heldout")).shared
    bare = make("Arithmetic", operators="+-", level=2)
    assert [t.answer for t in bare.task_list("heldout")] == [t.answer for t in env.task_list("heldout")]


def test_a_question_repeated_is_no_last_number():
    env = make("Arithmetic", operators="+", level=1, wording="question", answer="last-number", train_tasks=100)
    task = next(task for task in env.task_list("train") if env.question_of(task).startswith("0 + "))
    assert "What is 0 + " in task.prompt
    assert task.prompt.endswith("? Reply with the result only.")
    for echo in (env.question_of(task), env.question_of(task).replace(" ", ""), f"What is {env.question_of(task)}?"):
        assert env.score(task, echo).score == 0.0
    assert env.score(task, f"{env.question_of(task)} = {task.answer}").score == 1.0


@pytest.mark.parametrize("answer", ["whole", "boxed", "last-number"])
@pytest.mark.parametrize("name", ["Arithmetic", "LinearEquation", "Fractions"])
def test_the_question_repeated_scores_0(name, answer):
    options = {"operators": "+-*/", "digits": 1, "terms": 2} if name == "Arithmetic" else {}
    for level in (1, 2, 4):
        env = make(name, level=level, answer=answer, train_tasks=100, **options)
        for task in env.task_list("train"):
            question = task.prompt.rstrip("=")
            for echo in (
                question,
                f"{question}=",
                f"{question} = ?",
                f"x={question}",
                f"\\boxed{{{question}}}",
                f"({question})",
            ):
                assert env.score(task, echo).score == 0.0, (task.prompt, echo)
            assert env.score(task, env.reference_response(task)).score == 1.0
            if answer == "last-number":
                assert env.score(task, f"{question}={task.answer}").score == 1.0


@pytest.mark.parametrize("name", ["Countdown", "Polynomial"])
def test_an_expression_is_no_last_number(name):
    with pytest.raises(fg.ConfigError, match="the answer is an expression, not a number"):
        make(name, answer="last-number")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_responses_score_zero_quickly(name):
    env = make(name, level=3)
    task = env.task_list("train")[0]
    rng = random.Random(0)
    alphabet = "0123456789+-*/()^x= .\\{}[]e\n\x00\ud800٣"
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(300)]
    texts += ["9" * 1_000_000, "(" * 1_000_000, "x^" * 500_000, "1/" * 500_000, "\\boxed{" * 100_000]
    for text in texts:
        verdict = env.score(task, text)
        assert verdict.score in (0.0, 1.0)
        assert verdict.score == 0.0 or len(text) < 60


class TestCurriculum:
    def test_levels_open_with_success_and_close_without(self):
        env = make("Modular", level=3, curriculum=True, window=10, promote_at=0.7, demote_at=0.2)
        assert env.adapts
        assert env.open_level == 1
        for expected in (2, 3, 3):
            tasks = [t for t in env.choose_tasks(60, seed=7) if t.data["level"] == env.open_level]
            env.observe([(t, 0.8) for t in tasks[:10]])
            assert env.open_level == expected
        env.observe([(t, 0.0) for t in env.choose_tasks(60, seed=8)])
        assert env.open_level == 2

    def test_only_full_windows_of_the_open_level_change_it(self):
        env = make("Modular", level=2, curriculum=True, window=10)
        easy = env.choose_tasks(10, seed=0)
        env.observe([(t, 1.0) for t in easy[:9]])
        assert env.open_level == 1
        env.observe([(easy[9], 1.0)])
        assert env.open_level == 2
        env.observe([(t, 0.0) for t in easy * 5])
        assert env.open_level == 2

    def test_half_of_the_tasks_are_easier_ones(self):
        env = make("Modular", level=5, curriculum=True)
        env.load_state_dict({"open_level": 3, "recent": []})
        levels = [t.data["level"] for t in env.choose_tasks(400, seed=1)]
        assert set(levels) == {1, 2, 3}
        assert 160 < levels.count(3) < 240
        assert env.choose_tasks(20, seed=5) == env.choose_tasks(20, seed=5)

    def test_its_state_is_restored_from_a_checkpoint(self):
        import json

        env = make("Modular", level=3, curriculum=True, window=10)
        env.observe([(t, 1.0) for t in env.choose_tasks(14, seed=0)])
        env.observe([(t, 0.5) for t in env.choose_tasks(4, seed=1)])
        other = make("Modular", level=3, curriculum=True, window=10)
        other.load_state_dict(json.loads(json.dumps(env.state_dict())))
        assert other.open_level == env.open_level == 2
        assert other.state_dict() == env.state_dict()
        assert other.choose_tasks(10, seed=3) == env.choose_tasks(10, seed=3)

    def test_the_first_heldout_tasks_are_of_all_levels(self):
        tasks = make("Modular", level=4, curriculum=True).task_list("heldout")
        assert [t.data["level"] for t in tasks[:8]] == [1, 2, 3, 4] * 2

    def test_without_the_option_the_level_is_constant(self):
        env = make("Modular", level=3)
        assert not env.adapts
        assert active_curriculum(env) is None
        assert {t.data["level"] for t in env.task_list("train")} == {3}


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_have_the_form_of_answers_and_are_often_wrong(name):
    env = make(name, level=3)
    pairs = env.demonstrations(400, np.random.default_rng(0))
    references = {task.prompt: env.reference_response(task) for task in env.task_list("train")}
    for prompt, response in pairs:
        assert re.sub(r"\d", "0", response) == re.sub(r"\d", "0", references[prompt])
    # A random digit is the right one in one case of ten, so a digit is wrong in 0.35 * 0.9 of all cases.
    digits = [
        (a, b) for prompt, response in pairs for a, b in zip(response, references[prompt], strict=True) if b.isdigit()
    ]
    wrong = sum(a != b for a, b in digits) / len(digits)
    assert abs(wrong - 0.315) < 0.05
    assert 0 < sum(response == references[prompt] for prompt, response in pairs) < 400
    assert pairs == env.demonstrations(400, np.random.default_rng(0))


def test_answers_of_many_digits_are_judged():
    env = make("Arithmetic", operators="*", terms=8, digits=6)
    task = max(env.task_list("train"), key=lambda task: len(task.answer))
    assert len(task.answer) > 40
    for wrong in ("banana", "I do not know", "1", task.answer + "0", task.answer[:-1]):
        assert env.score(task, wrong).score == 0.0
    assert env.score(task, task.answer).score == 1.0


def test_a_reference_that_is_no_number_is_never_matched():
    with pytest.raises(fg.EnvError, match="is no number"):
        make("Arithmetic").score(fg.Task("?", "9" * 61, {"level": 1}), "banana")


def test_votes_are_for_values():
    env = make("Arithmetic")
    task = env.task_list("train")[0]
    assert len({env.vote(task, text) for text in ("12", "012", "+12", "12.0", " 12 ")}) == 1
    assert env.vote(task, "1 2") != env.vote(task, "12")


def test_countdown_states_the_rule_and_refuses_impossible_targets():
    prompts = [make("Countdown", use_all=use, wording="sentence").task_list("train")[0].prompt for use in (True, False)]
    assert ["exactly once" in prompt for prompt in prompts] == [True, False]
    assert ["at most once" in prompt for prompt in prompts] == [False, True]
    with pytest.raises(fg.EnvError, match="no target up to 10 in 1000 random expressions of level 5"):
        make("Countdown", level=5, largest_target=10, train_tasks=2000).task_list("train")
