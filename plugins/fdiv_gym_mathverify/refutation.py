"""Refutation: expressions that differ at a point are not equal; for the workers, which have sympy.

To see that two expressions differ, math-verify simplifies their difference, which may take minutes. Their values at one
point take milliseconds. Nothing is proved equal here.
"""

from __future__ import annotations

import zlib
from typing import Any

import sympy
from sympy.core.function import AppliedUndef

_UNEVALUATED = (
    sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative, AppliedUndef, sympy.MatrixExpr, sympy.Mod,
    sympy.floor, sympy.ceiling,
)  # fmt: skip
_DIGITS = 15
_TOLERANCE = 1e-3
_LEAST = 1e-9


def differ(gold: Any, pred: Any) -> bool:
    """Whether two expressions have clearly different values at a point; False may mean anything.

    The values of the letters follow from their names, so that the verdict is the same on every machine.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(pred, sympy.Expr)):
        return False
    symbols = gold.free_symbols | pred.free_symbols
    if gold.has(*_UNEVALUATED) or pred.has(*_UNEVALUATED):
        return False
    point = {symbol: _value(str(symbol)) for symbol in symbols}
    try:
        first, second = gold.evalf(_DIGITS, subs=point), pred.evalf(_DIGITS, subs=point)
        if not (is_finite(first) and is_finite(second)):
            return False
        scale = max(abs(first), abs(second))
        # Terms that cancel leave a rest of rounding, which is no value.
        return bool(scale > _LEAST and abs(first - second) > _TOLERANCE * scale)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the boundary to sympy: what has no value is left to math-verify
        return False


def _value(name: str) -> sympy.Float:
    """A number between 0.3 and 1, equal for equal names."""
    return sympy.Float(f"0.{3 + zlib.crc32(name.encode()) % 7}{zlib.crc32(name.encode()[::-1]):010d}1", _DIGITS)


def is_finite(value: Any) -> bool:
    """Whether a value of sympy is a finite number, real or complex."""
    return all(part.is_Number and part.is_finite for part in value.as_real_imag())
