"""The record of the plugins that a run uses, and what a change of them does to a resume."""

from __future__ import annotations

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import PROVENANCE, RunFolder
from fdiv_gym.runs.provenance import (
    accept_changed_plugins,
    entries_in_use,
    plugins_in_use,
    provenance_of,
    refuse_changed_plugins,
)

CONFIG = parse_config({"env": {"id": "math/Addition-v0"}, "objective": {"name": "f-grpo"}})


@pytest.fixture
def run(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG.resolved())
    folder.write_json(PROVENANCE, provenance_of(CONFIG))
    return folder


def test_unchanged_plugins_are_accepted(run):
    refuse_changed_plugins(run, CONFIG)
    accept_changed_plugins(run, CONFIG)
    assert "earlier_plugins" not in run.read_json(PROVENANCE)


def test_changed_missing_and_new_plugins_are_refused_until_accepted(run):
    record = run.read_json(PROVENANCE)
    began = record["plugins"] | {
        "fdiv-gym:core": {"version": "0.0.9", "source": "abc"},
        "gone:plugin": {"version": "1", "source": "def"},
    }
    new = began.pop("fdiv-gym:math")
    run.write_json(PROVENANCE, record | {"plugins": began})
    with pytest.raises(fg.TrainerError) as raised:
        refuse_changed_plugins(run, CONFIG)
    said = str(raised.value)
    assert "fdiv-gym:core (0.0.9, abc -> " in said
    assert "gone:plugin (1, def -> absent)" in said
    assert f"fdiv-gym:math (absent -> {new['version']}, {new['source']})" in said
    accept_changed_plugins(run, CONFIG)
    refuse_changed_plugins(run, CONFIG)
    record = run.read_json(PROVENANCE)
    assert record["earlier_plugins"] == [began]
    assert record["plugins"] == plugins_in_use(entries_in_use(CONFIG))


def test_members_of_a_list_are_in_use_too():
    judge = {"name": "ensemble", "judges": ["rule", {"name": "llm", "model": "m"}]}
    config = parse_config({"env": {"id": "safety/Preference-v0", "judge": judge}})
    used = {(entry.kind, entry.name) for entry in entries_in_use(config)}
    assert {("judge", "ensemble"), ("judge", "rule"), ("judge", "llm")} <= used
