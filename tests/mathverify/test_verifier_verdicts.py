"""Risk: a right answer is scored 0, a wrong one 1, or an undecided pair gets a score."""

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from fdiv_gym.errors import ConfigError, VerifierError
from fdiv_gym.types.verdict import Status
from fdiv_gym_mathverify import worker
from fdiv_gym_mathverify.verifier import MathVerifier


def box(answer: str) -> str:
    return f"So it is \\boxed{{{answer}}}."


def test_there_are_enough_fixtures_of_every_kind(verifier):
    fixtures = verifier.fixtures()
    assert len(fixtures) >= 400
    assert {fixture.kind for fixture in fixtures} == {"full", "zero", "malformed", "adversarial", "determinism"}
    assert len({(f.kind, f.reference, f.response, f.note) for f in fixtures}) == len(fixtures)


def test_every_fixture_gets_its_score(verifier):
    fixtures = verifier.fixtures()
    verdicts = verifier.verify_batch([f.reference for f in fixtures], [f.response for f in fixtures])
    wrong = [(f, v) for f, v in zip(fixtures, verdicts, strict=True) if v.score != f.expected]
    assert wrong == []


def test_the_four_statuses(verifier):
    assert verifier.verify("x^2", box("x*x")).score == 1.0
    assert verifier.verify("x^2", box("x*y")).score == 0.0
    unscorable = verifier.verify("x^2+", box("x"))
    assert (unscorable.status, unscorable.score) == (Status.UNSCORABLE, None)


@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
def test_a_fault_that_math_verify_suppresses_is_no_wrong_answer(fault, monkeypatch):
    def broken(*args, **options):
        raise fault

    monkeypatch.setattr(worker.grader, "simplify", broken)
    assert worker.judge([("(x+y)^2", "x^2+2xy+y^2")])[:2] == ("error", None)


def test_faults_inside_methods_are_seen_too(monkeypatch):
    def broken(self, *args, **options):
        raise MemoryError

    monkeypatch.setattr(worker.EvalfMixin, "evalf", broken)
    assert worker.judge([(r"\sqrt{2}+x", r"\sqrt{3}+x")])[:2] == ("error", None)


def test_a_fault_in_the_parser_is_an_error(monkeypatch):
    def broken(*args, **options):
        raise RecursionError

    monkeypatch.setattr(worker.LatexParser, "parse", broken)
    worker._parse.cache_clear()
    assert worker.judge([("(x+y)^2", "x^2+2xy+y^2")])[:2] == ("error", None)


def test_batch_keeps_the_order_and_mixes_paths(verifier):
    references = ["1", "x^2", "A", "2", "y^2"] * 20
    responses = [box("1"), box("x x"), box("B"), box("3"), box("y^3")] * 20
    scores = [verdict.score for verdict in verifier.verify_batch(references, responses)]
    assert scores == [1.0, 1.0, 0.0, 0.0, 0.0] * 20


def test_lengths_must_agree(verifier):
    with pytest.raises(VerifierError, match="2 references but 1 responses"):
        verifier.verify_batch(["1", "2"], ["1"])


def test_from_threads(verifier):
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda k: verifier.verify(f"x^2+{k}x", box(f"x(x+{k})")).score, range(2, 42)))
    assert results == [1.0] * 40


def test_from_asyncio(verifier):
    async def many():
        return await asyncio.gather(*(verifier.verify_async(f"x+{k}", box(f"{k}+x")) for k in range(10)))

    assert [verdict.score for verdict in asyncio.run(many())] == [1.0] * 10


def test_a_pickled_copy_works_and_carries_no_pool(verifier):
    state = pickle.dumps(verifier)
    assert len(state) < 2000
    with pickle.loads(state) as copy:
        assert copy.options == verifier.options
        assert copy.verify("x^2", box("x*x")).score == 1.0


@pytest.mark.parametrize(
    ("options", "reference", "response", "score"),
    [
        ({"extraction": "hash"}, "4", "#### 4", 1.0),
        ({"extraction": "answer-tag"}, "4", "<answer>4</answer>", 1.0),
        ({"extraction": "last-number"}, "4", "3 or so, in fact 4", 1.0),
        ({"extraction": "whole"}, "4", "4", 1.0),
        ({"extraction": "whole"}, "4", "it is 4", 0.0),
        ({"strict": True}, "4", r"\boxed{4} \boxed{4}", 0.0),
        ({}, "4", r"\boxed{4 \text{ eggs}}", 1.0),
        ({"strict": True}, "4", r"\boxed{4 \text{ eggs}}", 0.0),
        ({"strict": True}, r"4 \text{ eggs}", r"\boxed{4 \text{ eggs}}", 1.0),
        ({"allow_unevaluated": True, "extraction": "whole"}, "5", "10/2", 1.0),
        ({"max_length": 5}, "4", r"\boxed{4.00000}", 0.0),
    ],
)
def test_options(options, reference, response, score):
    assert MathVerifier(**options).verify(reference, response).score == score


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="deadline_s"):
        MathVerifier(deadline=1)
    with pytest.raises(ConfigError):
        MathVerifier(extraction="guess")


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"0.\overline{3}", r"\frac13", 1.0),
        (r"\frac{-1 \pm \sqrt{5}}{2}", r"\frac{-1+\sqrt5}{2}, \frac{-1-\sqrt5}{2}", 1.0),
        (r"0, \pm 2", "-2,0,2", 1.0),
        (r"2 \pm \sqrt{3}", r"2+\sqrt{3}", 0.0),
        ("a=1, b=2", "b=2, a=1", 1.0),
        ("a=1, b=2", "a=2, b=1", 0.0),
        ("a=1, b=2", "1,2", 1.0),
        ("a=1, b=2", "2,1", 0.0),
        ("(x,y)=(1,2)", "(1,2)", 1.0),
        ("(1,2)", "(x,y)=(1,2)", 1.0),
        ("x=1,x=2", "y=1,y=2", 0.0),
        (r"\langle 1,2 \rangle", "(1,2)", 1.0),
        ("1<x<2", "(1,2)", 1.0),
        ("(1,2)", "1<x<2", 1.0),
        ("x>3", r"[3,\infty)", 0.0),
        ("5", "x<5", 0.0),
        ("5 \\text{ cm}", "5cm", 1.0),
        ("5/2", "2 1/2", 1.0),
        (r"\sec^2 x", r"\sec^2(x)", 1.0),
        ("2", "1 2", 0.0),
        ("5", "5x", 0.0),
        ("1+i", "1-i", 0.0),
    ],
)
def test_forms_of_answers(verifier, reference, answer, score):
    assert verifier.verify(reference, box(answer)).score == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("156", r"12 \div \frac{1}{13}", 0.0), ("156", r"\frac{12}{\frac{1}{13}}", 0.0), ("7", r"3+\frac{8}{2}", 0.0),
        ("7", r"3+\sqrt{16}", 0.0), ("7", r"\max(3,7)", 0.0), ("7", r"17 \bmod 10", 0.0), ("6", r"\gcd(12,18)", 0.0),
        (r"\sqrt{2}+\frac{1}{2}", r"\frac{1}{2}+\sqrt{2}", 1.0), (r"\emptyset", r"\varnothing", 1.0),
        (r"\emptyset", r"\{ \}", 1.0), (r"\varnothing", "∅", 1.0), (r"\emptyset", r"\{0\}", 0.0),
        (r"\emptyset", "0", 0.0),
        (r"2\sqrt{3}", "2√3", 1.0), (r"\sqrt{x+1}", "√(x+1)", 1.0), (r"\sqrt{12}", "√12", 1.0),
        (r"2\sqrt{3}", "√2", 0.0),
        ("-3", "\u20103", 1.0), ("-3", "\u20113", 1.0),
    ],
)  # fmt: skip
def test_forms_that_are_no_number_yet_and_signs_of_unicode(verifier, reference, answer, score):
    assert verifier.verify(reference, box(answer)).score == score
