"""The public API is pinned in public_api.txt: a change of a name or a signature is a visible diff.

After a change on purpose: python tests/contract/test_public_api.py
"""

from __future__ import annotations

import difflib
import enum
import inspect
import types
from pathlib import Path

import pytest

import fdiv_gym
from fdiv_gym import functional, testing

pytestmark = pytest.mark.plugin_checks  # without it these functions are stand-ins with another signature

PINNED = Path(__file__).with_name("public_api.txt")


def public_api() -> str:
    """One line for each exported name, and one for each public method of an exported class."""
    lines = []
    for module, names in (
        (fdiv_gym, fdiv_gym.__all__),
        (functional, [n for n, f in vars(functional).items() if getattr(f, "__module__", "") == functional.__name__]),
        (testing, testing.__all__),
    ):
        for name in sorted(n for n in names if not n.startswith("_")):
            lines += describe(f"{module.__name__}.{name}", getattr(module, name))
    return "\n".join(lines) + "\n"


def describe(name: str, value: object) -> list[str]:
    """The lines about one name."""
    if isinstance(value, types.ModuleType):
        return [f"module {name}"]
    if not inspect.isclass(value):
        return [f"{name}{signature(value)}" if callable(value) else f"value {name}"]
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    if issubclass(value, enum.Enum):
        return [f"enum {name}: {', '.join(member.name for member in value)}"]
    lines = [f"class {name}({bases}){signature(value)}"]
    for key, member in sorted(vars(value).items()):
        if key.startswith("_") or key == "model_config":
            continue
        if isinstance(member, property):
            lines.append(f"  property {key}")
        elif inspect.isclass(member):
            fields = getattr(member, "model_fields", {})
            lines.append(f"  class {key}: {', '.join(f'{k} = {f.default!r}' for k, f in fields.items())}")
        elif isinstance(member, (classmethod, staticmethod)):
            lines.append(f"  {type(member).__name__} {key}{signature(member.__func__)}")
        elif inspect.isfunction(member):
            lines.append(f"  {key}{signature(member)}")
    fields = [key for key in getattr(value, "__annotations__", {}) if not key.startswith("_")]
    return lines + [f"  field {key}" for key in sorted(fields)]


def signature(value: object) -> str:
    """Parameters with their defaults; annotations have several equivalent forms and are left out."""
    try:
        parameters = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if not p.name.startswith("_")]
    return str(inspect.Signature(plain))


def test_the_public_api_equals_the_pinned_file():
    pinned, found = PINNED.read_text(encoding="utf-8"), public_api()
    changes = "\n".join(
        difflib.unified_diff(pinned.splitlines(), found.splitlines(), "pinned", "found", lineterm="", n=0)
    )
    assert pinned == found, (
        f"the public API has changed:\n{changes}\n"
        "if that is on purpose, pin it: python tests/contract/test_public_api.py (and say so in CHANGELOG.md)"
    )


if __name__ == "__main__":
    PINNED.write_text(public_api(), encoding="utf-8")
    print(f"pinned {len(public_api().splitlines())} lines in {PINNED}")
