"""What a model reaches by any temperature and by majority: a greedy evaluation and one for each temperature.

::

    results.json            one entry for each temperature of the last command, and the best of them
    greedy/                 the folder of the greedy evaluation
    temperature-0.3/        the folder of each other one
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.evaluation.folder import hold
from fdiv_gym.evaluation.plan import Plan
from fdiv_gym.evaluation.results import RESULTS
from fdiv_gym.evaluation.runner import Evaluated, checked_ks, evaluate
from fdiv_gym.runs.folder import WRITER, RunFolder

Step = Callable[[str, int, int], None]
PREFIX = "temperature-"


@dataclass(frozen=True)
class Sweep:
    """A greedy plan and one plan for each temperature, all of one model on the same tasks.

    Args:
        plans: name of the folder of each evaluation, and its plan.
    """

    plans: Mapping[str, Plan]

    @classmethod
    def of(cls, temperatures: Sequence[float], greedy: Plan, plan_at: Callable[[float], Plan]) -> Sweep:
        """A sweep over some temperatures.

        Args:
            temperatures: each above 0, in the order of the table.
            greedy: the greedy plan.
            plan_at: the plan of a temperature.
        """
        return cls({"greedy": greedy} | {f"{PREFIX}{_shortest(t)}": plan_at(t) for t in temperatures})

    def fingerprint(self) -> str:
        """Ten hex digits of the hash of all plans."""
        prints = json.dumps({name: plan.fingerprint() for name, plan in self.plans.items()}, sort_keys=True)
        return hashlib.sha256(prints.encode()).hexdigest()[:10]


def parse_temperatures(text: str) -> list[float]:
    """The temperatures of a comma list such as ``0.1,0.3,1``.

    Raises:
        ConfigError: an empty list or item, not a number, not finite, not above 0, or the same one twice.
    """
    temperatures: list[float] = []
    for item in text.split(","):
        try:
            value = float(item)
        except ValueError:
            raise ConfigError(
                f"--temperature: {item.strip()!r} in {text!r} is not a number; give numbers above 0, e.g. 0.1,0.3,1"
            ) from None
        if not math.isfinite(value) or value <= 0:
            hint = "; the greedy evaluation is always included" if value == 0 else ""
            raise ConfigError(f"--temperature: every temperature must be a finite number above 0, got {value:g}{hint}")
        if value in temperatures:
            raise ConfigError(f"--temperature: {value:g} is given twice")
        temperatures.append(value)
    return temperatures


def evaluate_temperatures(
    sweep: Sweep,
    folder: Path,
    ks: Sequence[int] | None = None,
    threshold: float | None = None,
    progress: Step | None = None,
) -> Evaluated:
    """Evaluate every plan in a folder of its own, and compare them; what is complete is not drawn again.

    Args:
        sweep: the plans.
        folder: contains the folder of each evaluation.
        ks: numbers of responses for pass@k and maj@k; by default 1 and all. The greedy evaluation has one response.
        threshold: a response is correct from this score on; by default the environment's maximum.
        progress: called with (name of the evaluation, tasks done, tasks).

    Raises:
        ConfigError: the folder holds something else, another process writes into it, or a k is out of range.
        EnvError: the environment broke its contract.
        EngineError: the model cannot be served.
    """
    for plan in sweep.plans.values():
        if not plan.greedy:
            checked_ks(ks or [1], plan.samples)
    with hold(folder):
        _refuse_other_files(folder)
        rows = []
        for name, plan in sweep.plans.items():
            chosen = [1] if plan.greedy else list(ks or {1, plan.samples})
            report = None if progress is None else _named(progress, name)
            rows.append(evaluate(plan, folder / name, chosen, threshold, report).results)
        results = {"evaluations": rows, "best": best_of(rows)}
        RunFolder(folder).write_json(RESULTS, results)
    return Evaluated(folder, results)


def _refuse_other_files(folder: Path) -> None:
    names = [path.name for path in folder.iterdir() if path.name != WRITER]
    foreign = [n for n in names if n not in (RESULTS, "greedy") and not n.startswith(PREFIX)]
    if foreign or (RESULTS in names and len(names) == 1):
        raise ConfigError(
            f"{folder} contains something other than an evaluation at several temperatures "
            f"({', '.join(sorted(foreign or names)[:3])}): choose another --output"
        )


def best_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The highest mean score of one response, by a majority vote, and of the two; each with its metric and temperature.

    The mean score of single responses is ``avg@n``; the vote counts at the largest k. A kind that was not measured
    is left out. It is a maximum over the evaluations of the same tasks, so it is somewhat too high for new tasks.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        for kind, prefix in (("single", "avg@"), ("majority", "maj@")):
            name = last_metric(row, prefix)
            if name is None or row["metrics"][name]["value"] is None:
                continue
            found = {"metric": name, "temperature": row["temperature"], **row["metrics"][name]}
            for key in (kind, "any"):
                if key not in best or found["value"] > best[key]["value"]:
                    best[key] = found
    return best


def last_metric(row: Mapping[str, Any], prefix: str) -> str | None:
    """The name of the metric with the largest k, e.g. ``maj@64``; None if there is none."""
    names = [name for name in row["metrics"] if name.startswith(prefix)]
    return max(names, key=lambda name: int(name.partition("@")[2]), default=None)


def _shortest(temperature: float) -> str:
    """``0.5`` or ``1`` where that is exact, else all digits: two temperatures never share a folder."""
    short = f"{temperature:g}"
    return short if float(short) == temperature else repr(temperature)


def _named(progress: Step, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)
