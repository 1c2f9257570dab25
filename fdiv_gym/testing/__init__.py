"""Conformance kits: check a plugin against its contract and get a report of everything that is wrong."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fdiv_gym.testing.report import Check, Report

if TYPE_CHECKING:
    from fdiv_gym.testing.divergence import check_divergence as check_divergence
    from fdiv_gym.testing.objective import check_objective as check_objective

# Kits that import torch, with the module that holds each.
_LAZY = {
    "check_divergence": "fdiv_gym.testing.divergence",
    "check_objective": "fdiv_gym.testing.objective",
}

__all__ = ["Check", "Report", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fdiv_gym.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
