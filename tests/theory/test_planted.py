"""Every claim is made to fail by a planted fault, and every fault of the audit is caught by a claim."""

from __future__ import annotations

import importlib

import pytest
import torch
from fault_table import AUDIT, FAULTS
from faults import Fault, plant

import fdiv_gym as fg
from fdiv_gym.divergences.base import guard
from fdiv_gym.testing import check_trainer
from fdiv_gym.theory import claims
from fdiv_gym.theory.claims import objectives
from fdiv_gym.theory.claims.objectives import without_formula

MEASURES = {measure.__name__: measure for measure in claims.list_claims()}


@pytest.fixture(autouse=True)
def one_thread():
    with claims.one_thread():
        yield


@pytest.fixture(autouse=True)
def fresh():
    """No measured number is kept from one test to the next."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for family in (*claims.FAMILIES, "objectives"):
        for value in vars(importlib.import_module(f"fdiv_gym.theory.claims.{family}")).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def measured(name: str) -> claims.Claim:
    (claim,) = claims.measure_all([MEASURES[name]])
    return claim


# The faults of the audit at every run, the others with the slow tests: about a second each.
PLANTED = [f if f in AUDIT else pytest.param(f, marks=pytest.mark.slow) for f in FAULTS]


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_fails_its_claims(fault, monkeypatch):
    plant(monkeypatch, fault)
    passed = [name for name in fault.caught_by if measured(name).passed]
    assert not passed, f"not caught by {passed}"


CHANGED = (
    ("objective", "cispo", "clip_high", 2.0),
    ("objective", "f-grpo", "gamma", 1.0),
    ("objective", "kldo", "moving_rate", 0.5),
    ("advantage", "gdpo", "eps", 1e-4),
    ("advantage", "beta-normalised", "ceiling", 1e3),
)


@pytest.mark.parametrize(("kind", "name", "option", "value"), CHANGED)
def test_a_changed_default_fails_the_claim_on_defaults(monkeypatch, kind, name, option, value):
    field = type(fg.get(kind, name)).Options.model_fields[option]
    before = field.default
    monkeypatch.setattr(field, "default", value)
    claim = measured("defaults_are_those_of_the_table")
    assert not claim.passed
    assert claim.detail == f"{name}.{option}: {value!r}, table {before!r}"


def test_every_claim_has_a_fault():
    # Defaults are no code of a function: the test above changes them.
    caught = {name for fault in FAULTS for name in fault.caught_by} | {"defaults_are_those_of_the_table"}
    without_bound = {measure.__name__ for measure in claims.list_measurements()}
    assert (
        set(MEASURES) - caught - without_bound - {f"formula_of_{n.replace('-', '_')}" for n in without_formula()}
        == set()
    )


def test_the_faults_name_existing_claims():
    assert {name for fault in FAULTS for name in fault.caught_by} - set(MEASURES) == set()
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len(AUDIT) == 13


def test_a_fault_whose_place_moved_is_an_error(monkeypatch):
    with pytest.raises(AssertionError, match="adapt the fault 'gone'"):
        plant(monkeypatch, Fault("gone", "fdiv_gym.divergences.base:guard", "no such text", "", ()))


def test_a_planted_fault_is_taken_out_again():
    before = guard.__code__
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, Fault("", "fdiv_gym.divergences.base:guard", "math.isinf(limit)", "True", ()))
        assert float(guard(torch.tensor(50.0), 30.0)) == 50.0
    assert guard.__code__ is before
    assert float(guard(torch.tensor(50.0), 30.0)) < 50.0


def test_every_objective_of_fdiv_gym_has_a_formula():
    ours = {e.name for e in fg.list_entries("objective") if e.plugin.endswith((":core", ":baselines", ":gprl"))}
    missing = sorted(ours & set(without_formula()))
    assert missing == [], f"add a row to fdiv_gym/theory/formulas/table.py for {', '.join(missing)}"


@pytest.mark.parametrize("name", ["dpo", "apo-zero"])
def test_an_objective_of_fdiv_gym_without_a_formula_fails(monkeypatch, name):
    monkeypatch.delitem(objectives.FORMULAS, name)
    claim = measured(f"formula_of_{name.replace('-', '_')}")
    assert claim.name == f"{name}: no formula"
    assert not claim.is_measurement
    assert not claim.passed


def test_another_objective_says_that_no_formula_is_known(monkeypatch):
    monkeypatch.delitem(objectives.FORMULAS, "dpo")
    monkeypatch.setattr(objectives, "first_party", list)
    claim = measured("formula_of_dpo")
    assert claim.name == "dpo: no formula known"
    assert claim.is_measurement


def test_the_kit_for_trainers_finds_an_ignored_temperature(monkeypatch):
    (fault,) = (fault for fault in AUDIT if fault.name == "trainer, temperature ignored")
    plant(monkeypatch, fault)
    report = check_trainer(fg.get_trainer("accelerate"))
    assert {check.name for check in report.failures} == {"log-probs"}
    assert "the engine's log-probs of the sampled tokens differ from the policy's" in report.text()
