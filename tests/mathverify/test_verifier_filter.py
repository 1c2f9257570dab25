"""Risk: model output runs as code, or takes unbounded time outside a process that can be killed."""

import builtins
import importlib
import json
import sys
import time
import types
from importlib import resources

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from fdiv_gym_mathverify import fast, worker
from fdiv_gym_mathverify.filter import Limits, refusal
from fdiv_gym_mathverify.plan import make_plan

ARITHMETIC = set("0123456789+-*/^(). ")

# Import statements, and sympy's generator of "a0 + b0, a1 + b1" for n variables: they contain no text of a response.
OWN_CODE = {"importlib._bootstrap", "importlib._bootstrap_external", "sympy.polys.monomials"}

INJECTIONS = [
    "__import__('os').system('touch PWNED')",
    'exec(\'open("PWNED","w")\')',
    "eval('1')",
    "open('PWNED','w')",
    "().__class__.__base__.__subclasses__()",
    "(lambda: 1)()",
    "[i for i in (1,)]",
    "Integer(1).__class__.__init__.__globals__",
    "sympify('1')",
    "parse_expr('1')",
    "lambdify(x, 1)",
    r"\operatorname{eval}(1)",
    r"\operatorname{__import__}(os)",
    r"\operatorname{zeros}(100000,100000)",
    r"\operatorname{eye}(100000)",
    r"\operatorname{svd}(x)",
    r"\text{__import__('os')}",
    r"\mathrm{exec}(1)",
    r"x_{__import__('os').system('touch PWNED')}",
    r"f(__import__('os'))",
    r"\frac{exec(1)}{eval(1)}",
    r"\input{/etc/passwd}",
    r"\write18{touch PWNED}",
    r"\variable{exec('1')}",
    "1; import os",
    "1\nimport os",
    "${7*7}",
    "{{7*7}}",
    "%s%n",
    "$(touch PWNED)",
    "`touch PWNED`",
    "1 if True else 2",
    "print(1)",
    "globals()",
    "os.system",
    "x.subs(x,1)",
    "E.func",
    "S(1)",
    "\x00exec",
    "1\\",
    "@decorator",
    "#!/bin/sh",
    "9**9**9**9",
]


@pytest.fixture
def seen(monkeypatch):
    """Every text that eval, exec, sympify and parse_expr receive, wherever they were imported to."""
    worker._warm_up()  # sympy imports some modules at first use, and they build constants from fixed texts
    texts: list[str] = []

    def hooked(original):
        def call(*args, **options):
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if args and isinstance(args[0], (str, bytes, types.CodeType)) and caller not in OWN_CODE:
                texts.append(args[0] if isinstance(args[0], str) else repr(args[0]))
            return original(*args, **options)

        return call

    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, hooked(getattr(builtins, name)))
    for name, home in (("sympify", "sympy.core.sympify"), ("parse_expr", "sympy.parsing.sympy_parser")):
        original = getattr(importlib.import_module(home), name)
        replacement = hooked(original)
        for module in list(sys.modules.values()):
            package = getattr(module, "__name__", "").partition(".")[0]
            if package in ("sympy", "latex2sympy2_extended", "math_verify") and vars(module).get(name) is original:
                monkeypatch.setattr(module, name, replacement)
    return texts


def test_the_hooks_record_evaluated_texts(seen):
    sympy.sympify("7*6")
    assert "7*6" in seen


def through_the_worker(reference: str, answer: str):
    plan = make_plan(reference, answer, Limits())
    if plan.pairs:
        return worker.judge([pair for pair in plan.pairs if fast.decide(*pair) is None])
    return "scored", plan.score, plan.detail


@pytest.mark.parametrize("text", INJECTIONS)
def test_injected_code_is_not_run_and_scores_0(text, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for reference in ("1", "x^2", r"\{1,\sqrt{2}\}"):
        assert through_the_worker(reference, text)[1] == 0.0
    # Without the filter: a text that it rejects is parsed as LaTeX only.
    worker.judge([("x^2", text)])
    assert [entry for entry in seen if not set(entry) <= ARITHMETIC] == []
    assert list(tmp_path.iterdir()) == []


def test_only_arithmetic_is_ever_evaluated_on_the_fixtures(seen):
    lines = resources.files("fdiv_gym_mathverify").joinpath("fixtures.jsonl").read_text("utf-8").splitlines()
    for case in map(json.loads, lines[::3]):
        found = case["response"].partition("\\boxed{")[2].rpartition("}")[0]
        through_the_worker(case["reference"], found)
    assert [entry for entry in seen if not set(entry) <= ARITHMETIC] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1" * 1001, "characters"),
        ("1" * 300, "digits"),
        ("(" * 21 + "1" + ")" * 21, "nested"),
        ("(1", "an opening bracket has no closing one"),
        ("1)", "a closing bracket has no opening one"),
        ("٣", "character"),
        ("x²", "character"),
        ("\N{FULLWIDTH DIGIT ONE}", "character"),
        ('"', "character"),
        ("9^{9^{9}}", "tower"),
        ("9^9^9", "tower"),
        ("9^{(9!)}", "tower"),
        ("((9^{999})^{99})^{999}", "multiply"),
        ("10^{100000}", "exponent"),
        ("1e99999", "exponent"),
        ("20000!", "factorial"),
        (r"\binom{100000}{2}", "binomial"),
        (r"\operatorname{zeros}(9)", "operator"),
        (r"\input{x}", "command"),
    ],
)
def test_refused(text, reason):
    assert reason in refusal(text, Limits())


@pytest.mark.parametrize(
    "text",
    ["42", "x^{10000}", "5!", r"\binom{10}{5}", "e^{x^2}", "1e10", r"\frac{1}{2}", "(" * 20 + "1" + ")" * 20, "2^{x}"],
)
def test_allowed(text):
    assert refusal(text, Limits()) == ""


def test_an_answer_may_be_as_large_as_the_reference():
    assert make_plan("(1+x)^{20000}", "(x+1)^{20000}", Limits()).pairs
    assert make_plan("x", "(x+1)^{20000}", Limits()).score == 0.0


@pytest.mark.parametrize(
    "piece", [r"\boxed{", "1+", "(", "{", "9", "^", r"\frac", r"\text{", "a", ",", " ", "\\", "é", "!"]
)
def test_a_megabyte_is_refused_by_its_length(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    assert make_plan("1", text, Limits()).score == 0.0
    assert make_plan(text, "1", Limits()).unscorable
    assert time.perf_counter() - start < 1.0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_gets_a_plan(reference, answer):
    plan = make_plan(reference, answer, Limits())
    assert plan.score in (None, 0.0, 1.0)
    for pair in plan.pairs:
        assert all(text.isascii() for text in pair)
