"""The kinds of plugins. ``KINDS`` is the only table of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fdiv_gym.errors import PluginError, UnknownNameError, did_you_mean


@dataclass(frozen=True)
class Template:
    """The example class that ``fdiv-gym new`` writes.

    Args:
        file: ``"package:file"``, a text file with ``@word@`` placeholders.
        summary: a short description of the example.
        torch: whether it needs torch.
    """

    file: str
    summary: str
    torch: bool = True


@dataclass(frozen=True)
class Kind:
    """One kind of plugin.

    Args:
        name: e.g. ``"divergence"``.
        contract: ``"module:Class"`` that its plugins derive from.
        check: ``"module:function"``, its conformance kit: takes an instance, returns a ``fdiv_gym.testing.Report``.
        template: the template for ``fdiv-gym new``.
        usage: the argument of ``fdiv-gym train RUN.toml --set`` that selects a plugin; ``{name}`` is its name.
        variants: further templates by the name that ``fdiv-gym new`` takes, e.g. ``"conversation"``.
        external_registry: a module with ``register(entry)``, ``unregister(entry)``, ``make(name, **options)`` and
            ``new_name(name)``, for a kind that another library also registers (environments: gymnasium).
    """

    name: str
    contract: str
    check: str
    template: Template
    usage: str
    variants: tuple[tuple[str, Template], ...] = ()
    external_registry: str = ""

    def load_contract(self) -> type[Any]:
        """The class that plugins of this kind derive from."""
        contract: type[Any] = import_string(self.contract)
        return contract

    def load_external_registry(self) -> ModuleType | None:
        """The module named by ``external_registry``, or None."""
        return importlib.import_module(self.external_registry) if self.external_registry else None

    @property
    def python_usage(self) -> str:
        """The Python expression that builds a plugin; ``{name}`` is its name."""
        getter = "make" if self.external_registry else f"get_{self.name}"
        return f'fg.{getter}("{{name}}")'


def _template(name: str, summary: str, torch: bool) -> Template:
    return Template(f"fdiv_gym.cli.templates:{name}.py.tmpl", summary, torch)


def _kind(
    name: str, contract: str, usage: str, summary: str, *, torch: bool = True, external: str = "", **variants: str
) -> Kind:
    others = tuple((other, _template(other, text, torch)) for other, text in variants.items())
    check = f"fdiv_gym.testing:check_{name}"
    return Kind(name, contract, check, _template(name, summary, torch), usage, others, external)


_ROWS = (
    _kind("divergence", "fdiv_gym.divergences:Divergence", "objective.divergence={name}",
          "scaled chi-square, f = c (t - 1)^2"),
    _kind("objective", "fdiv_gym.objectives:Objective", "objective.name={name}",
          "policy gradient with any advantage"),
    _kind("advantage", "fdiv_gym.objectives:Advantage", "objective.advantage={name}", "ranks within the prompt"),
    _kind("aggregation", "fdiv_gym.objectives:Aggregation", "objective.name=dapo --set objective.aggregation={name}",
          "between the sum and the mean over tokens"),
    _kind("environment", "fdiv_gym.envs:Environment", "env.id={name}", "write a word backwards",
          torch=False, external="fdiv_gym.envs.registration", conversation="guess a number, with hints"),
    _kind("verifier", "fdiv_gym.rewards:Verifier", "env.verifier={name}", "the last line must be the reference",
          torch=False),
    _kind("judge", "fdiv_gym.rewards:Judge", "env.judge={name}", "brevity", torch=False),
    _kind("engine", "fdiv_gym.rollouts:Engine", "engine.name={name}", "plain sampling, one response at a time"),
    _kind("trainer", "fdiv_gym.runs:Trainer", "trainer.name={name}", "accelerate, and an exported model at the end"),
    _kind("callback", "fdiv_gym.runs:Callback", "'callbacks=[{{name=\"{name}\"}}]'", "the best step of a run",
          torch=False),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ROWS}
"""Every kind by its name, in the order in which lists show them."""


def templates() -> dict[str, tuple[Kind, Template]]:
    """What ``fdiv-gym new`` writes: a template of each kind by the kind's name, and variants."""
    return {
        name: (kind, template)
        for kind in KINDS.values()
        for name, template in ((kind.name, kind.template), *kind.variants)
    }


def kind_of(name: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """The entry of a kind in ``kinds``.

    Raises:
        UnknownNameError: there is no such kind; the message names the closest.
    """
    if not isinstance(name, str) or name not in kinds:
        raise UnknownNameError(f"unknown kind {name!r} ({meant_kind(str(name), kinds)})")
    return kinds[name]


def meant_kind(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown kind; ``conversation`` is a template of ``fdiv-gym new`` for an environment."""
    return "a conversation is an 'environment'" if name == "conversation" else did_you_mean(name, known)


def import_string(target: str) -> Any:
    """Import ``"package.module:attribute"``.

    Raises:
        PluginError: the string is not of that form.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise PluginError(f"{target!r} is not of the form 'package.module:Class'")
    return getattr(importlib.import_module(module), attribute)
