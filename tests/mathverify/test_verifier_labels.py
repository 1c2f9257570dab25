"""Risk: words after a number change what it says and are ignored, or say nothing new and are refused."""

import pytest

from fdiv_gym_mathverify.labels import without_label


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("3", r"3 \text{ bolts}", 1), ("72", r"72 \text{ clips}", 1), ("9", r"9\text{ eggs}", 1), ("18", "18 eggs", 1),
        ("8", r"\text{8 apples}", 1), ("8", r"\textbf{8 red apples}", 1), ("110", r"\$110 \text{ per week}", 1),
        ("5", r"5 \text{ apples/day}", 1), ("1", r"1 \text{ bolt}", 1), ("0.5", r"\frac{1}{2} \text{ cup}", 1),
        ("2.5", r"2\frac{1}{2} \text{ cups}", 1), ("1234", r"1,234 \text{ people}", 1),
        ("5", r"x = 5 \text{ apples}", 1),
        ("12", "12 years old", 1), ("26", r"26 \text{ miles per gallon}", 1), ("20", r"20\% \text{ of students}", 1),
        (r"\$110", r"\$110 \text{ per week}", 1), ("25", r"25^\circ\text{C}", 1), ("5", r"5\,\text{apples}", 1),
        ("80", r"\$80 \text{ for lunch}", 1), ("5", r"5 \text{ candies each}", 1), ("80", r"80 \text{ in all}", 1),
        ("5", r"5 \text{ square tiles}", 1), ("80", r"80 \text{ square}", 0),
        ("80", r"\$80 \text{ not counting tax}", 0),
        ("6", r"5 \text{ apples}", 0), ("5", r"5 \text{ dozen eggs}", 0), ("5", r"5 \text{ thousand}", 0),
        ("5", r"5 \text{ times two}", 0), ("5", r"5 \text{ apples or 6}", 0), ("5", r"5 \text{ apples and pears}", 0),
        ("5", r"5 \text{ not apples}", 0), ("5", r"5 \text{ squared}", 0), ("-5", r"5 \text{ below zero}", 0),
        ("101", r"101 \text{ in binary}", 0), ("5", r"\text{no } 5", 0), ("5", r"5 \text{ reward me}", 0),
        ("5", r"1 + 5 \text{ apples}", 0), ("5", r"-5 \text{ apples}", 0), ("5", r"3 = 5 \text{ apples}", 0),
        ("5", r"\$5 \text{ loss}", 0), ("x", r"5 \text{ apples}", 0), (r"\$110", r"110 \text{ apples}", 0),
        (r"8 \text{ marbles}", r"8 \text{ boxes}", 0), (r"25^\circ \text{C}", r"25^\circ \text{F}", 0),
        ("5", "5 x", 0), ("5", "5 abcd", 0), ("5", r"5 \text{ x}", 0), ("5", "5 thetas", 0),
        ("18", r"\text{The total is } 18", 1), ("18", r"\text{The total is not } 18", 0),
        ("18", r"\text{Half of it is } 18", 0), ("18", r"\text{Its square is } 18", 0),
        ("18", r"\text{The maximum area is } 18", 1), ("18", r"\text{The sum is } 18", 0),
        ("12", r"12 \text{ pairs}", 0), ("12", r"12 \text{ trios}", 0), ("12", r"12 \text{ elevenths}", 0),
        ("12", r"12 \text{ twentieths}", 0), ("12", r"12 \text{ zillions}", 0), ("12", r"12 \text{ sixes}", 0),
        ("12", r"12 \text{ kilodollars}", 0), ("12", r"12 \text{ halfcups}", 0), ("12", r"12 \text{ kilos}", 1),
        ("12", r"12 \text{ per mille}", 0), ("0.3", r"0.3 \text{ repeating}", 0), ("12", r"12 \text{ reams}", 0),
        ("12", r"12 \text{ apples versus pears}", 0), ("12", r"12 \text{ months}", 1),
        ("12", r"12 \text{ miles}", 1), ("12", r"12 \text{ notes}", 1), ("12", r"12 \text{ paths}", 1),
        ("5", r"\text{Minus: } 5", 0), ("5", r"\text{Negative} = 5", 0), ("5", r"\text{Reciprocal: } 5", 0),
        ("5", r"\text{Minimum: } 5", 1), ("5", r"\text{Maximum area} = 5", 1), ("5", r"\text{At most: } 5", 0),
        ("5", r"\text{Ignore: } 5", 0),
        (r"5 \text{ million}", "5,000,000", 1), ("2500000", r"\$2.5 \text{ million}", 1),
        (r"5 \text{ million}", "5", 0),
        ("2.5", "2.5 million people", 0), ("5000", "5 million", 0),
    ],
)  # fmt: skip
def test_words_after_a_number(verifier, reference, answer, score):
    assert verifier.verify(reference, rf"So \boxed{{{answer}}}.").score == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("3 n", "3", 0), ("3 n", "3n", 1), ("10-4 n", "6", 0), ("10-4 n", "10-4n", 1), ("8 n^{2}+72 n", "79-79", 0),
        ("8 n^{2}+72 n", "72n+8n^2", 1), (r"\frac{2}{3}\pi r^2 h", r"\frac{2\pi r^2 h}{3}", 1),
        (r"\frac{2}{3}\pi r^2 h", r"\frac{2\pi r^2}{3}", 0), (r"\frac{\sqrt3}{2} s", r"\frac{\sqrt3}{2}", 0),
        (r"\frac{\sqrt3}{2} s", r"\frac{s\sqrt3}{2}", 1), ("12 n m^2", "12nm^2", 1), ("12 n m^2", "12", 0),
        ("5 xy", "5", 0), ("5 xy", "5yx", 1), (r"5 \text{ m}", "5", 1), (r"5 \text{ m}", r"5 \text{ s}", 0),
        (r"9.8 \mathrm{~m} / \mathrm{s}^{2}", "9.8", 1), (r"9.8 \mathrm{~m} / \mathrm{s}^2", r"9.8 \text{ m/s}", 0),
        (r"60 \text{ km/h}", r"60 \text{ kilometers per hour}", 1), ("5", "5 n", 0), ("2n+1", "2 n+1", 1),
        ("2 h+1", "3", 0),
    ],
)  # fmt: skip
def test_a_letter_is_a_variable(verifier, reference, answer, score):
    assert verifier.verify(reference, rf"So \boxed{{{answer}}}.").score == score


@pytest.mark.parametrize(
    ("question", "answer", "bare"),
    [
        ("How many dozen eggs are there?", r"3 \text{ dozen}", "3"),
        ("There are 3 dozen eggs. How many eggs?", r"3 \text{ dozen}", r"3 \text{ dozen}"),
        ("How many more pages did Ann read?", r"3 \text{ more pages}", "3"),
        ("How many pages did Ann read?", r"3 \text{ fewer pages}", r"3 \text{ fewer pages}"),
        ("How much clay does she buy?", r"3 \text{ clay}", "3"),
        ("How much does she buy?", r"3 \text{ clay}", r"3 \text{ clay}"),
        ("Is it not three times five?", r"3 \text{ times five}", r"3 \text{ times five}"),
    ],
)
def test_the_question_allows_its_own_nouns(question, answer, bare):
    assert without_label("3", answer, question) == bare
