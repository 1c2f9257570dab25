"""Worker: the symbolic comparison, in a process that may be killed at any time.

Imports neither fdiv_gym nor torch, because every worker loads the imports of this module.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from typing import Any

import sympy
from latex2sympy2_extended import latex2sympy2
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify import grader
from math_verify.errors import TimeoutException
from sympy.core.cache import clear_cache
from sympy.core.evalf import EvalfMixin

from fdiv_gym_mathverify.messages import APPROXIMATELY, FAMILY, SERVER_MARK, Result
from fdiv_gym_mathverify.progressions import same_families
from fdiv_gym_mathverify.refutation import differ, is_finite
from fdiv_gym_mathverify.relations import same_relation
from fdiv_gym_mathverify.symbols import as_letters

MEMORY_BYTES = 1 << 30
RELATIVE_TOLERANCE = 1e-5
_RECURSION = 5000
_CONFIG = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)
_SUPPRESSING = ("simplify", "solve", "safe_sympy_doit", "unwrap_fcs", "sympy_expr_eq")
_WARM_UP = (
    (r"\frac{1}{2}", "0.5"),
    (r"\sqrt{2}+1", r"1+\sqrt{2}"),
    (r"(x+1)^2", r"x^2+2x+1"),
    (r"(-\infty,3]\cup[5,7)", r"[5,7)\cup(-\infty,3]"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    (r"x=2,x=3", r"\{3,2\}"),
    (r"2\pi r^2 \leq 5", r"5 \geq 2\pi r^2"),
    (r"\sin(x)+\cos{y}-\log_2 8", r"|e^{x}|\cdot 3!"),
)


# The parser reads R as r and 30^\\circ as 30 unless it is told not to.
_LETTERS = latex2sympy2.ConversionConfig(lowercase_symbols=False)
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")


class Unparsed(Exception):  # noqa: N818 - an answer that is no mathematics is no fault
    """The parser does not accept the text."""


def number(text: str) -> sympy.Number:
    """A numeral, built without sympify: sympify evaluates the text as code and takes a millisecond."""
    text = text.replace(",", "").replace(" ", "")
    return sympy.Integer(int(text)) if text.isascii() and text.isdigit() else sympy.Float(text)


class LatexParser(latex2sympy2._Latex2Sympy):  # type: ignore[misc]
    """latex2sympy with ``number`` for numerals."""

    def parse_number(self, text: str) -> sympy.Number:
        """A numeral of the grammar."""
        return number(text)


def initialise(memory_bytes: int = MEMORY_BYTES) -> None:
    """Apply the limits of a worker to this process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.setrecursionlimit(_RECURSION)


def judge_limited(pairs: list[tuple[str, str]], cpu_s: int) -> Result:
    """``judge`` under a limit of CPU time, which ends a worker whose parent has ended."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + 1 + cpu_s, hard))
    try:
        result = judge(pairs)
        if _address_space() > resource.getrlimit(resource.RLIMIT_AS)[0] // 2:
            _forget()
        return result
    finally:
        # An idle worker must not be killed while it holds the pool's lock.
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def judge(pairs: list[tuple[str, str]]) -> Result:
    """Whether in every pair (reference, answer) both are equal.

    Both texts must have passed the filter. No text raises an error.
    """
    try:
        for reference, answer in pairs:
            result = _judge_pair(reference, answer)
            if result[1] != 1.0:
                return result
    except (MemoryError, RecursionError) as error:
        return "error", None, f"{type(error).__name__} while comparing"
    except TimeoutException:
        return "timeout", None, "stopped by math-verify"
    return "scored", 1.0, "equivalent"


def _judge_pair(reference: str, answer: str) -> Result:
    if answer.startswith(APPROXIMATELY):
        return _judge_rough(reference, answer.removeprefix(APPROXIMATELY))
    if answer.startswith(FAMILY):
        return _judge_families(reference, answer.removeprefix(FAMILY))
    real = not (grader.should_treat_as_complex(reference) or grader.should_treat_as_complex(answer))
    try:
        gold = _parse(reference, real)
    except Unparsed as error:
        return "unscorable", None, f"the reference does not parse: {error}"
    try:
        pred = _parse(answer, real)
    except Unparsed:
        return "scored", 0.0, "the answer does not parse"
    if differ(gold, pred):
        return "scored", 0.0, "different values"
    with _watch() as faults:
        same, problem = _equal(gold, pred)
    if not same and faults:
        return "error", None, f"{faults[0]} while comparing"
    return "scored", float(same), "equivalent" if same else problem or "not equivalent"


def _judge_rough(reference: str, answer: str) -> Result:
    try:
        wanted, given = complex(_parse(reference, True).evalf(20)), complex(_parse(answer, True).evalf(20))
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the boundary to sympy: what has no value cannot be approximated
        return "scored", 0.0, "an approximation, but not of a number"
    same = abs(wanted - given) * 100 <= abs(wanted)
    return "scored", float(same), "close enough" if same else "two different values"


def _judge_families(reference: str, answer: str) -> Result:
    try:
        same = same_families(reference, answer, lambda text: _parse(text, True))
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the boundary to sympy and the parser: what cannot be compared is not equal
        return "scored", 0.0, f"not comparable ({type(error).__name__})"
    return "scored", float(same), "the same family" if same else "different families"


def _equal(gold: Any, pred: Any) -> tuple[bool, str]:
    try:
        same = grader.verify(gold, pred, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)
        return bool(same) and _close(gold, pred), ""
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the boundary to math-verify: what it cannot compare is not equal
        return False, f"not comparable ({type(error).__name__})"


def _close(gold: Any, pred: Any) -> bool:
    """Refuse letters that differ in case, and values that are equal only because math-verify rounds absolutely."""
    if isinstance(gold, sympy.Symbol) and isinstance(pred, sympy.Symbol) and gold.name != pred.name:
        return bool(gold.name.casefold() != pred.name.casefold())
    if not (isinstance(gold, sympy.Expr) and isinstance(pred, sympy.Expr)) or gold.free_symbols or pred.free_symbols:
        return True
    try:
        wanted, given = gold.evalf(20), pred.evalf(20)
        if not (is_finite(wanted) and is_finite(given)):
            return True
        # As numbers of Python, 1/2004! and 1/2006! would both be 0.
        scale = abs(wanted) if wanted != 0 else sympy.Integer(0)
        if scale == 0 or given == 0:
            return bool(abs(wanted - given) < sys.float_info.min)
        return bool(abs(wanted - given) <= RELATIVE_TOLERANCE * scale)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return True


@lru_cache(maxsize=256)
def _parse(text: str, real: bool) -> Any:
    try:
        degrees = "\\circ" in text and _TRIGONOMETRIC.search(text) is not None
        parser = LatexParser(is_real=real, convert_degrees=degrees, config=_LETTERS)
        parsed = parser.parse(normalize_latex(as_letters(text), _CONFIG))
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the boundary to the parser, which raises bare Exception
        raise Unparsed(type(error).__name__) from None
    if not isinstance(parsed, (sympy.Basic, sympy.MatrixBase)):
        raise Unparsed("no mathematical object")
    if parsed.has(sympy.nan, sympy.zoo):
        raise Unparsed("no value")
    return parsed


@contextlib.contextmanager
def _watch() -> Iterator[list[str]]:
    """Collect the memory and recursion errors that math-verify suppresses.

    Otherwise they would count as "not equal". The wrapped calls are those around which it catches everything.
    """
    faults: list[str] = []
    before = {name: getattr(grader, name) for name in _SUPPRESSING}
    evalf = EvalfMixin.evalf
    for name, function in before.items():
        setattr(grader, name, _reporting(function, faults))
    EvalfMixin.evalf = EvalfMixin.n = _reporting(evalf, faults)
    try:
        yield faults
    finally:
        for name, function in before.items():
            setattr(grader, name, function)
        EvalfMixin.evalf = EvalfMixin.n = evalf


def _reporting(function: Callable[..., Any], faults: list[str]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (MemoryError, RecursionError) as error:
            faults.append(type(error).__name__)
            raise

    return call


def _address_space() -> int:
    """Bytes of address space in use; 0 if the system does not provide it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as sizes:
            return int(sizes.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _forget() -> None:
    # The caches of an expensive pair must not use the memory of the next one.
    clear_cache()
    _parse.cache_clear()
    gc.collect()


def _die_with_parent() -> None:
    # Linux only; elsewhere only the CPU limit ends a worker without a parent.
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    owner = multiprocessing.parent_process()
    if owner is not None and not owner.is_alive():  # it ended before the signal was set, which then is not sent
        os._exit(1)


def _warm_up() -> None:
    # Fills the parser's tables once, in the process that all workers are forked from.
    for reference, answer in _WARM_UP:
        judge([(reference, answer)])


# For a whole text such as "1,234" the parser calls this function of its module, not a method.
latex2sympy2.convert_number = number
grader.sympy_compare_relational = same_relation
logging.getLogger("math_verify").setLevel(logging.ERROR)
if os.environ.get(SERVER_MARK):
    _die_with_parent()
    _warm_up()
