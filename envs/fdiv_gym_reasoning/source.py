"""Entries of a data set of reasoning-gym, made once in a process and shared by its environments."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from fdiv_gym.errors import EnvError
from fdiv_gym_reasoning.catalogue import DEPEND_ON_HASH_SEED
from fdiv_gym_reasoning.fixed_order import make_entries

_QUIET = threading.RLock()


class Source:
    """One data set with its parameters.

    Args:
        name: the name in reasoning-gym.
        parameters: parameters of the set's configuration, as JSON.
        size: entries for each seed.
    """

    def __init__(self, name: str, parameters: str, size: int) -> None:
        self._name, self._parameters, self._size = name, parameters, size
        # Number of entries made in one process; the size is four times the number of requested entries.
        self._part = size // 4 + 1
        self._datasets: dict[int, Any] = {}
        self._entries: dict[tuple[int, int], Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process makes its own entries; within one process there is one source.
        return source, (self._name, self._parameters, self._size)

    def entry(self, seed: int, index: int) -> Mapping[str, Any]:
        """Question, answer and metadata of one entry; must not be changed.

        Raises:
            EnvError: the set failed to make it.
        """
        if self._name in DEPEND_ON_HASH_SEED:
            return self._entry_of_fixed_order(seed, index)
        dataset = self.dataset(seed)
        with self._lock:
            if (seed, index) not in self._entries:
                try:
                    with _quiet():
                        self._entries[seed, index] = dataset[index]
                except Exception as error:
                    raise EnvError(f"data set {self._name!r} failed at entry {index}: {error!r}"[:300]) from None
            return self._entries[seed, index]

    def _entry_of_fixed_order(self, seed: int, index: int) -> Mapping[str, Any]:
        self.dataset(seed)  # raises if a parameter is wrong
        with self._lock:
            if (seed, index) not in self._entries:
                first = index - index % self._part
                given = {**json.loads(self._parameters), "seed": seed, "size": self._size}
                made = make_entries(self._name, given, first, min(first + self._part, self._size))
                self._entries |= {(seed, first + place): entry for place, entry in enumerate(made)}
            return self._entries[seed, index]

    def dataset(self, seed: int) -> Any:
        """The package's object for one seed.

        Raises:
            EnvError: the set has no such parameter, or its value is invalid.
        """
        with self._lock:
            if seed not in self._datasets:
                given = {**json.loads(self._parameters), "seed": seed, "size": self._size}
                _refuse_paths(self._name, given)
                try:
                    with _quiet():
                        import reasoning_gym

                        self._datasets[seed] = reasoning_gym.create_dataset(self._name, **given)
                except (TypeError, AssertionError, ValueError, LookupError, OSError) as error:
                    raise EnvError(f"data set {self._name!r}: invalid parameters: {error}") from None
            return self._datasets[seed]


@functools.lru_cache(maxsize=8)
def source(name: str, parameters: str, size: int) -> Source:
    """The source of a data set; the same object for the same arguments, for the last eight."""
    return Source(name, parameters, size)


def _refuse_paths(name: str, parameters: Mapping[str, Any]) -> None:
    # Some sets read a file of the package whose name is a parameter.
    for key, value in parameters.items():
        if isinstance(value, str) and (".." in value or value.startswith(("/", "~"))):
            raise EnvError(f"data set {name!r}: invalid parameters: {key} = {value!r} is a path outside the package")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress output and warnings: some sets leave files open, and one prints a dot for every entry.

    The lock is needed because output and warnings are global, and two threads would restore each other's state.
    """
    with _QUIET, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
