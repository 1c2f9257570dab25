"""The claims all pass, and one that does not is shown and sets the exit status."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.theory import Claim, claims


@pytest.fixture(autouse=True)
def one_thread():
    with claims.one_thread():
        yield


@pytest.mark.parametrize("measure", [pytest.param(m, id=m.__name__) for m in claims.list_claims()])
def test_every_claim_passes(measure):
    claim = measure()
    assert claim.passed, claim
    assert re.fullmatch(r"ours|arXiv \d{4}\.\d{5}|Williams 1992", claim.source)


GOOD = Claim("sums agree", "ours", 1e-15, 1e-12, detail="3 cases")
BAD = Claim("sky [is] green", "arXiv 1606.00709", 0.5, 1e-12, detail="looked twice")
SHOWN = Claim("a figure", "ours", 0.25, None, detail="of 8 seeds")


def named(claim: Claim):
    """A measure with the name of a claim of this file."""

    def measure() -> Claim:
        return claim

    measure.__name__ = {GOOD: "good", BAD: "bad", SHOWN: "shown"}[claim]
    return measure


@pytest.fixture
def check_theory(monkeypatch):
    """Run the command on made-up claims."""

    def run(*made_up: Claim, arguments=()):
        measures = [named(claim) for claim in made_up]
        for module in ("fdiv_gym.theory.claims", "fdiv_gym.theory"):
            monkeypatch.setattr(f"{module}.list_claims", lambda: measures)
        return CliRunner().invoke(app, ["check", "theory", *arguments], env={"COLUMNS": "80", "TERM": "dumb"})

    return run


def test_the_table_and_status_zero(check_theory):
    result = check_theory(GOOD, SHOWN)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["claim", "source", "measured", "bound", "passed"]
    assert lines[1].split() == ["sums", "agree", "ours", "1e-15", "<=", "1e-12", "yes"]
    assert lines[3].split() == ["measurement,", "without", "a", "bound", "measured"]
    assert lines[4].split() == ["a", "figure", "0.25"]
    assert lines[5].split() == ["of", "8", "seeds"]
    assert "1 of 1 claims passed; 1 measurements have no bound." in result.stdout
    assert max(map(len, lines)) <= 80


def test_a_failing_claim_sets_status_one(check_theory):
    result = check_theory(GOOD, BAD)
    assert result.exit_code == 1
    assert "sky [is] green" in result.stdout
    assert "NO" in result.stdout
    assert "looked twice" in result.stdout


def test_json(check_theory):
    result = check_theory(GOOD, BAD, SHOWN, arguments=["--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert [c["passed"] for c in document["claims"]] == [True, False, True]
    assert [c["kind"] for c in document["claims"]] == ["claim", "claim", "measurement"]
    assert document["claims"][0] == {
        "id": "good",
        "kind": "claim",
        "claim": "sums agree",
        "source": "ours",
        "measured": 1e-15,
        "bound": 1e-12,
        "sense": "<=",
        "passed": True,
        "detail": "3 cases",
    }


@pytest.mark.parametrize("more", [["kl"], ["--set", "a=1"], ["--all"], ["--package", "fdiv-gym"]])
def test_what_does_not_go_with_the_theory_is_refused(check_theory, more):
    result = check_theory(GOOD, arguments=more)
    assert isinstance(result.exception, fg.ConfigError)
    assert str(result.exception) == "check theory takes no name and no option but --json"


def test_a_claim_whose_measurement_raises_has_not_passed(monkeypatch):
    def broken() -> Claim:
        """All is well."""
        raise RuntimeError("it is not")

    monkeypatch.setattr(claims, "list_claims", lambda: [broken])
    seen: list[Claim] = []
    (claim,) = claims.check_claims(seen.append)
    assert not claim.passed
    assert claim.name == "All is well."
    assert claim.detail == "raised RuntimeError: it is not"
    assert seen[0] is claim
    assert claim.id == "broken"
    assert json.loads(json.dumps(claim.to_dict()))["measured"] == "nan"


def test_senses():
    assert dataclasses.replace(GOOD, measured=1e-12).passed
    assert not dataclasses.replace(GOOD, measured=math.nan).passed
    assert dataclasses.replace(GOOD, sense=">=", measured=1.0).passed
    assert not dataclasses.replace(GOOD, sense=">=", measured=0.0).passed
    assert not dataclasses.replace(SHOWN, measured=math.nan).passed
