"""Risk: the same answer in another markup is refused, or markup hides a difference."""

import pytest

from fdiv_gym.rewards import normalise


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("125", "$125$ miles", 1), (r"125 \text{ miles}", "$125$ miles", 1), ("125", "$124$ miles", 0),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left[\begin{array}{c}1\\2\end{array}\right]", 1),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left[\begin{array}{c}1\\3\end{array}\right]", 0),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{cc}1&2\\[4pt]3&4\end{array}\right)", 1),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{cc}1&2\\[4pt]4&3\end{array}\right)", 0),
        ("(1,2)", r"\Bigl(1,2\Bigr)", 1), ("(1,2)", r"\Bigl(2,1\Bigr)", 0), ("[1,2)", r"\bigl(1,2\bigr)", 0),
        ("x<3", r"x \lt 3", 1), ("x<3", r"x \gt 3", 0), ("32349", r"32,\! 349", 1), (r"32,\! 349", "32349", 1),
        (r"32,\! 349", "32348", 0), (r"\frac{1}{2}", r"{\displaystyle \frac{1}{2}}", 1), ("5", r"{\bf 5}", 1),
        ("5", r"{\bf 6}", 0), ("5", r"\color{red}{5}", 1), ("5", r"{\color{blue}5}", 1),
        ("5", r"\textcolor{red}{5}", 1),
        ("5", r"\color{white}{6}5", 0), (r"\log_2 3", r"\log_{2}(3)", 1), (r"\log_2 3", r"\log_3 2", 0),
        (r"\log_2 n", r"\log_{2}{n}", 1), (r"\log_2 n", r"\log_2 m", 0), ("3:20", "3{:}20", 1), ("3:20", "3{:}21", 0),
        ("x^2", "x²", 1), ("x^2", "x³", 0), (r"\frac{1}{2}", "½", 1), (r"1\frac{1}{2}", "1½", 1),
        (r"\frac{1}{2}", "⅓", 0),
        (r"132_{\text{eight}}", "132_8", 1), ("132_8", r"132_{\text{eight}}", 1), ("132_8", r"132_{\text{nine}}", 0),
        ("132_8", r"132 \text{ (base 8)}", 1), ("132_8", r"132_{\text{base }8}", 1), ("132", r"132 \text{ base } 8", 0),
        (r"\frac{1}{2}", r"\cfrac{1}{2}", 1), (r"\\frac{1}{2}", r"\frac{1}{2}", 1), (r"\\text{Yes}", r"\text{Yes}", 1),
        (r"50\\%", r"50\%", 1),
        (r"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", 1),
        ("e^2", r"\mathrm{e}^{2}", 1), ("1+i", r"1+\mathrm{i}", 1), ("1+i", r"1-\mathrm{i}", 0),
        ("2v", r"2\mathbf{v}", 1),
    ],
)  # fmt: skip
def test_markup_says_nothing(verifier, reference, answer, score):
    assert verifier.verify(reference, rf"So \boxed{{{answer}}}.").score == score


@pytest.mark.parametrize(
    "piece", ["{\\bf ", "$", "\\\\", "²", "\\left[\\begin{array}{c}", "{\\color{red}", "_{\\text{two", "½"]
)
def test_hostile_markup_takes_no_time(piece):
    assert len(normalise(piece * (4000 // len(piece)))) < 80_000


def test_a_text_without_marks_stays_as_it_is():
    assert normalise(r"\sqrt{x_{1}^{2}+1}") == r"\sqrt{x_{1}^{2}+1}"
