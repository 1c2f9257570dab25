"""Risk: some text crashes the verifier, blocks it, or increases the memory of its processes."""

import os
import random
from importlib import resources
from json import loads

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdiv_gym.types.verdict import Status
from fdiv_gym_mathverify.verifier import MathVerifier

PIECES = [
    "{",
    "}",
    "\\",
    "^",
    "_",
    "(",
    ")",
    "9",
    r"\frac",
    ",",
    "=",
    r"\text{",
    "é",
    "٣",
    "\x00",
    "!",
    r"\sqrt",
    "&",
    "|",
]
LINES = resources.files("fdiv_gym_mathverify").joinpath("fixtures.jsonl").read_text("utf-8").splitlines()
ANSWERS = [
    case["response"].partition("\\boxed{")[2].rpartition("}")[0]
    for case in map(loads, LINES)
    if case["kind"] in ("full", "zero")
]
REFERENCES = ["5", r"\frac{1}{2}", "x^2+1", r"\{1,\sqrt{2}\}", "(1,2)", "x<3", r"\text{yes}", "A", "(", ""]


def mutated(r: random.Random) -> str:
    text = list(r.choice(ANSWERS))
    for _ in range(r.randint(0, 4)):
        text.insert(r.randint(0, len(text)), r.choice(PIECES))
    if r.random() < 0.3 and len(text) > 1:
        del text[r.randrange(len(text))]
    return "\\boxed{" + "".join(text) + "}"


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(deadline_s=3.0, workers=2) as running:
        yield running


def memory_mib() -> int:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) >> 20


def run(verifier: MathVerifier, size: int, seed: int) -> dict[Status, int]:
    r = random.Random(seed)
    references = [r.choice(REFERENCES) for _ in range(size)]
    counts = dict.fromkeys(Status, 0)
    for verdict in verifier.verify_batch(references, [mutated(r) for _ in range(size)]):
        assert verdict.score in (None, 0.0, 1.0)
        counts[verdict.status] += 1
    return counts


def test_mutated_answers(verifier):
    counts = run(verifier, 500, seed=1)
    assert counts[Status.ERROR] == 0
    assert counts[Status.TIMEOUT] <= 2
    assert counts[Status.SCORED] > 300


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), min_size=5, max_size=5), st.sampled_from(REFERENCES))
def test_any_text(verifier, texts, reference):
    for verdict in verifier.verify_batch([reference] * 5, [f"\\boxed{{{text}}}" for text in texts]):
        assert verdict.score in (None, 0.0, 1.0)
        assert verdict.status is not Status.ERROR


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([*PIECES, "x", "1", "+", r"\pi"]), max_size=15).map("".join), max_size=5))
def test_texts_that_look_like_latex(verifier, texts):
    for verdict in verifier.verify_batch(["x^2+1"] * len(texts), [f"\\boxed{{{text}}}" for text in texts]):
        assert verdict.status in (Status.SCORED, Status.TIMEOUT)


@pytest.mark.slow
def test_memory_is_constant_over_ten_thousand_strings(verifier):
    run(verifier, 2000, seed=2)
    before, children = memory_mib(), len(psutil.Process(os.getpid()).children(recursive=True))
    for seed in range(3, 8):
        assert run(verifier, 2000, seed)[Status.ERROR] == 0
    assert memory_mib() < before + 100
    assert len(psutil.Process(os.getpid()).children(recursive=True)) == children
