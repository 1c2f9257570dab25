"""Callback events: a callback that fails is reported and dropped, unless it is declared fatal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import fdiv_gym as fg
from fdiv_gym.registry import boundary, label_of, restore_state, state_of
from fdiv_gym.runs import callback_metrics, panels_of


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: in the order of the configuration.
        report: takes one line about a callback that was dropped.
    """

    def __init__(self, callbacks: Sequence[fg.Callback], report: Callable[[str], None]) -> None:
        self._all = list(callbacks)
        self._callbacks = list(callbacks)
        self._report = report

    def call(self, event: str, *arguments: Any) -> None:
        """Call ``event`` on every callback.

        Raises:
            PluginError: a callback with ``fatal = True`` failed; an error of fdiv-gym that it raised keeps its class.
        """

        def call(callback: fg.Callback) -> None:
            with boundary(callback, event):
                getattr(callback, event)(*arguments)

        for callback in list(self._callbacks):
            self._guarded(callback, call)

    def hear(self, event: str) -> bool:
        """Whether a configured callback overrides ``event``: the same in every process, whatever was dropped there."""
        return any(getattr(type(callback), event, None) is not getattr(fg.Callback, event) for callback in self._all)

    def state_dict(self) -> list[dict[str, Any]]:
        """The states of this process's callbacks in their order, for checkpoints; None for one that was dropped.

        Raises:
            PluginError: see ``call``.
        """
        states: dict[int, dict[str, Any]] = {}

        def keep(callback: fg.Callback) -> None:
            states[id(callback)] = state_of(callback)

        for callback in list(self._callbacks):
            self._guarded(callback, keep)
        return [{"name": c.registered_name(), "state": states.get(id(c))} for c in self._all]

    def metrics(self, line: Mapping[str, float]) -> dict[str, float]:
        """The metrics that this process's callbacks add to the line of a step.

        Raises:
            PluginError: see ``call``.
        """
        found: dict[str, float] = {}

        def add(callback: fg.Callback) -> None:
            found.update(callback_metrics(callback, {*line, *found}))

        for callback in list(self._callbacks):
            self._guarded(callback, add)
        return found

    def panels(self) -> list[dict[str, Any]]:
        """The panels of this process's callbacks, for ``panels.json``.

        Raises:
            PluginError: see ``call``.
        """
        found: list[dict[str, Any]] = []
        for callback in list(self._callbacks):
            self._guarded(callback, lambda callback: found.extend(panels_of(callback)))
        return found

    def load_state_dict(self, kept: Sequence[Mapping[str, Any]]) -> None:
        """Restore the states, each to the next callback of its name; what was dropped stays dropped.

        Raises:
            PluginError: see ``call``.
        """
        waiting = list(kept)
        for callback in list(self._callbacks):
            found = next((entry for entry in waiting if entry["name"] == callback.registered_name()), None)
            if found is None:
                continue
            waiting.remove(found)
            if found["state"] is None:
                self._report(f"{label_of(callback)} failed before the checkpoint and was dropped; it stays dropped")
                self._callbacks.remove(callback)
                continue
            self._guarded(callback, partial(restore_state, state=found["state"]))

    def _guarded(self, callback: fg.Callback, act: Callable[[fg.Callback], None]) -> None:
        """Let a callback act; if it fails it is dropped, or where it is fatal the error is raised."""
        try:
            act(callback)
        except fg.FdivGymError as error:
            with boundary(callback, "fatal"):
                fatal = bool(callback.fatal)
            if fatal:
                raise
            self._report(f"{error}; it is dropped, the run continues")
            self._callbacks.remove(callback)
