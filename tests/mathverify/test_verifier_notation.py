"""Risk: a derivative, a primed or an inverse function is computed as if it were a quotient or a power."""

import time

import pytest
from judging import score_of

from fdiv_gym_mathverify.notation import as_symbols


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("A^T", "A"), ("A^{T}", "A"), ("B^T+A", "B+A"), ("a^Tb", "ab"), ("f^{(3)}(x)", "f(x)^3"), ("x^{(2)}", "x^2"),
        ("f^{(n)}(0)", "f(0)^n"), ("f^{(2)}(x)", "f^{(3)}(x)"), (r"A^{\mathrm{T}}", "A"),
        (r"\frac{dy}{dx}", "0"), (r"\frac{dy}{dx}", r"\frac{y}{x}"), (r"\frac{d^2y}{dx^2}", "0"),
        (r"\frac{d^2y}{dx^2}", r"\frac{y}{x^2}"), (r"\frac{d^2y}{dx^2}", r"\frac{dy}{dx}"),
        (r"\frac{\partial f}{\partial x}", "0"),
        (r"\frac{dy}{dx}", r"\frac{\partial y}{\partial x}"), (r"\frac{dy}{dx}", r"\frac{dx}{dy}"),
        (r"\frac{dv}{dt}", r"\frac{v}{t}"),
        (r"2\frac{dy}{dx}", "0"), (r"\frac{dy}{dx}+1", "1"), (r"\frac{d}{dx}f(x)", "0"), ("2x", r"\frac{d}{dx}x^2"),
        (r"\frac{d}{dx}x^2", "2x"), ("dy/dx", "y/x"), (r"\frac{\Delta y}{\Delta x}", r"\frac{y}{x}"), ("f'(x)", "0"),
        ("f'(x)", "f(x)"), ("f'(x)", "f''(x)"), ("f'(x)+g(x)", "f(x)+g'(x)"), ("f'(x)", "g'(x)"), ("f'(a)", "f'(b)"),
        ("f^{-1}(x)", "1/f(x)"), ("f^{-1}(x)", r"\frac{1}{f(x)}"), ("f^{-1}(2)", "1/f(2)"), ("g^{-1}(x)", "1/g(x)"),
        ("f^{-1}", "1/f"), (r"\frac{1}{f(x)}", "f^{-1}(x)"), ("f^{-1}(x)=2x", "1/f(x)=2x"), ("f^{-1}(x)=2x", "f(x)=2x"),
        (r"\frac{dy}{dx}=2x", "0=2x"), (r"\frac{dy}{dx}=2x", "y=2x"), (r"\frac{dy}{dx}=2x", r"\frac{dx}{dy}=2x"),
    ],
)  # fmt: skip
def test_symbols_are_not_computed(reference, answer):
    assert score_of(reference, answer) == 0.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\frac{dy}{dx}", r"\frac{dy}{dx}"), (r"\frac{dy}{dx}", "dy/dx"),
        (r"\frac{dy}{dx}", r"\frac{\mathrm{d}y}{\mathrm{d}x}"),
        (r"\frac{dy}{dx}", r"\frac{d y}{d x}"), (r"2\frac{dy}{dx}", r"\frac{dy}{dx} \cdot 2"),
        (r"\frac{dy}{dx}=x(x+1)", r"\frac{dy}{dx}=x^2+x"), (r"\frac{dy}{dx}=2x", "2x"), ("2x", r"\frac{dy}{dx} = 2x"),
        ("f'(x)=2x", "2x"), ("2x", "f'(x)=2x"), ("5", "f'(2)=5"), ("f'(x)+1", "1+f'(x)"), ("x^2f'(x)", "f'(x) x^2"),
        ("f^{-1}(x)=2x", "2x"), ("2x", "f^{-1}(x)=2x"), ("f^{-1}(x)+1", "1+f^{-1}(x)"), (r"\frac{1}{f(x)}", "1/f(x)"),
        ("A^T", "A^{T}"), ("B^T+A", "A+B^T"), (r"A^{\mathrm{T}}", "A^T"), ("f^{(3)}(x)+1", "1+f^{(3)}(x)"),
        ("x^2", "x^{2}"),
        ("x^{-1}", "1/x"), (r"\sin^{-1}(x)", r"\arcsin(x)"), ("5", r"5 \text{ h}"),
    ],
)  # fmt: skip
def test_symbols_are_symbols(reference, answer):
    assert score_of(reference, answer) == 1.0


@pytest.mark.parametrize(
    "text", [r"\frac{d" * 200, "f'(" * 400, "f'(" + "(a)" * 400, "f^{-1}(" * 200, "d/d" * 400, "d^2" * 400, "'" * 1000]
)
def test_hostile_texts_are_read_quickly(text):
    begun = time.process_time()
    as_symbols(text[:1000], text[:1000])
    assert time.process_time() - begun < 0.1
