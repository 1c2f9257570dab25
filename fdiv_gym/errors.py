"""The errors of fdiv-gym: one root class, and one class for each boundary that a failure can cross.

A message names the fault, its place and the remedy. The command line prints it on one line and
exits with status 2; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FdivGymError(Exception):
    """Root of every error that fdiv-gym raises on purpose."""


class PluginError(FdivGymError):
    """A plugin is missing, broken, blocked or breaks its contract."""


class UnknownNameError(PluginError):
    """A name that no plugin registered; the message lists the closest registered names."""


class MissingExtraError(PluginError):
    """A plugin needs a package that is not installed; the message contains the pip command."""


class ConfigError(FdivGymError):
    """A run configuration or an option is wrong."""


class EnvError(FdivGymError):
    """An environment was used wrongly or broke its contract."""


class VerifierError(FdivGymError):
    """A verifier could not be started or was misused (a wrong answer is a Verdict, not an error)."""


class JudgeError(FdivGymError):
    """A judge could not be started, or too many of its verdicts were unscorable."""


class EngineError(FdivGymError):
    """A rollout engine could not load a model, generate, or take new weights."""


class TrainerError(FdivGymError):
    """Training cannot start, continue or be stored."""


class BenchError(FdivGymError):
    """A matrix, a record or a bundle of the bench is wrong, incomplete or contradicts itself."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown ``name``: the closest known names, or the first known names."""
    known = sorted(set(known))
    if not known:
        return "none is registered"
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown}"
