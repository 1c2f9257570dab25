"""The claims of the theory: each is measured and compared with its bound."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.objectives import objective_claims

Measure = Callable[[], Claim]
"""A function that measures one claim; the first line of its docstring states the claim."""

#: The families of claims, in display order; each module defines a tuple ``CLAIMS``, some also ``MEASUREMENTS``.
FAMILIES = (
    "variational", "training", "policy", "on_policy", "groups", "fixed_points", "hybrid", "trainers", "invariance",
    "weighting", "options", "functions", "generators", "dimensions", "cycles", "defaults",
)  # fmt: skip

__all__ = [
    "FAMILIES",
    "Claim",
    "Measure",
    "check_claims",
    "list_claims",
    "list_measurements",
    "measure_all",
    "one_thread",
]


def list_claims() -> list[Measure]:
    """What is measured: the claims of the families, one for each registered objective, and the measurements.

    A claim has a bound that can refute it. Objectives without a formula are reported without a bound.
    """
    claims = [measure for family in _families() for measure in family.CLAIMS]
    return [*claims, *objective_claims(), *list_measurements()]


def list_measurements() -> list[Measure]:
    """The measurements among them: numbers that no bound judges."""
    return [measure for family in _families() for measure in getattr(family, "MEASUREMENTS", ())]


def check_claims(on_claim: Callable[[Claim], None] | None = None) -> list[Claim]:
    """Measure every claim.

    Args:
        on_claim: called with each measured claim.

    Returns:
        The claims in order; a claim whose measurement raises counts as failed.
    """
    return measure_all(list_claims(), on_claim)


def measure_all(measures: Sequence[Measure], on_claim: Callable[[Claim], None] | None = None) -> list[Claim]:
    """Measure some claims; see ``check_claims``."""
    with one_thread():
        return [_measured(measure, on_claim) for measure in measures]


def _families() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{family}") for family in FAMILIES]


def _measured(measure: Measure, on_claim: Callable[[Claim], None] | None) -> Claim:
    try:
        claim = measure()
    except Exception as error:
        summary = (measure.__doc__ or measure.__name__).strip().splitlines()[0]
        claim = Claim(summary, "", float("nan"), 0.0, detail=f"raised {type(error).__name__}: {error}")
    claim = dataclasses.replace(claim, id=measure.__name__)
    if on_claim is not None:
        on_claim(claim)
    return claim


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the tensors are tiny, and the synchronisation of threads takes seconds."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
