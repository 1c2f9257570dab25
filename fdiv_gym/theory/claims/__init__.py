"""The claims of the theory: each is measured and compared with its bound."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator

from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.objectives import objective_claims

Measure = Callable[[], Claim]
"""A function that measures one claim; the first line of its docstring states the claim."""

#: The families of claims, in display order; each module defines a tuple ``CLAIMS``.
FAMILIES = (
    "variational", "training", "policy", "on_policy", "groups", "fixed_points", "hybrid", "trainers", "invariance",
    "weighting",
)  # fmt: skip

__all__ = ["FAMILIES", "Claim", "Measure", "check_claims", "list_claims", "one_thread"]


def list_claims() -> list[Measure]:
    """The functions that measure the claims: those of the families, and one for each registered objective."""
    families = [importlib.import_module(f"{__name__}.{family}") for family in FAMILIES]
    return [measure for family in families for measure in family.CLAIMS] + objective_claims()


def check_claims(on_claim: Callable[[Claim], None] | None = None) -> list[Claim]:
    """Measure every claim.

    Args:
        on_claim: called with each measured claim.

    Returns:
        The claims in order; a claim whose measurement raises counts as failed.
    """
    with one_thread():
        return [_measured(measure, on_claim) for measure in list_claims()]


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
