"""Entries of the data sets that depend on the order of a Python ``set``, made in a process with a fixed hash seed.

Without it every process would make other questions, so held-out questions of one process could be training
questions of another. list_functions also uses Python's global generator, which is therefore seeded for each entry.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from fdiv_gym.errors import EnvError

TIMEOUT_S = 300
_MARK = "entries: "
_MAKE = f"""
import contextlib, io, json, random, sys, warnings
name, given, first, last = json.loads(sys.stdin.read())
entries = []
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import reasoning_gym
    dataset = reasoning_gym.create_dataset(name, **given)
    for index in range(first, last):
        random.seed(index)
        entries.append(dataset[index])
print({_MARK!r} + json.dumps(entries, default=str))
"""


def make_entries(name: str, given: Mapping[str, Any], first: int, last: int) -> list[dict[str, Any]]:
    """Entries ``first`` to ``last - 1`` of a data set, with tuples as lists and values without a JSON type as text.

    Args:
        name: the name in reasoning-gym.
        given: its parameters, ``seed`` and ``size`` among them.
        first: index of the first entry.
        last: index after the last entry.

    Raises:
        EnvError: the set failed, or took more than five minutes.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MAKE],
            input=json.dumps([name, dict(given), first, last]),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvError(f"data set {name!r} could not be made in a separate process: {error}"[:300]) from None
    _, found, entries = done.stdout.rpartition(_MARK)
    if done.returncode != 0 or not found:
        reason = (done.stderr.strip().split("\n") or [""])[-1]
        raise EnvError(f"data set {name!r} failed in a separate process: {reason}"[:300])
    made: list[dict[str, Any]] = json.loads(entries)
    return made
