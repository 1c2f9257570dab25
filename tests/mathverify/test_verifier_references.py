"""Risk: only the right answers to a task can be scored, because its reference can be compared with nothing else."""

import logging

import pytest

import fdiv_gym as fg
from fdiv_gym.testing import check_environment
from fdiv_gym.types.verdict import Status
from fdiv_gym_mathverify import MathVerifier
from fdiv_gym_mathverify.references import is_plain, probes

BAD = [
    "x^2+", r"\unknown{3}+", "((3)", r"a \Rightarrow b", "$$", "", r"\triangle ABC \sim \triangle DEF", r"\frac{1}{0}",
]  # fmt: skip
GOOD = [
    "5", "x^2+1", r"\frac12", "(1,2)", "x=1,y=2", "B", r"\text{red}", r"[1,2]\cup(3,4]", r"x=k\pi, k\in\mathbb{Z}",
    r"\begin{pmatrix}1\\2\end{pmatrix}", "1:2:3", r"\pm 3", r"5\text{ cm}", r"\{1,2\}", "10:30 PM", r"\emptyset",
    r"\log_2 3", "A, C", r"90^\circ", r"x \leq 3", "3!", "|x|", r"\sin^2 x", "1010_2", "P(2,3)", "x^2+y^2=1",
]  # fmt: skip


def test_a_task_with_such_a_reference_has_no_score_at_all(verifier):
    for text in (r"\boxed{x^2+}", r"\boxed{x}", r"\boxed{1,2,3}", "no box"):
        verifier.verify("x^2+", text)
    for text in (r"\boxed{x^2+}", r"\boxed{x}", r"\boxed{1,2,3}", "no box"):
        assert verifier.verify("x^2+", text).status is Status.UNSCORABLE


@pytest.mark.parametrize(
    "reference", [r"\begin{cases} x & x>0 \\ -x & x<0 \end{cases}", r"x \equiv 3 \pmod 5", "z^2+", "(z+,3)"]
)
def test_a_score_does_not_depend_on_what_was_judged_before(verifier, reference):
    responses = [rf"\boxed{{{reference}}}", r"\boxed{7}", "no box", r"\boxed{1,2,3}", r"\boxed{x}"]
    for first in responses:
        verifier._judgeable.clear()
        assert verifier.verify(reference, first).status is Status.UNSCORABLE, first


def test_in_one_batch(verifier):
    verdicts = verifier.verify_batch(["y^2+"] * 3 + ["5"], [r"\boxed{y^2+}", r"\boxed{2,3}", "none", r"\boxed{5}"])
    assert [verdict.score for verdict in verdicts] == [None, None, None, 1.0]


def test_the_references_that_cannot_be_compared(verifier):
    reasons = verifier.unjudgeable(BAD + GOOD)
    assert all(reasons[: len(BAD)])
    assert not any(reasons[len(BAD) :])


def test_another_extraction_finds_the_same():
    with MathVerifier(extraction="hash") as verifier:
        assert [bool(reason) for reason in verifier.unjudgeable(["x^2+", "x^2+1"])] == [True, False]


@pytest.mark.parametrize("reference", ["5", "x^2+1", r"\frac{a}{b}", r"2\pi r", "(1,2)", r"3\sqrt{2}"])
def test_ordinary_references_need_no_probe(reference):
    assert is_plain(reference)
    assert reference not in probes(reference)


@pytest.mark.parametrize("reference", ["x+", "(x", r"\foo{2}", "x^", "1..2", r"\frac{1}{0}", "=3", "3=", "5/0"])
def test_other_references_are_probed(reference):
    assert not is_plain(reference)


def test_an_environment_counts_and_lists_them(tmp_path, caplog):
    source = tmp_path / "a.jsonl"
    rows = [f'{{"problem": "How much is {n}?", "answer": "{n}"}}' for n in range(30)]
    source.write_text("\n".join([*rows, '{"problem": "What is it?", "answer": "x^2+"}']))
    env = fg.make("math/Dataset-v0", source=str(source), heldout_fraction=0.3)
    with caplog.at_level(logging.WARNING):
        env.task_list("train")
        env.task_list("heldout")
    assert any("no answer can be compared with 1 references" in record.getMessage() for record in caplog.records)
    report = check_environment(env)
    assert any("x^2+" in note for note in report.notes), report.notes
