"""list, describe and check: as text on 80 columns and as JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.describe import meaning
from fdiv_gym.cli.main import app
from fdiv_gym.registry.discovery import discovery


@pytest.fixture
def cli(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    return run


def test_list_gives_every_name_of_a_kind(cli):
    status, output = cli("list", "aggregation")
    assert status == 0
    assert output.splitlines()[0] == "aggregation"
    assert "  token-mean       mean over all tokens (DAPO)" in output.splitlines()
    records = json.loads(cli("list", "aggregation", "--json")[1])
    assert [r["name"] for r in records] == ["constant-length", "sequence", "token-mean"]
    assert records[0]["target"] == "fdiv_gym.objectives.aggregation:ConstantLength"


def test_everything_is_readable_on_80_columns(cli):
    for arguments in (["list"], ["plugins"], ["describe", "objective", "f-hal"], ["describe", "judge", "llm"]):
        status, output = cli(*arguments)
        assert status == 0
        wide = [line for line in output.splitlines() if len(line) > 80 and " " in line.strip()]
        assert wide == []


def test_describe_shows_types_bounds_defaults_and_meaning(cli):
    record = json.loads(cli("describe", "objective", "f-grpo", "--json")[1])
    options = {option["name"]: option for option in record["options"]}
    assert options["beta"] == {
        "name": "beta", "type": "float", "bounds": ["> 0"], "required": False, "default": 0.1,
        "description": "Scale of the implicit reward beta (log pi - log pi_ref).",
    }  # fmt: skip
    assert options["weighting"]["type"] == "'uniform' | 'softmax' | 'length_normalised'"
    assert options["divergence"]["type"] == "divergence (name or table)"
    assert options["divergence"]["default"] == "pearson"
    assert record["plugin"] == "fdiv-gym:core"
    assert record["source"].rpartition(":")[0].endswith("f_grpo.py")
    output = cli("describe", "engine", "transformers")[1]
    assert "max_new_tokens  int >= 1, default 64. Longest response, in tokens" in output
    assert "fdiv-gym train RUN.toml --set engine.name=transformers" in output


def test_every_option_of_every_plugin_has_a_description():
    missing = []
    for entry in discovery.registry.entries():
        if entry.status == "ok" and not entry.name.startswith("reasoning/"):
            model = entry.load().Options
            missing += [f"{entry.kind} {entry.name}: {k}" for k in model.model_fields if not meaning(model, k)]
    assert missing == []


def test_describe_an_unknown_name_names_the_nearest(cli):
    with pytest.raises(fg.UnknownNameError, match="unknown divergence 'perason' \\(did you mean 'pearson'"):
        cli("describe", "divergence", "perason")


def test_check_passes_with_status_0_and_fails_with_1(cli):
    class Raw(fg.Advantage):
        def compute(self, groups):
            return groups.rewards

    status, output = cli("check", "divergence", "kl", "--json")
    (record,) = json.loads(output)
    assert status == 0
    assert record["status"] == "passed"
    assert len(record["reports"]) == 3  # one for each link
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("advantage", "raw", Raw, "thirdparty:plugin"))
        status, output = cli("check", "advantage", "raw")
    assert status == 1
    assert output.startswith("failed  advantage raw")
    assert "expected a finite number (0 where there is no score)" in " ".join(output.split())


def test_check_skips_what_needs_options_or_extras(cli):
    class Off(fg.Judge):
        pass

    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("judge", "far", Off, "thirdparty:plugin", requires=("no_such_thing",), extra="far"))
        registry.add(fg.Entry("judge", "banned", Off, "thirdparty:plugin", blocked="licence"))
        status, output = cli("check", "--package", "thirdparty", "--json")
    assert status == 0
    found = {r["name"]: (r["status"], r["reason"]) for r in json.loads(output)}
    assert found["banned"] == ("skipped", "licence")
    assert found["far"] == ("skipped", "unavailable(far): pip install 'thirdparty[far]'")
    with pytest.raises(fg.EnvError, match=r"needs env\.source"):
        cli("check", "environment", "math/Dataset-v0")
    assert cli("check", "divergence", "from_generator", "--set", "generator=t**2 - 1")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a kind and a name, or --all, or --package NAME"),
        (["divergence", "kl", "--all"], "give a kind and a name, or --all, or --package NAME"),
        (["--package", "nobody"], "no plugin of nobody is registered: no such distribution has plugins"),
        (["advantage", "--set", "a=1"], "--set needs one kind and one name"),
    ],
)
def test_check_refuses_wrong_arguments(cli, arguments, message):
    with pytest.raises(fg.ConfigError, match=message):
        cli("check", *arguments) if arguments else cli("check", "--json")


def test_a_verifier_is_measured(cli):
    output = cli("check", "verifier", "math")[1]
    for figure in ("false positive rate: 0", "false negative rate: 0", "timeout rate: 0", "p50 ms: ", "p99 ms: "):
        assert figure in output


def test_completion_offers_kinds_and_names():
    from fdiv_gym.cli import arguments
    from fdiv_gym.cli.check import _complete_subject

    class Context:
        params = {"kind": "advantage"}  # noqa: RUF012

    assert arguments.complete_kind("di") == ["divergence"]
    assert _complete_subject("t") == ["trainer", "theory"]
    assert arguments.complete_name(Context(), "m") == ["max-normalised", "mean-centred"]
    assert "fdiv-gym" in arguments.complete_package("fd")


@pytest.mark.parametrize("kind", ["advantage", "aggregation", "callback"])
def test_every_registered_small_plugin_conforms(cli, kind):
    assert cli("check", kind)[0] == 0


@pytest.mark.slow
def test_everything_that_is_registered_conforms(cli):
    status, output = cli("check", "--all", "--json")
    assert [(r["kind"], r["name"]) for r in json.loads(output) if r["status"] == "failed"] == []
    assert status == 0


def test_every_environment_and_judge_of_fdiv_gym_conforms():
    from fdiv_gym.cli.check import check_entry

    entries = [e for kind in ("environment", "judge") for e in discovery.registry.entries(kind)]
    records = [check_entry(e, {}, alone=False) for e in entries if not e.name.startswith("reasoning/")]
    assert [r for r in records if r["status"] == "failed"] == []
    passed = {r["name"] for r in records if r["status"] == "passed"}
    assert {"math/Addition-v0", "math/Hints-v0", "safety/Refusal-v0", "rule", "pairwise"} <= passed
    assert all(r["reason"] for r in records if r["status"] == "skipped")
