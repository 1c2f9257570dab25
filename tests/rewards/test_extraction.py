"""Risk: the wrong part of a response is taken for the answer, or one of several."""

import time

import pytest

from fdiv_gym.rewards.extraction import extract, reference_answer


@pytest.mark.parametrize(
    ("policy", "response", "answer"),
    [
        ("boxed", r"so \boxed{42}.", "42"),
        ("boxed", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("boxed", r"\boxed {\{1,2\}}", r"\{1,2\}"),
        ("boxed", r"\fbox{7}", "7"),
        ("boxed", r"\boxed{1}\boxed{2}", None),
        ("boxed", r"\boxed{1}\boxed{1}", None),
        ("boxed", r"\boxed{\boxed{1}}", None),
        ("boxed", r"\boxed{}", None),
        ("boxed", r"\boxed{1", None),
        ("boxed", r"\boxed 1", None),
        ("boxed", "42", None),
        ("boxed", r"<think>\boxed{1}</think>\boxed{2}", "2"),
        ("hash", "2+2\n#### 4\n", "4"),
        ("hash", "#### 4 #### 5", None),
        ("hash", "4", None),
        ("answer-tag", "<answer> 4 </answer>", "4"),
        ("answer-tag", "<answer>4</answer><answer>5</answer>", None),
        ("answer-tag", "<answer>4", None),
        ("last-number", "it is 3, no, 1,234.5.", "1,234.5"),
        ("last-number", "that is -7", "-7"),
        ("last-number", "pages 3-7", "7"),
        ("last-number", "so 3/4", "3/4"),
        ("last-number", "so 25%", "25%"),
        ("last-number", "none", None),
        ("whole", " x+1 ", "x+1"),
        ("whole", "  ", None),
    ],
)
def test_each_policy_takes_its_one_place(policy, response, answer):
    assert extract(response, policy).answer == answer


def test_repeats_are_accepted_only_on_request_and_only_if_equal():
    assert extract(r"\boxed{1} \boxed{1}", "boxed", allow_repeats=True).answer == "1"
    assert extract(r"\boxed{1} \boxed{2}", "boxed", allow_repeats=True).answer is None


@pytest.mark.parametrize(
    ("reference", "answer"),
    [("42", "42"), (r"so \boxed{1} and \boxed{2}", "2"), ("work\n#### 1,005", "1,005"), (" $x$ ", "$x$")],
)
def test_a_reference_may_be_a_whole_solution(reference, answer):
    assert reference_answer(reference) == answer


@pytest.mark.parametrize("piece", [r"\boxed{", "1+", "{", "}", "####", "<answer>", "1,", "9"])
@pytest.mark.parametrize("policy", ["boxed", "hash", "answer-tag", "last-number", "whole"])
def test_a_megabyte_takes_linear_time(piece, policy):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    extract(text, policy)
    assert time.perf_counter() - start < 2.0
