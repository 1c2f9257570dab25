"""The calculator, and tools/Calculator-v0."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdiv_gym as fg
from fdiv_gym.envs.play import play
from fdiv_gym.testing import check_environment
from fdiv_gym_tools.calculator import calculate, value_of


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("37*84", "3108"), (" 37 * 84\n", "3108"), ("(12.5 + 3) * 4", "62"), ("0.1+0.2", "0.3"), ("-2**2", "-4"),
        ("7//2", "3"), ("-7 % 3", "2"), ("2**-2", "0.25"), ("1/3", "about 0.333333333333"),
        ("-2/3", "about -0.666666666667"), ("1/4096", "0.000244140625"), ("1/3000000000000000", "about 0"),
        ("10**30+1", "1000000000000000000000000000001"), ("(" * 99 + "1" + ")" * 99, "1"),
    ],
)  # fmt: skip
def test_values(expression, result):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("9**9**9", "exponent"), ("2**1001", "exponent"), ("2**0.5", "exponent"), ("99999**999", "too large"),
        ("((2**1000)**5)", "too large"), ("1/0", "division by zero"), ("0**-1", "division by zero"), ("1%0", "by zero"),
        ("", "no arithmetic expression"), ("1 2", "no arithmetic"), ("1;2", "only numbers"), ("\0", "only numbers"),
        ("(" * 150 + "1", "no arithmetic"), ("-" * 150 + "1", "nested"), ("1" * 201, "200 characters"),
        ("__import__('os').system('x')", "only numbers"), ("a", "only numbers"), ("True", "only numbers"),
        ("1j", "only numbers"), ("'a'*9", "only numbers"), ("[1][0]", "only numbers"), ("1<2", "only numbers"),
        ("1 if 1 else 2", "only numbers"), ("1 and 2", "only numbers"), ("1<<999", "only numbers"),
        ("~1", "only numbers"),
        ("1_000", "only numbers"), ("0x10", "only numbers"), ("1e5", "only numbers"), ("1if 2else 3", "only numbers"),
        ("\uff11+1", "only numbers"), ("1#2", "only numbers"), ("007", "no arithmetic"),
    ],
)  # fmt: skip
def test_what_is_not_computed(expression, reason):
    with pytest.raises(ValueError, match=reason):
        calculate(expression)


def test_no_filter_of_warnings_is_set(monkeypatch):
    # Calls run in threads: what one sets for the process, another may leave there.
    def fail(*given, **named):
        raise AssertionError("set")

    monkeypatch.setattr(warnings, "catch_warnings", fail)
    assert calculate("1+2") == "3"


TERMS = st.recursive(
    st.integers(0, 999).map(lambda n: (str(n), Fraction(n))),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda t: (
            f"({t[0][0]}{t[1]}{t[2][0]})",
            {"+": t[0][1] + t[2][1], "-": t[0][1] - t[2][1], "*": t[0][1] * t[2][1]}[t[1]],
        )
    ),
    max_leaves=8,
)


@given(TERMS)
def test_values_of_random_expressions(case):
    text, value = case
    assert value_of(text) == value


def env_of(**options):
    return fg.make("tools/Calculator-v0", train_tasks=60, heldout_tasks=20, **options)


def test_the_kit_passes():
    report = check_environment(env_of())
    assert report.ok, report


@pytest.mark.parametrize("wording", ["brief", "story"])
@pytest.mark.parametrize("call_format", ["python", "hermes"])
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_the_reference_player_calls_once_and_is_right(level, call_format, wording):
    env = env_of(level=level, call_format=call_format, wording=wording)
    task = env.task_list("heldout")[0]
    numbers = [int(n) for n in task.data["expression"].replace("+", "*").split("*")]
    assert int(task.answer) == numbers[0] * numbers[1] + sum(numbers[2:])
    assert all(str(number) in task.prompt for number in numbers)
    transcript = play(env, task, env.reference_player(task))
    assert [m.role for m in transcript.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert transcript.outcome == {"calls": 1, "malformed": 0, "timeouts": 0, "failed": 0, "refused": 0}
    assert env.score(task, transcript).score == 1.0


@pytest.mark.parametrize(
    ("last", "score"),
    [
        ("2220", 1), ("It is 2,220.", 1), ("60*37 is 2220", 1), ("2220.0", 1), ("222", 0), ("22200", 0), ("-2220", 0),
        ("2220 or 5", 0), ("", 0), ("none", 0), ("9" * 100_000, 0), ("2220" + "," * 100, 1),
        ("\u0662\u0662\u0662\u0660", 0),
    ],
)  # fmt: skip
def test_scores_of_final_answers(last, score):
    task = fg.Task("60 times 37?", "2220", {"expression": "60*37", "level": 1})
    transcript = fg.Transcript((*task.messages, fg.Message("assistant", last)), 1)
    assert env_of().score(task, transcript).score == score


def test_a_conversation_without_a_final_answer_scores_nothing():
    env = env_of(max_turns=1)
    task = env.task_list("train")[0]
    transcript = play(env, task, lambda messages: f"```python\n{task.answer}\n```")
    assert transcript.end == "turns"
    assert env.score(task, transcript).score == 0.0


def test_one_shot_answers_and_mistakes_are_demonstrated_in_their_shares():
    env = env_of(tools_text="")
    count = 2000
    shown = env.demonstrations(count, np.random.default_rng(0))
    answers = {task.prompt: task.answer for task in env.task_list("train")}
    right = sum(talk[-1].content == answers[talk[0].content] for talk in shown) / count
    assert right == pytest.approx(0.2, abs=0.03)
    added = (
        sum("+" in talk[1].content and talk[2].content == talk[3].content for talk in shown if len(talk) == 4) / count
    )
    assert added == pytest.approx(0.44, abs=0.04)
    silent = sum(len(talk) == 2 for talk in shown) / count
    assert silent == pytest.approx(0.1, abs=0.03)
    malformed = [talk for talk in shown if len(talk) == 4 and talk[2].content.startswith("error: ")]
    assert len(malformed) / count == pytest.approx(0.1, abs=0.03)
    # What the environment says in a demonstration is what it says in an episode.
    for talk in (malformed[0], next(t for t in shown if len(t) == 4 and t[2].content.isdigit())):
        task = next(t for t in env.task_list("train") if t.prompt == talk[0].content)
        said = [m.content for m in talk if m.role == "assistant"]
        assert play(env, task, lambda messages, left=said: left.pop(0)).messages == talk
