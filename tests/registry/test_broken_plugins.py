"""A name that is unknown because its plugin is broken: the message says so."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import fdiv_gym as fg
from fdiv_gym.errors import did_you_mean
from fdiv_gym.registry.discovery import Discovery

CAUSE = "ModuleNotFoundError: No module named 'no_such_module_{}'"


@pytest.mark.parametrize(
    ("broken", "end"),
    [
        (0, ""),
        (1, f"; broken plugin unknown:p0: {CAUSE.format(0)}"),
        (3, f"; broken plugin unknown:p0: {CAUSE.format(0)} (and 2 more: fdiv-gym plugins)"),
    ],
)
def test_the_message_about_an_unknown_name_tells_of_broken_plugins(broken, end):
    discovery = Discovery()
    discovery.run([EntryPoint(f"p{i}", f"no_such_module_{i}", "fdiv_gym") for i in range(broken)])
    with pytest.raises(fg.UnknownNameError) as caught:
        discovery.registry.get("divergence", "mine")
    assert str(caught.value) == f"unknown divergence 'mine' (none is registered){end}"


def test_a_suggestion_stands_once():
    assert did_you_mean("runs/shop2", ["runs/shop", "runs/shop"]) == "did you mean 'runs/shop'?"
