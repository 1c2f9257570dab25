"""PluginRef: the type of an option that names another plugin."""

from __future__ import annotations

import contextlib
import contextvars
import json
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, get_args

import pydantic
from pydantic_core import core_schema

from fdiv_gym.errors import ConfigError, PluginError, UnknownNameError
from fdiv_gym.registry.entry import Entry, check_built
from fdiv_gym.registry.lookup import Reference, build, entry_of_class, instance_of, split_spec
from fdiv_gym.registry.messages import cause_of, shorten, with_article
from fdiv_gym.registry.options import Configurable, WrongReferenceError, build_options

T = TypeVar("T", bound=Configurable)

DEEPEST = 20
"""Largest depth of nested references; a deeper one is a table, or a default, that contains itself."""

_depth = contextvars.ContextVar("_depth", default=0)


class EndlessReferenceError(ConfigError):
    """A reference that contains itself."""


class PluginRef(Reference, Generic[T]):
    """A reference from one plugin, or from a run, to another plugin.

    Declare an option as ``judge: fg.PluginRef[fg.Judge] = fg.PluginRef("rule")``. Its value is a registered
    name, a table with the name and its options, a class, or an instance. It is validated with the options,
    and ``self.options.judge.build()`` builds the plugin. References are immutable.

    Args:
        spec: the given value.

    Attributes:
        kind: kind of the plugin; empty until the option is validated.
        entry: the registry entry; None until the option is validated.
        instance: the instance, if one was given.
        options: the plugin's validated options, defaults included; None until the option is validated.
    """

    __slots__ = ("_given", "entry", "instance", "kind", "options")

    def __init__(self, spec: Any) -> None:
        self._given = spec.raw() if isinstance(spec, PluginRef) else spec
        self.kind = ""
        self.entry: Entry | None = None
        self.instance: T | None = None
        self.options: pydantic.BaseModel | None = None

    @classmethod
    def of(cls, kind: str, spec: Any, where: str = "") -> PluginRef[T]:
        """A checked reference.

        Args:
            kind: kind of the plugin.
            spec: a registered name, a table with a name, a class, or an instance.
            where: the place as messages name it, e.g. ``"[objective]"``.

        Raises:
            ConfigError: ``spec`` does not specify a plugin of that kind, or one of its options is wrong.
            UnknownNameError: no plugin registered that name.
            MissingExtraError: a package is missing.
            PluginError: the plugin is blocked, broken or not of that kind.
        """
        ref: PluginRef[T] = cls(spec)
        label = ref._find(kind)
        return ref._validated(f"{where} ({label})" if where else label)

    def raw(self) -> Any:
        """The value as given."""
        return self._given

    def resolved(self, kind: str) -> PluginRef[T]:
        """The same reference, checked against the registry; see ``of``."""
        return self if self.kind == kind else type(self).of(kind, self._given)

    @property
    def name(self) -> str:
        """The registered name, or ``module:Class`` of a class or an instance."""
        assert self.entry is not None, "the option that holds this reference was not validated"
        return self.entry.name

    @property
    def plugin_class(self) -> type[T]:
        """The plugin's class."""
        assert self.entry is not None, "the option that holds this reference was not validated"
        found: type[T] = type(self.instance) if self.instance is not None else self.entry.load()
        return found

    @property
    def checked_options(self) -> pydantic.BaseModel:
        """The plugin's validated options."""
        assert self.options is not None, "the option that holds this reference was not validated"
        return self.options

    def build(self, **overrides: Any) -> T:
        """The plugin: a new instance, or the given one.

        Raises:
            ConfigError: an override is wrong, or there are overrides for an instance.
            PluginError: the constructor failed.
        """
        if self.instance is not None:
            if overrides:
                raise ConfigError(
                    f"{self.kind} {self.name!r} is already built: {sorted(overrides)} cannot be set on it"
                )
            self.instance.passed = True
            return self.instance
        assert self.entry is not None, "the option that holds this reference was not validated"
        plugin: T = build(self.entry, {**self.values(), **overrides})
        return plugin

    def build_as(self, kind: str, options: Mapping[str, Any]) -> T:
        """``build`` of the reference, checked as a reference of that kind."""
        return self.resolved(kind).build(**options)

    def values(self) -> dict[str, Any]:
        """Every option that differs from the entry's presets; references in their given form."""
        return self._without_presets(dict(self.checked_options))

    def table(self, key: str = "name") -> dict[str, Any]:
        """The reference as a table of a file: plain JSON, defaults included.

        Args:
            key: key of the name.
        """
        return {key: self.name, **self._without_presets(self._plain_options())}

    def _plain_options(self) -> dict[str, Any]:
        """The options as JSON values.

        Raises:
            PluginError: one of them has no JSON form.
        """
        assert self.entry is not None
        try:
            plain: dict[str, Any] = self.checked_options.model_dump(mode="json")
            json.dumps(plain, allow_nan=False)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.entry.label}: its options have no JSON form: {cause_of(error)}") from error
        return plain

    def _find(self, kind: str) -> str:
        """Look up the entry; the options stay unchanged. Returns the plugin's label for messages."""
        self.kind = kind
        self.instance = instance_of(kind, self._given)
        if self.instance is not None:
            self.entry = self.instance.entry or entry_of_class(kind, type(self.instance))
        else:
            self.entry = split_spec(kind, self._given)[0]
        return f"{kind} {self.name!r}"

    def _validated(self, where: str) -> Self:
        assert self.entry is not None
        if self.instance is not None:
            check_built(where, self.instance)
            self.options = self.instance.options
        else:
            model = self.entry.load().Options
            given = split_spec(self.kind, self._given)[1]
            self.options = build_options(model, {**self.entry.options, **given}, where, self.entry.label)
        return self

    def _without_presets(self, values: dict[str, Any]) -> dict[str, Any]:
        assert self.entry is not None
        presets = self.entry.options
        return {k: v for k, v in values.items() if k not in presets or v != presets[k]}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PluginRef):
            return NotImplemented
        if self.instance is not None or other.instance is not None:
            return self.instance is other.instance
        if self.options is None or other.options is None:
            return bool(_canonical(self._given) == _canonical(other._given))
        return (self.entry, self.options) == (other.entry, other.options)

    def __hash__(self) -> int:
        # Equal references name the same plugin, looked up or not; the options need not enter the hash.
        name = self._given.get("name") if isinstance(self._given, Mapping) else self._given
        return hash(name) if isinstance(name, (str, type)) else hash(type(name))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # a given instance is never copied

    def __repr__(self) -> str:
        return f"PluginRef({self._given!r})"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        (contract,) = get_args(source) or (Any,)
        if contract is not Any and not (isinstance(contract, type) and issubclass(contract, Configurable)):
            raise TypeError(f"write PluginRef[Contract], e.g. PluginRef[Divergence]; got {source!r}")
        return core_schema.no_info_plain_validator_function(
            lambda value: _checked(value, contract),
            serialization=core_schema.plain_serializer_function_ser_schema(_as_json, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "object"}]}


def _canonical(given: Any) -> Any:
    """``{"name": "pearson"}`` is ``"pearson"``."""
    return given["name"] if isinstance(given, Mapping) and list(given) == ["name"] else given


def _checked(value: Any, contract: Any) -> PluginRef[Any]:
    """The value of an option as a reference to a plugin that fulfils the contract.

    Raises:
        WrongReferenceError: the value is wrong; pydantic adds the name of the option.
    """
    ref: PluginRef[Any] = value if isinstance(value, PluginRef) else PluginRef(value)
    kind = ref.kind if contract is Any else contract.kind
    if not kind:
        raise TypeError("write PluginRef[Contract], e.g. PluginRef[Divergence]")
    if ref.kind != kind:
        ref = PluginRef(ref.raw())
        # For a table the message names the faulty part only.
        given = f" = {shorten(ref.raw())}" if isinstance(ref.raw(), str) else ""
        try:
            label = ref._find(kind)
        except (ConfigError, UnknownNameError) as error:
            raise WrongReferenceError(f"{given}: {error}") from None
        try:
            with _one_deeper(label):
                ref._validated("")
        except EndlessReferenceError:
            raise
        except ConfigError as error:
            raise WrongReferenceError(f" ({label}){error}") from None
    if contract is not Any:
        _check_contract(ref, contract)
    return ref


@contextlib.contextmanager
def _one_deeper(label: str) -> Iterator[None]:
    token = _depth.set(_depth.get() + 1)
    try:
        if _depth.get() > DEEPEST:
            raise EndlessReferenceError(f"{label} refers to itself without end: its table or its default contains it")
        yield
    finally:
        _depth.reset(token)


def _check_contract(ref: PluginRef[Any], contract: type[Configurable]) -> None:
    """Refuse a plugin of the wrong class: an option may require a subclass of the kind's contract."""
    if not issubclass(ref.plugin_class, contract):
        expected = contract.__name__
        raise WrongReferenceError(f" = {ref.name!r}, expected {with_article(ref.kind)} that derives from {expected}")


def _as_json(ref: PluginRef[Any]) -> Any:
    if ref.options is None:  # a default in a schema
        return ref.raw()
    table = ref.table()
    return table if len(table) > 1 else ref.name


def references(options: pydantic.BaseModel) -> Iterator[PluginRef[Any]]:
    """Every reference in an option model, including those in the options of referenced plugins."""
    for _, value in options:
        yield from _references_in(value)


def _references_in(value: Any) -> Iterator[PluginRef[Any]]:
    if isinstance(value, PluginRef):
        yield value
        yield from references(value.checked_options)
    elif isinstance(value, pydantic.BaseModel):
        yield from references(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _references_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _references_in(item)
