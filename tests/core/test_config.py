"""Configuration files: overrides, near misses, and what each objective needs."""

import json
import re

import pytest

import fdiv_gym as fg
from fdiv_gym.registry import KINDS, scoped_registry
from fdiv_gym.runs.config import apply_overrides, load_config, parse_config

GOOD = {"env": {"id": "math/Addition-v0"}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evn": {}}, "unknown key 'evn' (did you mean 'env'?)"),
        ({"env": {"id": "math/Aditon-v0"}}, "unknown environment 'math/Aditon-v0' (did you mean 'math/Addition-v0'"),
        ({"env": {}}, '[env] needs id = "..."'),
        ({"env": {"id": "math/Addition-v0", "digit": 1}}, "unknown option 'digit' (did you mean 'digits'"),
        (
            {"env": {"id": "math/Addition-v0", "digits": 0}},
            "option 'digits' = 0: input should be greater than or equal",
        ),
        ({**GOOD, "objective": {"name": "f-gro"}}, "unknown objective 'f-gro' (did you mean 'f-grpo'"),
        ({**GOOD, "objective": {"divergence": "pearsn"}}, "unknown divergence 'pearsn' (did you mean 'pearson'?)"),
        ({**GOOD, "objective": {"link": "fgn"}}, "has no link 'fgn' (did you mean 'fgan'?)"),
        ({**GOOD, "objective": {"bta": 1}}, "unknown option 'bta' (did you mean 'beta'"),
        (
            {**GOOD, "engine": {"name": "transformer"}},
            "[engine] name = 'transformer': unknown engine 'transformer' (did you mean 'transformers'?)",
        ),
        ({**GOOD, "callbacks": [{"name": "no"}]}, "[callbacks] name = 'no': unknown callback 'no'"),
        ({"env": {"id": "no/No-v0"}}, "[env] id = 'no/No-v0': unknown environment 'no/No-v0'"),
        ({**GOOD, "trainer": {"group_size": 1}}, "option 'group_size' = 1: input should be greater than or equal to 2"),
        ({**GOOD, "trainer": {"step": 1}}, "unknown option 'step' (did you mean 'steps'"),
        ({**GOOD, "model": {"embeded": {}}}, "[model]: unknown option 'embeded' (did you mean 'embedded'?)"),
        ({**GOOD, "model": {"embedded": {"layer": 1}}}, "unknown option 'embedded.layer' (did you mean 'layers'"),
        ({**GOOD, "seed": "x"}, "option 'seed' = 'x'"),
        ({**GOOD, "env": 3}, "[env] must be a table, got 3"),
        ({}, "needs rollouts: add a table [env]"),
        ({"objective": {"name": "fdo"}}, "needs preferences: add a table [preferences]"),
        ({**GOOD, "preferences": {"path": "x"}}, "reads no preferences: remove the table [preferences]"),
    ],
)
def test_invalid_input_gives_a_message_on_one_line(values, message):
    with pytest.raises(fg.FdivGymError, match=re.escape(message)) as caught:
        parse_config(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"env": {"id": "no/No-v0"}}, GOOD | {"engine": {"name": "no-such-engine"}}])
def test_an_unknown_name_in_a_table_is_a_wrong_configuration(values):
    with pytest.raises(fg.ConfigError):
        parse_config(values)


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (
            {"requires": ("no_such_package",)},
            fg.MissingExtraError,
            "needs no_such_package: pip install no_such_package",
        ),
        ({"blocked": "it is unsafe"}, fg.PluginError, "is blocked: it is unsafe"),
    ],
)
def test_a_table_that_names_an_unusable_plugin_is_named(entry, error, message):
    with scoped_registry() as registry:
        registry.add(fg.Entry("engine", "far", "far:Far", "far:plugin", **entry))
        with pytest.raises(error) as caught:
            parse_config(GOOD | {"engine": {"name": "far"}})
    assert str(caught.value) == f"[engine] engine 'far' of plugin far:plugin {message}"


@pytest.mark.parametrize("values", [None, 3, [], "run.toml", {1: 2}])
def test_values_that_are_no_configuration_give_a_message_on_one_line(values):
    with pytest.raises(fg.ConfigError, match="configuration"):
        parse_config(values)


def test_a_run_folder_that_is_no_path_and_a_kind_that_is_no_name():
    with pytest.raises(fg.ConfigError, match="the run folder must be a path, got None"):
        fg.train(GOOD, None)
    with pytest.raises(fg.UnknownNameError, match="unknown kind \\[\\]"):
        fg.get([], "rule")


def test_overrides_are_toml_or_plain_text():
    values = apply_overrides(
        {"trainer": {"steps": 3}},
        ["trainer.steps=10", "objective.divergence=kl", "seed = 4", "env.reverse=false", "trainer.learning_rate=1e-4"],
    )
    assert values == {
        "trainer": {"steps": 10, "learning_rate": 1e-4},
        "objective": {"divergence": "kl"},
        "seed": 4,
        "env": {"reverse": False},
    }


@pytest.mark.parametrize("override", ["steps", "=3", "a..b=1"])
def test_malformed_overrides(override):
    with pytest.raises(fg.ConfigError, match="must read key=value"):
        apply_overrides({}, [override])


def test_an_override_through_a_value_is_refused():
    with pytest.raises(fg.ConfigError, match="'seed' holds a value, not a table"):
        apply_overrides({"seed": 1}, ["seed.x=2"])


def test_resolved_configuration_is_complete_and_reads_back_the_same():
    config = parse_config(GOOD)
    resolved = config.resolved()
    divergence = {"name": "pearson", "link": "", "conjugate": "paper"}
    assert resolved["objective"] == {**resolved["objective"], "name": "f-grpo", "divergence": divergence, "beta": 0.1}
    assert resolved["engine"]["name"] == "transformers"
    assert parse_config(json.loads(json.dumps(resolved))) == config


def test_files(tmp_path):
    with pytest.raises(fg.ConfigError, match=r"no configuration file .*missing\.toml"):
        load_config(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("a = = 1")
    with pytest.raises(fg.ConfigError, match=r"bad\.toml is not valid TOML: .*line 1"):
        load_config(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(fg.ConfigError, match="cannot read"):
        load_config(bad)
    with pytest.raises(fg.ConfigError, match=r"is a folder, not a configuration file$"):
        load_config(tmp_path)


@pytest.mark.parametrize("key", ["objective.beta=inf", "trainer.learning_rate=inf", "trainer.max_grad_norm=inf"])
def test_an_infinite_option_is_refused_before_the_run_folder_is_written(key):
    values = apply_overrides({"env": {"id": "math/Addition-v0"}}, [key])
    with pytest.raises(fg.ConfigError, match="finite number"):
        parse_config(values)


def test_a_sweep_over_lam_may_keep_its_preferences():
    table = {"path": "pairs.jsonl"}
    assert parse_config({**GOOD, "objective": {"name": "f-hal", "lam": 0.0}, "preferences": table}).preferences


def test_streams_may_be_a_property():
    class Property(type(fg.get_objective("f-grpo"))):
        @property
        def streams(self):
            return ("rollouts",)

    assert parse_config({**GOOD, "objective": Property}).preferences is None
    with pytest.raises(fg.ConfigError, match="reads no preferences"):
        parse_config({**GOOD, "objective": Property, "preferences": {"path": "pairs.jsonl"}})


@pytest.mark.parametrize(
    ("kind", "name", "env"),
    [
        ("divergence", "kl", "math/Addition-v0"),
        ("objective", "dapo", "math/Addition-v0"),
        ("advantage", "group", "math/Addition-v0"),
        ("aggregation", "token-mean", "math/Addition-v0"),
        ("environment", "math/Addition-v0", "math/Addition-v0"),
        ("verifier", "math", "math/Dataset-v0"),
        ("judge", "rule", "safety/Refusal-v0"),
        ("engine", "transformers", "math/Addition-v0"),
        ("trainer", "accelerate", "math/Addition-v0"),
    ],
)
def test_the_usage_that_describe_shows_works(kind, name, env):
    usage = KINDS[kind].usage.format(name=name).split(" --set ")
    config = parse_config(apply_overrides({"env": {"id": env}}, usage))
    assert (kind, name) in {(ref.kind, ref.name) for ref in config.references()}


def test_check_knows_theory_among_the_kinds():
    from fdiv_gym.cli.check import chosen

    with pytest.raises(fg.UnknownNameError, match="did you mean 'theory'"):
        chosen("thoery", None, everything=False, package=None)
