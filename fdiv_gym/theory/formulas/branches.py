"""The two branches g(v) and f*(g(v)) in numpy, from the generator, its conjugate and its link.

Links of f-GAN (arXiv 1606.00709, table 2); conjugates are composed with links and not simplified.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fdiv_gym.theory.formulas.data import Array

Function = Callable[[Array], Array]

#: name: (f, f*, g) of the six divergences of arXiv 2602.05946.
SIX: dict[str, tuple[Function, Function, Function]] = {
    "kl": (lambda t: t * np.log(t), lambda s: np.exp(s - 1), lambda v: v),
    "reverse_kl": (lambda t: -np.log(t), lambda s: -1 - np.log(-s), lambda v: -np.exp(-v)),
    "pearson": (lambda t: (t - 1) ** 2, lambda s: s + s**2 / 4, lambda v: v),
    "hellinger": (lambda t: (np.sqrt(t) - 1) ** 2, lambda s: s / (1 - s), lambda v: 1 - np.exp(-v)),
    "jensen_shannon": (
        lambda t: t * np.log(t) - (t + 1) * np.log((t + 1) / 2),
        lambda s: -np.log(2 - np.exp(s)),
        lambda v: np.log(2) - np.log(1 + np.exp(-v)),
    ),
    "total_variation": (lambda t: np.abs(t - 1) / 2, lambda s: s, lambda v: np.tanh(v) / 2),
}

#: Links other than that of f-GAN: (divergence, link): g.
LINKS: dict[tuple[str, str], Function] = {
    ("kl", "calibrated"): lambda v: v + 1,
    ("pearson", "universal"): lambda v: 2 * (np.exp(v) - 1),
    ("hellinger", "universal"): lambda v: 1 - np.exp(-v / 2),
}

#: name: f' of the six; total variation at its kink by the middle of the subdifferential.
SLOPES: dict[str, Function] = {
    "kl": lambda t: np.log(t) + 1,
    "reverse_kl": lambda t: -1 / t,
    "pearson": lambda t: 2 * (t - 1),
    "hellinger": lambda t: 1 - 1 / np.sqrt(t),
    "jensen_shannon": lambda t: np.log(2 * t / (1 + t)),
    "total_variation": lambda t: np.sign(t - 1) / 2,
}


def branches(divergence: str, link: str = "") -> tuple[Function, Function]:
    """The branches g and f* o g."""
    _, conjugate, link_of_f_gan = SIX[divergence]
    g = LINKS.get((divergence, link), link_of_f_gan)
    return g, lambda v: conjugate(g(v))


def terms_of(divergence: str, ratio: Array, from_policy: bool = True) -> Array:
    """f(t) - f'(1)(t - 1), whose mean under Q is D_f(P||Q); divided by t, for samples of P."""
    centre = SLOPES[divergence](np.ones(1))
    terms = SIX[divergence][0](ratio) - centre * (ratio - 1)
    return np.asarray(terms / ratio if from_policy else terms)


def divergence_of(divergence: str, p: Array, q: Array) -> float:
    """D_f(P||Q) = E_Q[f(P/Q)] of two positive vectors [n] of equal mass."""
    f = SIX[divergence][0]
    return float((q * f(p / q)).sum())
