"""Searches over finite values: which options are tried, batch by batch. Told the same, they ask for the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from fdiv_gym.bench.matrix_tables import Tuning
from fdiv_gym.errors import MissingExtraError

Chosen = dict[str, Any]
"""Options by dotted key."""

BATCH = 4
"""Trials that optuna asks for before it hears of any of them; it has no part in how many run at a time."""
SEED = 0
"""Of optuna's draws, for every objective: their first trials are the same."""
REPEATS = 100
"""Trials that optuna may repeat before the first untried one is taken."""


class Search(Protocol):
    """A search for one objective."""

    def ask(self) -> list[Chosen]:
        """The next trials; none at the end."""

    def tell(self, values: Sequence[float | None]) -> None:
        """The values of the trials asked for last; None for one that failed."""


def search_of(tuning: Tuning) -> Search:
    """The search that a matrix asks for.

    Raises:
        MissingExtraError: optuna is not installed.
    """
    return Grid(tuning) if tuning.method == "grid" else Optuna(tuning)


def combinations(values: Mapping[str, Sequence[Any]]) -> Iterator[Chosen]:
    """Every combination, the last key varying fastest."""
    return (dict(zip(values, found, strict=True)) for found in product(*values.values()))


class Grid:
    """Every combination, in one batch."""

    def __init__(self, tuning: Tuning) -> None:
        self._left = list(combinations(tuning.values))

    def ask(self) -> list[Chosen]:
        """All trials, once."""
        asked, self._left = self._left, []
        return asked

    def tell(self, values: Sequence[float | None]) -> None:
        """Nothing follows from them."""


class Optuna:
    """Different combinations, proposed by optuna's tree-structured Parzen estimator.

    Nothing is stored: the sampler is seeded, so a search that is started again and told the same values asks for the
    same trials.
    """

    def __init__(self, tuning: Tuning) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingExtraError('tuning.method = "optuna" needs optuna: pip install "fdiv-gym[bench]"') from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._values, self._left = tuning.values, tuning.trials_of_each
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
        self._untried = list(product(*(range(len(values)) for values in tuning.values.values())))
        self._asked: list[Any] = []

    def ask(self) -> list[Chosen]:
        """At most ``BATCH`` trials, none of which was asked for before."""
        pairs = [self._next() for _ in range(min(BATCH, self._left))]
        self._left -= len(pairs)
        self._asked = [trial for trial, _ in pairs]
        return [options for _, options in pairs]

    def tell(self, values: Sequence[float | None]) -> None:
        """The values, from which the next trials follow."""
        for trial, value in zip(self._asked, values, strict=True):
            if value is None or not math.isfinite(value):
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, value)

    def _next(self) -> tuple[Any, Chosen]:
        for _ in range(REPEATS):
            trial, places = self._suggested()
            if places in self._untried:
                break
            self._study.tell(trial, state=self._failed)
        else:
            self._study.enqueue_trial(dict(zip(self._values, self._untried[0], strict=True)))
            trial, places = self._suggested()
        self._untried.remove(places)
        options = {key: values[place] for (key, values), place in zip(self._values.items(), places, strict=True)}
        return trial, options

    def _suggested(self) -> tuple[Any, tuple[int, ...]]:
        """A trial of optuna, and the place of each of its values: optuna takes 1, 1.0 and true for one."""
        trial = self._study.ask()
        suggested = (trial.suggest_categorical(key, range(len(values))) for key, values in self._values.items())
        return trial, tuple(suggested)
