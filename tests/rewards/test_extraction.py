"""Risk: the wrong part of a response is taken for the answer, or one of several."""

import time

import pytest

from fdiv_gym.rewards.boxes import without_quoted_boxes
from fdiv_gym.rewards.extraction import extract, reference_answer


@pytest.mark.parametrize(
    ("policy", "response", "answer"),
    [
        ("boxed", r"so \boxed{42}.", "42"),
        ("boxed", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("boxed", r"\boxed {\{1,2\}}", r"\{1,2\}"),
        ("boxed", r"\fbox{7}", "7"),
        ("boxed", r"\boxed{1}\boxed{2}", None),
        ("boxed", r"\boxed{1}\boxed{1}", "1"),
        ("boxed", r"\boxed{}\boxed{1}", "1"),
        ("boxed", r"\boxed{1}\boxed{", None),
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


def test_equal_answers_count_as_one_unless_forbidden():
    assert extract(r"\boxed{1} \boxed{1}", "boxed").answer == "1"
    assert extract(r"\boxed{1} \boxed{1}", "boxed", allow_repeats=False).answer is None
    assert extract(r"\boxed{1} \boxed{2}", "boxed").answer is None


def test_joined_boxes_are_a_list_besides_being_several_answers():
    found = extract(r"First \boxed{1}, so $x=\boxed{1}$ and $y=\boxed{2}$.", "boxed")
    assert (found.answer, found.answers, found.joined) == (None, ("1", "2"), "x = 1, y = 2")
    assert extract(r"\boxed{1}, then \boxed{2}", "boxed").joined == ""


@pytest.mark.parametrize(
    "content", ["", "?", "...", r"\ldots", r"\phantom{00}", r"\text{your answer}", "~", r"\square"]
)
def test_a_placeholder_is_no_answer(content):
    assert extract(rf"\boxed{{{content}}}", "boxed").answer is None
    assert extract(rf"\boxed{{{content}}} is \boxed{{4}}", "boxed").answer == "4"


@pytest.mark.parametrize("content", ["0", "x", "4?", r"\phantom{0}1", r"\text{none}", r"\emptyset"])
def test_anything_else_is_an_answer(content):
    assert extract(rf"\boxed{{{content}}} is \boxed{{4}}", "boxed").answer is None


def test_a_box_of_the_question_is_no_answer_beside_another():
    question = r"What is twice $\boxed{3}$?"
    assert without_quoted_boxes(r"Twice \boxed{3} is \boxed{6}.", question) == r"Twice 3 is \boxed{6}."
    assert without_quoted_boxes(r"It is \boxed{3}.", question) == r"It is \boxed{3}."
    assert without_quoted_boxes(r"\boxed{3} \boxed{6", question) == r"\boxed{3} \boxed{6"


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("42", "42"),
        (r"so \boxed{1} and \boxed{2}", "1, 2"),
        (r"so \boxed{1}, hence \boxed{2}", "2"),
        (r"$\boxed{1}\boxed{2}$", "1, 2"),
        (r"\boxed{1} papers and \boxed{2} bins.", "1, 2"),
        (r"not \boxed{1} and perhaps \boxed{2}", "2"),
        (r"\boxed{1} is the sum of these numbers and of \boxed{2}", "2"),
        (r"\boxed{1} + \boxed{2}", "2"),
        ("work\n#### 1,005", "1,005"),
        (" $x$ ", "$x$"),
    ],
)
def test_a_reference_may_be_a_whole_solution(reference, answer):
    assert reference_answer(reference) == answer


@pytest.mark.parametrize("piece", [r"\boxed{", "1+", "{", "}", "####", "<answer>", "1,", "9"])
@pytest.mark.parametrize("policy", ["boxed", "hash", "answer-tag", "last-number", "whole"])
def test_a_megabyte_takes_linear_time(piece, policy):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    extract(text, policy)
    assert time.process_time() - start < 2.0
