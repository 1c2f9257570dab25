"""Faults planted into the code under claim: one function with one piece of its source text replaced."""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One edited function.

    Args:
        name: what is wrong.
        place: ``module:function`` or ``module:Class.method``.
        old: a piece of the function's source; it must occur.
        new: what replaces its first occurrence.
        caught_by: claims that must fail, or ``check_objective <name>``.
    """

    name: str
    place: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def plant(monkeypatch, fault: Fault) -> None:
    """Replace the code of the function, so that everybody who imported it gets the faulty one."""
    function = located(fault.place)
    source = textwrap.dedent(inspect.getsource(function))
    assert fault.old in source, f"{fault.place} has no longer {fault.old!r}: adapt the fault {fault.name!r}"
    edited = source.replace(fault.old, fault.new, 1)
    monkeypatch.setattr(function, "__code__", compiled(edited, function))
    # torch.no_grad and inspect keep the old source; nothing here reads it again.


def located(place: str):
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
        found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    return inspect.unwrap(found)


def compiled(source: str, function):
    """The code object of the edited function, with the free variables of the old one."""
    lines = source.splitlines(keepends=True)
    while not lines[0].startswith("def "):  # decorators
        del lines[0]
    free = function.__code__.co_freevars
    body = textwrap.indent("".join(lines), "    ")
    binding = "".join(f"    {name} = None\n" for name in free)
    text = f"from __future__ import annotations\ndef _outer():\n{binding}{body}    return {function.__name__}\n"
    scope = dict(vars(sys.modules[function.__module__]))
    exec(compile(text, f"<fault in {function.__name__}>", "exec"), scope)
    code = scope["_outer"]().__code__
    assert code.co_freevars == free, (code.co_freevars, free)
    return code
