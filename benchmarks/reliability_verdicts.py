"""Planted faults of scorers: each must become a verdict without a score, or an error that names the plugin."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fdiv_gym as fg
from fdiv_gym.envs import Split
from fdiv_gym.registry import verified_by
from fdiv_gym.rollouts import score_checked

BATCH = 8
#: Faults of one verdict: they take the right one and return, or raise, something else.
OF_ONE: dict[str, Callable[[fg.Verdict], Any]] = {
    "None": lambda v: None,
    "a number": lambda v: 1.0,
    "text": lambda v: "1.0",
    "a table": lambda v: {"score": 1.0, "status": "scored"},
    "a tuple": lambda v: (1.0, "scored"),
    "a coroutine function": lambda v: fg.Verdict.scored,
    "NaN": lambda v: forged(v, score=math.nan),
    "inf": lambda v: forged(v, score=math.inf),
    "-inf": lambda v: forged(v, score=-math.inf),
    "above the range": lambda v: forged(v, score=1.5),
    "below the range": lambda v: forged(v, score=-1e-9),
    "an integer of 400 digits": lambda v: forged(v, score=10**400),
    "a score as text": lambda v: forged(v, score="1.0"),
    "an array as score": lambda v: forged(v, score=np.ones(2)),
    "numpy's NaN": lambda v: forged(v, score=np.float32("nan")),
    "a component NaN": lambda v: fg.Verdict.scored(0.5, part=math.nan),
    "a component of text": lambda v: forged(v, components={"part": "1"}),
    "a component without name": lambda v: forged(v, components={3: 1.0}),
    "components None": lambda v: forged(v, components=None),
    "a detail of bytes": lambda v: forged(v, detail=b"\xff"),
    "a detail None": lambda v: forged(v, detail=None),
    "NaN at construction": lambda v: fg.Verdict.scored(math.nan),
    "raises ValueError": lambda v: throw(ValueError("planted")),
    "raises with a megabyte": lambda v: throw(ValueError("x" * 1_000_000)),
    "raises with a surrogate": lambda v: throw(ValueError("cut \ud83d")),
    "raises with escapes": lambda v: throw(RuntimeError("\x1b]0;owned\x07")),
    "raises MemoryError": lambda v: throw(MemoryError()),
    "raises RecursionError": lambda v: throw(RecursionError("planted")),
    "raises SystemExit": lambda v: throw(SystemExit(0)),
    "raises StopIteration": lambda v: throw(StopIteration()),
    "raises an exception group": lambda v: throw(ExceptionGroup("planted", [ValueError("a"), KeyError("b")])),
}
#: Faults of a whole batch.
OF_ALL: dict[str, Callable[[list[Any]], Any]] = {
    "one verdict too few": lambda vs: vs[1:],
    "one verdict too many": lambda vs: [*vs, vs[0]],
    "no verdicts": lambda vs: [],
    "None for the batch": lambda vs: None,
    "a generator": lambda vs: (v for v in vs),
    "a table of verdicts": lambda vs: dict(enumerate(vs)),
    "text for the batch": lambda vs: "ok" * len(vs),
}
ROLES = ("environment", "verifier", "judge")
FAULTS = (*OF_ONE, *OF_ALL)


def forged(verdict: fg.Verdict, **fields: Any) -> fg.Verdict:
    """A verdict with fields that its constructor would have refused."""
    other = fg.Verdict(verdict.score, verdict.status, verdict.components, verdict.detail)
    for name, value in fields.items():
        object.__setattr__(other, name, value)
    return other


def throw(error: BaseException) -> Any:
    """Raise an error inside an expression."""
    raise error


class Planted:
    """The fault of the next batches: its name, and the position in the batch."""

    fault = ""
    response = ""

    @classmethod
    def apply(cls, responses: Sequence[str]) -> Any:
        """The verdicts of these responses; 1 for ``right``, 0 for others."""
        verdicts: list[Any] = []
        for response in responses:
            verdict = fg.Verdict.scored(float(response.startswith("right")))
            wrong = cls.fault in OF_ONE and response == cls.response
            verdicts.append(OF_ONE[cls.fault](verdict) if wrong else verdict)
        broken = cls.fault in OF_ALL and cls.response in responses
        return OF_ALL[cls.fault](verdicts) if broken else verdicts


class PlantedVerifier(fg.Verifier):
    """Has the planted fault."""

    def verify_batch(self, references: Sequence[str], responses: Sequence[str]) -> Any:
        """The planted verdicts."""
        return Planted.apply(responses)


class PlantedJudge(fg.Judge):
    """Has the planted fault."""

    async def judge(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> Any:
        """The planted verdicts."""
        return Planted.apply(responses)


class PlantedEnv(fg.TextEnv):
    """Has the planted fault itself, or asks a verifier or a judge that has it."""

    role = "environment"

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """One task."""
        return [fg.Task("say it", "right")]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """The verdict on one response."""
        verdict: fg.Verdict = self.score_batch([task], [response])[0]
        return verdict

    def score_batch(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> Any:
        """The planted verdicts, from the part that has the fault."""
        if self.role == "verifier":
            return verified_by(PlantedVerifier(), ["right"] * len(responses), responses)
        if self.role == "judge":
            return PlantedJudge().judge_batch(tasks, responses)
        return Planted.apply(responses)


def plant(count: int, rng: random.Random) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Score batches with one planted fault each.

    Args:
        count: how many.
        rng: draws role and position; every fault has its turn.

    Returns:
        How often each role's fault became a named error or a verdict without score; and what was wrong otherwise.
    """
    env = PlantedEnv()
    task = env.task_list("train")[0]
    outcomes: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        PlantedEnv.role = ROLES[number // len(FAULTS) % len(ROLES)]
        responses = [f"{rng.choice(['right', 'false'])} {number}-{i}" for i in range(BATCH)]
        Planted.fault, Planted.response = fault, responses[rng.randrange(BATCH)]
        case = f"{PlantedEnv.role}: {fault}"
        try:
            verdicts = score_checked(env, [task] * BATCH, responses)
        except fg.FdivGymError as error:
            named = "Planted" in str(error)
            outcomes[PlantedEnv.role, "named error"] += 1
            if not named:
                wrong.append(f"{case}: {str(error)[:200]} names nothing")
        except BaseException as error:
            wrong.append(f"{case}: {type(error).__name__} came through")
        else:
            wrong += [f"{case}: {text}" for text in _wrong_scores(verdicts, responses)]
            outcomes[PlantedEnv.role, "verdict without score"] += 1
    return outcomes, wrong


def _wrong_scores(verdicts: Sequence[fg.Verdict], responses: Sequence[str]) -> list[str]:
    found = []
    for verdict, response in zip(verdicts, responses, strict=True):
        if response == Planted.response and verdict.score is not None:
            found.append(f"the fault got the score {verdict.score!r}")
        if response != Planted.response and verdict.score != float(response.startswith("right")):
            found.append(f"another response got {verdict!r}")
        if len(verdict.detail) > 1000:
            found.append(f"a detail of {len(verdict.detail)} characters")
    return found
