"""Place: whether a plugin scores in this process, in this process under a watchdog, or in a process of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from fdiv_gym.envs.base import ScoringOptions
from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.discovery import CORE
from fdiv_gym.registry.guard import label_of
from fdiv_gym.registry.options import Configurable
from fdiv_gym.registry.watchdog import watchdog
from fdiv_gym.rollouts.isolation.blueprint import obstacle, parts
from fdiv_gym.rollouts.isolation.deadline import deadline_s
from fdiv_gym.rollouts.isolation.exits import exit_is_no_success
from fdiv_gym.rollouts.isolation.scorer import IsolatedScorer
from fdiv_gym.types.verdict import Verdict

log = logging.getLogger(__name__)

OURS = CORE.partition(":")[0]
"""The distribution whose plugins score in this process."""


class Place(Enum):
    """Where a plugin scores."""

    HERE = "in this process"
    WATCHED = "in this process, under a watchdog"
    WORKER = "in a process of its own"


def place_of(plugin: Configurable, isolate: bool | None) -> Place:
    """The place of a plugin and of all that its options name.

    Args:
        plugin: an environment or a verifier.
        isolate: the user's choice; None isolates what is not of this project, if it can be.

    Raises:
        ConfigError: isolation was asked for and is not possible.
    """
    foreign = any(entry is None or entry.distribution != OURS for entry, _ in parts(plugin))
    if isolate is False or (isolate is None and not foreign):
        return Place.WATCHED if foreign else Place.HERE
    problem = obstacle(plugin)
    if not problem:
        return Place.WORKER
    if isolate:
        raise ConfigError(
            f"{label_of(plugin)}: isolate = true is not possible, because {problem}: a process of its own rebuilds "
            "it from its name and options; register it as a plugin (fdiv-gym new), or omit isolate"
        )
    return Place.WATCHED


_told: set[str] = set()
_making = threading.Lock()


def scored_in_place(
    plugin: Configurable,
    options: ScoringOptions,
    here: Callable[[], list[Verdict]],
    against: Sequence[Any],
    responses: Sequence[str],
) -> tuple[list[Verdict], bool]:
    """The verdicts of one batch from where the plugin scores, and whether each is that of its own pair.

    Args:
        plugin: the environment or verifier.
        options: the user's choice of place, and the deadline.
        here: scores the batch in this process.
        against: tasks or references, for a worker.
        responses: one for each of them.

    Raises:
        ConfigError: isolation was asked for and is not possible.
        FdivGymError: the plugin broke its contract, or exceeded its deadline repeatedly.
    """
    if isinstance(plugin.deputy, IsolatedScorer):
        return plugin.deputy.score(against, responses)
    place = place_of(plugin, options.isolate)
    if place is Place.HERE:
        return here(), True
    if place is Place.WORKER:
        with _making:  # one scorer for the threads that score this plugin
            if not isinstance(plugin.deputy, IsolatedScorer):
                plugin.deputy = IsolatedScorer(plugin, options)
        scorer: IsolatedScorer = plugin.deputy
        return scorer.score(against, responses)
    label, limit = label_of(plugin), deadline_s(options, len(responses))
    _tell_watched(plugin, label, options)
    work = f"scoring {len(responses)} responses (env.score_deadline_s and a share for each)"
    with watchdog.watch(label, work, limit), exit_is_no_success(label):
        return here(), True


def _tell_watched(plugin: Configurable, label: str, options: ScoringOptions) -> None:
    if label in _told or os.environ.get("RANK", "0") != "0":
        return
    _told.add(label)
    reason = obstacle(plugin) if options.isolate is None else "isolate = false"
    log.warning(
        "%s scores in the process of the run (%s): if a batch takes longer than its deadline (score_deadline_s = %g), "
        "the run is killed",
        label, reason, options.score_deadline_s,
    )  # fmt: skip
