"""Guards around the state of a plugin that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fdiv_gym.errors import EnvError, PluginError
from fdiv_gym.registry.guard.boundaries import Plugin, boundary, label_of
from fdiv_gym.registry.messages import cause_of, shorten


class Stateful(Plugin, Protocol):
    """The methods of a plugin with a state that are called here."""

    def state_dict(self) -> Any: ...  # noqa: D102
    def load_state_dict(self, state: Mapping[str, Any]) -> Any: ...  # noqa: D102


def state_of(plugin: Stateful) -> dict[str, Any]:
    """``plugin.state_dict``, checked: a checkpoint must be able to store it.

    Returns:
        The state of built-in types only: a NumPy float becomes a float, a tuple a list.

    Raises:
        PluginError: it failed, or returned no mapping of names to JSON values.
        EnvError: the same of an environment.
    """
    with boundary(plugin, "state_dict"):
        state = plugin.state_dict()
    error = EnvError if plugin.kind == "environment" else PluginError
    label = f"{label_of(plugin)}: state_dict must return"
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise error(f"{label} a mapping of names to values, got {shorten(state)}")
    kept = {}
    for name, value in state.items():
        try:
            kept[str(name)] = _plain(value)
        except Exception as failure:  # a mapping or list that contains itself too
            raise error(f"{label} JSON values, {name!r} = {shorten(value)} ({cause_of(failure)})") from None
    return kept


def restore_state(plugin: Stateful, state: Mapping[str, Any]) -> None:
    """``plugin.load_state_dict``.

    Raises:
        PluginError: it failed.
    """
    with boundary(plugin, "load_state_dict"):
        plugin.load_state_dict(state)


def _plain(value: Any) -> Any:
    """The value of built-in types: what JSON and a checkpoint can hold, NaN and infinities included."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise TypeError(f"the key {shorten(wrong)} is no string")
        return {str(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no JSON value")
