"""Totals of a run that do not depend on kills: recorded after each scoring, before the judge's cache is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import fdiv_gym as fg
from fdiv_gym.rewards import held_verdicts
from fdiv_gym.runs import TOTALS, RunFolder
from fdiv_gym_accelerate.ranks import RankState


class Totals:
    """The totals after each scoring of a run.

    A resumed run repeats the scorings after its checkpoint, with verdicts that by now are in the judge's cache. It
    takes over what was recorded for them, so that a request counts once and a verdict of the cache as it did at first.

    Args:
        rank: counts in this process.
        folder: the run folder.
        write: whether this process records; only one does.
        discard_after: forget the records of later steps, because the run continues with another configuration.
    """

    def __init__(self, rank: RankState, folder: RunFolder, *, write: bool, discard_after: int | None = None) -> None:
        self._rank, self._folder, self._write = rank, folder, write
        lines = folder.lines(TOTALS) if write else []
        for line in lines:
            _check(folder, line)
        if discard_after is not None and lines:
            lines = [line for line in lines if line["of_step"] <= discard_after]
            folder.rewrite(TOTALS, lines)
        self._recorded = {(line["scored"], line["of_step"]): dict(line["totals"]) for line in lines}

    @contextlib.contextmanager
    def scoring(self, what: str, step: int) -> Iterator[None]:
        """Around everything that is scored at one place of a run.

        Args:
            what: ``"rollouts"`` or ``"evaluation"``.
            step: the training step.
        """
        with held_verdicts():
            yield
            totals = self._rank.counters()
            if not self._write or not totals:
                return
            if (known := self._recorded.get((what, step))) is not None:
                self._rank.continue_from(known)
            else:
                self._folder.append(TOTALS, {"scored": what, "of_step": step, "totals": totals})


def _check(folder: RunFolder, line: Mapping[str, Any]) -> None:
    totals = line.get("totals")
    numbers = isinstance(totals, Mapping) and all(type(value) in (int, float) for value in totals.values())
    if not numbers or type(line.get("of_step")) is not int or not isinstance(line.get("scored"), str):
        raise fg.TrainerError(f"{folder.path / TOTALS} is damaged: remove it to count again from the checkpoint")
