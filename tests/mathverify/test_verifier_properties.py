"""Risk: a spelling changes a verdict, or a change of the answer does not."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

SPELLINGS = [
    lambda text: text,
    lambda text: f" {text} ",
    lambda text: f"${text}$",
    lambda text: rf"\({text}\)",
    lambda text: rf"{{\displaystyle {text}}}",
    lambda text: rf"{{\color{{blue}} {text}}}",
    lambda text: rf"\color{{red}}{text}",
    lambda text: rf"\displaystyle {text}",
    lambda text: rf"\bf {text}",
    lambda text: f"{text}.",
    lambda text: rf"{text}\,",
    lambda text: rf"\; {text}",
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text.replace(r"\frac", r"\cfrac"),
    lambda text: text.replace(",", ", "),
    lambda text: text.replace(",", r",\ "),
    lambda text: text.replace("+", " + ").replace("=", " = "),
    lambda text: text.replace("-", "\N{MINUS SIGN}"),
    lambda text: text.replace("^2", "²").replace("^3", "³"),
    lambda text: re.sub(r"\^([0-9])", r"^{\1}", text),
    lambda text: text.replace("(", r"\left(").replace(")", r"\right)").replace("[", r"\left[").replace("]", r"\right]"),
    lambda text: text.replace("(", r"\Bigl(").replace("[", r"\Bigl[").replace(")", r"\Bigr)").replace("]", r"\Bigr]"),
    lambda text: text.replace("pmatrix", "bmatrix"),
    lambda text: text.replace(r"\begin{pmatrix}", r"\left(\begin{array}{c}").replace(
        r"\end{pmatrix}", r"\end{array}\right)"
    ),
    lambda text: text.replace(r"\\", r"\\[4pt]"),
]
small = st.integers(2, 30)
answers = st.one_of(
    small.map(str),
    st.integers(1000, 99999).map(str),
    st.builds(lambda a, b: rf"\frac{{{a}}}{{{a * b + 1}}}", small, small),
    st.builds(lambda a, b: f"{a}x^2+{b}y", small, small),
    st.builds(lambda a, b: f"{a}n-{b}", small, small),
    st.builds(lambda a, b: rf"{a}+\sqrt{{{b * b + 1}}}", small, small),
    st.builds(lambda a, b: f"({a},{a + b})", small, small),
    st.builds(lambda a, b: f"[{a},{a + b})", small, small),
    st.builds(lambda a, b: rf"(-\infty,{a}]\cup({a + b},\infty)", small, small),
    st.builds(lambda a, b: rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", small, small),
    st.builds(lambda a, b: f"y={a}x+{b}", small, small),
    st.builds(lambda a, b: f"{a},{a + b}", small, small),
)


def number(text: str, place: int) -> str:
    """One number of ``text`` made larger."""
    found = list(re.finditer(r"[0-9]+", text))
    match = found[place % len(found)]
    # 37 is larger than every difference between the numbers of one answer.
    return text[: match.start()] + str(int(match.group()) + 37) + text[match.end() :]


def sign(text: str, place: int) -> str:
    if "+" in text:
        return text.replace("+", "-", 1)
    return re.sub(r"(?<![0-9{_^])([0-9])", r"-\1", text, count=1) if "frac" not in text else f"-{text}"


def letter(text: str, place: int) -> str:
    return (
        re.sub(r"(?<![A-Za-z\\])[xn](?![A-Za-z])", "w", text) if re.search(r"[0-9][xn]", text) else number(text, place)
    )


def bracket(text: str, place: int) -> str:
    turned = {"[": "(", "]": ")"}
    for old, new in turned.items():
        if old in text:
            return text.replace(old, new, 1)
    return number(text, place)


cases = st.tuples(
    answers,
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS),
    st.sampled_from([number, sign, letter, bracket]),
    st.integers(0, 5),
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(cases, min_size=20, max_size=20))
def test_spellings_keep_the_verdict_and_changes_turn_it(verifier, drawn):
    references, responses, wanted = [], [], []
    for text, first, second, change, place in drawn:
        changed = change(text, place)
        for answer, score in ((text, 1.0), (changed, 0.0)):
            references.append(first(text))
            responses.append(rf"So \boxed{{{second(answer)}}}")
            wanted.append(score)
    scores = [verdict.score for verdict in verifier.verify_batch(references, responses)]
    rows = zip(references, responses, scores, wanted, strict=True)
    assert [row for row in rows if row[2] != row[3]] == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(answers, answers, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_spellings_keep_the_plan_of_two_answers(verifier, reference, answer, first, second):
    plain = verifier.plan(reference, rf"\boxed{{{answer}}}")
    spelled = verifier.plan(first(reference), rf"\boxed{{{second(answer)}}}")
    assert spelled.unscorable == plain.unscorable
    assert None in (spelled.score, plain.score) or spelled.score == plain.score
