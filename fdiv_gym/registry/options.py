"""Options: the model by which a plugin class declares its settings.

A plugin class nests a pydantic model ``Options`` (fields with defaults and descriptions) and is built
with keyword arguments; an unknown key is refused, and the message names the closest known key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, get_args

import pydantic

from fdiv_gym.errors import ConfigError, FdivGymError, PluginError, did_you_mean
from fdiv_gym.registry.entry import Entry, check_model
from fdiv_gym.registry.messages import cause_of, shorten

M = TypeVar("M", bound=pydantic.BaseModel)


class WrongReferenceError(ValueError):
    """An error in an option that names another plugin; its text follows the option's name."""


class Options(pydantic.BaseModel):
    """Base of all option models: frozen, no unknown keys, no infinite values."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,  # JSON has no infinities
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        validate_default=True,  # a default that names a plugin is checked too
    )

    def servers_contacted(self) -> tuple[str, ...]:
        """URLs of servers that the plugin will contact although no option holds them.

        A run folder that leads to one needs the user's consent (``--trust-endpoints``), as for every option that is
        a URL.
        """
        return ()


def build_options(model: type[M], values: Mapping[str, Any], where: str, plugin: str = "") -> M:
    """Validate ``values`` against ``model``.

    Args:
        model: a pydantic model class.
        values: the given options.
        where: the place as messages name it, e.g. ``"objective 'f-grpo'"`` or ``"[trainer]"``.
        plugin: the owner of the model, for errors of the model itself; by default ``where``.

    Raises:
        ConfigError: naming each wrong key, its value and what was expected.
        PluginError: ``model`` is not an option model, or its code failed.
    """
    plugin = plugin or where
    check_model(plugin, model)
    try:
        return model.model_validate(dict(values))
    except pydantic.ValidationError as error:
        raise ConfigError(f"{where}: {_explain_all(model, error, plugin)}") from None
    except FdivGymError:
        raise
    except (Exception, SystemExit) as error:  # from a validator, a default factory, or pydantic itself
        raise PluginError(f"{plugin}: its Options failed: {cause_of(error)}") from error


def _explain_all(model: type[pydantic.BaseModel], error: pydantic.ValidationError, plugin: str) -> str:
    try:
        return "; ".join(_explain(model, each) for each in error.errors())
    except Exception as failure:  # from the ``__str__`` of an exception of a validator
        raise PluginError(f"{plugin}: its Options failed: {cause_of(failure)}") from failure


def _explain(model: type[pydantic.BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        owner = _owner(model, error["loc"])
        return f"unknown option {path!r} ({did_you_mean(str(error['loc'][-1]), owner.model_fields)})"
    if error["type"] == "missing":
        return f"option {path!r} is required"
    problem = error.get("ctx", {}).get("error")
    if isinstance(problem, WrongReferenceError):
        return f"option {path!r}{problem}"
    message = error["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
    return f"option {path!r} = {shorten(error['input'])}: {message[:1].lower()}{message[1:]}"


def _owner(model: type[pydantic.BaseModel], loc: tuple[int | str, ...]) -> type[pydantic.BaseModel]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        # A table that may be absent is a union with None.
        tables = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        nested = next((t for t in tables if issubclass(t, pydantic.BaseModel)), None)
        if nested is None:
            break
        model = nested
    return model


class Configurable:
    """Base of every plugin class: ``Cls(**options)`` validates against the nested ``Options``.

    A subclass that needs more than its options overrides ``__init__(self, **options)``, calls
    ``super().__init__(**options)`` first and reads ``self.options``.

    Attributes:
        deputy: an object that answers for this instance: ``counters()`` and ``close()``. Set where another process
            scores for it.
        passed: whether Python code passed this instance to a run, so that its state may differ from its options.
        metric_meanings: what the class's own metrics mean, one sentence for each key as it stands in
            ``metrics.jsonl`` or ``evaluations.jsonl``, e.g. ``{"env/attack_success": "Share of ..."}``. A key may be a
            pattern such as ``component/label/<name>``. The entries of base classes are added.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """

    Options: ClassVar[type[Options]] = Options
    kind: ClassVar[str] = "plugin"
    metric_meanings: ClassVar[Mapping[str, str]] = {}

    options: Any
    entry: Entry | None = None
    deputy: Any = None
    passed: bool = False

    def __init__(self, **options: Any) -> None:
        name = type(self).registered_name()
        if self.entry is not None and self.entry.registered:
            name = self.entry.name  # a class with presets is registered under several names
        where = f"{self.kind} {name!r}"
        self.options = build_options(type(self).Options, options, where)

    @classmethod
    def registered_name(cls) -> str:
        """The name under which the class was registered, or the class name if it is not registered."""
        return cls.__dict__.get("_registered_name") or cls.__name__
