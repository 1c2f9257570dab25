# ruff: noqa: RUF001 - signs of logic and of arithmetic
import json
import time

import pytest

from fdiv_gym_reasoning import comparators as c
from fdiv_gym_reasoning.calculus import NotAnExpressionError, is_antiderivative, parse
from fdiv_gym_reasoning.logic import NotAFormulaError, follows


@pytest.mark.parametrize(
    ("text", "slope"),
    [
        ("3*x**2 - 2*x + 7", 6 * 1.3 - 2),
        ("sin(x)*exp(2*x)", None),
        ("x**x", None),
        ("log(x)/sqrt(x)", None),
        ("atan(x) + asin(x/3) - acos(x/3)", None),
        ("-x**2", -2 * 1.3),
        ("2**-x", None),
        ("tan(x)*cosh(x) - sinh(x)**3", None),
        ("E**x + pi*x", None),
    ],
)
def test_derivatives_agree_with_differences(text, slope):
    function = parse(text, "x")
    _, derivative = function((1.3 + 0j, 1 + 0j))
    step = 1e-6
    difference = (function((1.3 + step + 0j, 1 + 0j))[0] - function((1.3 - step + 0j, 1 + 0j))[0]) / (2 * step)
    assert derivative == pytest.approx(difference, rel=1e-6)
    if slope is not None:
        assert derivative == pytest.approx(slope)


@pytest.mark.parametrize(
    ("answer", "integrand", "right"),
    [
        ("x**2/2 + C", "x", True),
        ("x**2/2", "x", True),
        ("0.5*x*x + 3", "x", True),
        ("x**2", "x", False),
        ("C", "x", False),
        ("x*asin(3*x) + sqrt(1 - 9*x**2)/3 + C", "asin(3*x)", True),
        ("x*asin(3*x) - sqrt(1 - 9*x**2)/3 + C", "asin(3*x)", False),
        ("2*(2 - 8*x)**(3/2)/3 + C", "-8*sqrt(2 - 8*x)", True),
        ("exp(x)*sin(x) + exp(x)*cos(x)", "2*exp(x)*cos(x)", True),
        ("sin(x)**2", "2*sin(x)*cos(x)", True),
        ("-cos(x)**2", "2*sin(x)*cos(x)", True),
        ("log(x)", "1/x", True),
        ("x**2/2 + 0.001*x", "x", False),
        ("Integral(x, x)", "x", False),
        ("x**2/2; import os", "x", False),
    ],
)
def test_antiderivatives(answer, integrand, right):
    assert is_antiderivative(answer, integrand, "x") is right


@pytest.mark.parametrize(
    "text",
    [
        "",
        "y",
        "x.real",
        "x(2)",
        "f(x)",
        "1e5",
        "x y",
        "2x",
        "(x",
        "x)",
        "x^2",
        "[x]",
        "x" * 501,
        "(" * 40 + "x" + ")" * 40,
    ],
)
def test_other_texts_are_no_expressions(text):
    with pytest.raises(NotAnExpressionError):
        parse(text, "x")


def test_huge_powers_are_compared_quickly():
    begun = time.process_time()
    for text in ("9**9**9**9", "x**9999999**9999999", "exp(exp(exp(exp(x))))", "+".join(["x**2"] * 99)):
        assert not is_antiderivative(text, "x", "x")
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B", False),
        ("A ∧ B", True),
        ("A → B", False),
        ("(A → B)", False),
        ("B ∨ C", True),
        ("A ∨ ¬A", False),
        ("¬C", False),
        ("¬¬B", True),
        ("D ∨ B", False),
        ("", False),
        ("A B", False),
        ("AB", False),
        ("(A ∨ B", False),
        ("(" * 50 + "B" + ")" * 50, False),
    ],
)
def test_conclusions(text, right):
    assert follows(text, ["A → B", "A"], ["A", "B", "C"]) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(A → B) ∧ (A → B)", False),
        ("¬¬(A → B)", False),
        ("(A → B) ∨ C", False),
        ("¬A ∨ B", False),  # the first premise in other words
        ("(A → B) ∧ (B → C)", False),
        ("A → C", True),
        ("¬A ∨ C", True),
        ("¬C → ¬A", True),
    ],
)
def test_copied_premises_are_no_conclusion(text, right):
    assert follows(text, ["A → B", "B → C"], ["A", "B", "C"]) is right


def test_consequences_count_if_one_premise_implies_all_others():
    assert follows("A ∨ B", ["A ∧ B", "A"], ["A", "B"])
    assert not follows("A ∧ B", ["A ∧ B", "A"], ["A", "B"])
    assert not follows("¬¬(A ∧ B)", ["A ∧ B", "A"], ["A", "B"])


@pytest.mark.parametrize("signs", [1, 2, 7, 28])
def test_many_signs_are_parsed_quickly(signs):
    from fdiv_gym_reasoning.calculus import is_antiderivative

    begun = time.process_time()
    assert is_antiderivative("-" * signs + "(x**2/2)", "x" if signs % 2 == 0 else "-x", "x")
    assert not is_antiderivative("-" * signs + "x", "x", "x")
    assert time.process_time() - begun < 1.0


def test_digits_apart_are_no_number_and_true_is_not_one():
    from fdiv_gym_reasoning import comparators

    parts = {"simplified_numerator": 353, "simplified_denominator": 763}
    assert comparators.fraction("353 / 763", "353/763", parts)
    assert not comparators.fraction("3 53/763", "353/763", parts)
    assert comparators.json_value("[[1, 0], [0, 1]]", "[[1,0],[0,1]]", {})
    assert comparators.json_value("[1.0]", "[1]", {})
    assert not comparators.json_value("[[true, false], [0, 1]]", "[[1,0],[0,1]]", {})
    assert not comparators.json_value('{"a": true}', '{"a": 1}', {})
    assert comparators.probability("3.05e-05", "3.0517578125e-05", {})
    assert not comparators.probability("0", "3.0517578125e-05", {})
    assert comparators.probability("1/2", "0.5", {})


def test_precedence_of_the_signs():
    from fdiv_gym_reasoning.logic import parse as formula

    assert formula("¬A ∧ B ∨ C → D ↔ E") == ("↔", ("→", ("∨", ("∧", ("¬", ("A",)), ("B",)), ("C",)), ("D",)), ("E",))
    with pytest.raises(NotAFormulaError):
        formula("A ∨")


PUZZLE = {"puzzle": {"vertices": [0, 1], "edges": [(0, 1)], "color_options": [1, 2]}}
ANGELS = "Joseph is an angel, and Zoey is an angel."
M = {"numbers": [4, 8, 6, 2], "target": 20}


@pytest.mark.parametrize(
    ("compare", "answer", "reference", "metadata", "right"),
    [
        (c.text, "a  b\n\nc ", "a b\nc", {}, True),
        (c.text, "a b c", "a b\nc", {}, False),
        (c.caseless, "Mother-In-Law", "mother-in-law", {}, True),
        (c.number, "1,200.0", "1200", {}, True),
        (c.number, "1200 apples", "1200", {}, False),
        (c.number, "nan", "1200", {}, False),
        (c.rounded, "4.8609039605", "4.86090396050", {}, True),
        (c.rounded, "4.86", "4.86090396050", {}, False),
        (c.three_digits, "1.76e-22", "1.7574418454559584e-22", {}, True),
        (c.three_digits, "1.77e-22", "1.7574418454559584e-22", {}, False),
        (c.probability, "15/64", "0.234375", {}, True),
        (c.probability, "0.2", "0.234375", {}, False),
        (c.numbers, "(7.765, 7.882)", "(7.765, 7.882)", {}, True),
        (c.numbers, "16.91", "16.91°", {}, True),
        (c.numbers, "17.91°", "16.91°", {}, False),
        (c.roots, "1.9717, -0.7757, 0", "-0.7757, 0.0, 1.9717", {}, True),
        (c.roots, "1.9717, -0.7757", "-0.7757, 0.0, 1.9717", {}, False),
        (c.roots, "1, 1", "1, 2", {}, False),
        (c.number_grid, "4.50 4.5\n4.75 5", "4.5 4.5\n4.75 5.0", {}, True),
        (c.number_grid, "4.5 4.5 4.75 5.0", "4.5 4.5\n4.75 5.0", {}, False),
        (c.hexadecimal, "0X3D2D", "0x3d2d", {}, True),
        (c.hexadecimal, "15661", "0x3d2d", {}, False),
        (c.complex_number, "-2-4i", "-2.0 - 4.0i", {}, True),
        (c.complex_number, "3i", "0.0 + 3.0i", {}, True),
        (c.complex_number, "-i", "0.0 - 1.0i", {}, True),
        (c.complex_number, "-2+4i", "-2.0 - 4.0i", {}, False),
        (c.complex_number, "", "0.0 + 0.0i", {}, False),
        (c.fraction, "244/607", "$244/607$", {"simplified_numerator": 244, "simplified_denominator": 607}, True),
        (c.fraction, "488/1214", "$244/607$", {"simplified_numerator": 244, "simplified_denominator": 607}, False),
        (c.factors, "7 × 5 × 7", "5 × 7 × 7", {}, True),
        (c.factors, "5 × 49", "5 × 7 × 7", {}, False),
        (c.factors, "garbage", "5 × 7 × 7", {}, False),
        (c.json_value, "[[1, 2]]", "[[1,2]]", {}, True),
        (c.json_value, "[[1, 3]]", "[[1,2]]", {}, False),
        (c.json_value, "True", "[[1,2]]", {}, False),
        (c.json_list, '["52.2", "30.0"]', "['52.2', '30.0']", {}, True),
        (c.json_list, '["30.0", "52.2"]', "['52.2', '30.0']", {}, False),
        (c.json_sets, '[["b","a"],["c","d"]]', '[["c","d"],["a","b"]]', {}, True),
        (c.json_sets, '[["b","a"]]', '[["c","d"],["a","b"]]', {}, False),
        (c.json_sets, "[1]", "[1]", {}, False),
        (c.json_partitions, '[["a","b"]]', '[["b","a"]]', {}, False),
        (c.comma_list, "a,b , C", "a, b, C", {}, True),
        (c.comma_list, "b, a, C", "a, b, C", {}, False),
        (c.statements, "Zoey is an angel and Joseph is an angel", ANGELS, {}, True),
        (c.statements, "Joseph is an angel, and Zoey is a devil.", ANGELS, {}, False),
        (c.countdown, "4+8+6+2", "", M, True),
        (c.countdown, "8+6+6", "", M, False),
        (c.countdown, "20", "", M, False),
        (c.puzzle24, "(8-4)*6*2/2", "", {"numbers": [4, 8, 6, 2]}, False),
        (c.puzzle24, "8*6/(4-2)", "", {"numbers": [4, 8, 6, 2]}, True),
        (c.puzzle24, "24", "", {"numbers": [4, 8, 6, 2]}, False),
        (c.puzzle24, "1*24*1*1", "", {"numbers": [4, 8, 6, 2]}, False),
        (c.palindrome, "dppd", "", {"letters": list("pdpd")}, True),
        (c.palindrome, "pddpx", "", {"letters": list("pdpd")}, False),
        (c.expanded, "189*x + 1281*x**4", "1281*x**4 + 189*x", {}, True),
        (c.expanded, "y*x*2", "2*x*y", {}, True),
        (c.expanded, "21*x*(61*x**3 + 9)", "1281*x**4 + 189*x", {}, False),
        (c.expanded, "x+x", "2*x", {}, False),
        (c.colouring, '{"0": 1, "1": 2}', "", PUZZLE, True),
        (c.colouring, '{"0": 1, "1": 1}', "", PUZZLE, False),
        (c.colouring, '{"0": true, "1": 2}', "", PUZZLE, False),
        (c.colouring, '{"0": 1}', "", PUZZLE, False),
    ],
)  # fmt: skip
def test_comparators(compare, answer, reference, metadata, right):
    assert compare(answer, reference, metadata) is right


def test_json_of_hostile_depth_and_length_is_only_wrong():
    for text in ("[" * 20_000, "9" * 20_000, json.dumps("x" * 20_000), "[1e999]", "Infinity"):
        assert not c.json_value(text, "[1]", {})
