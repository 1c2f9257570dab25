"""PluginRef: references are validated with the options, recorded in the provenance, copied, pickled and read back."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import Any

import hypothesis
import pydantic
import pytest
from hypothesis import strategies

import fdiv_gym as fg
from fdiv_gym.registry import references
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.rewards import CachedJudge
from fdiv_gym.runs import parse_config, provenance_of

ADDITION = {"env": {"id": "math/Addition-v0"}}
REFUSAL = "[env] (environment 'safety/Refusal-v0'): option 'judge'"


class Penalised(fg.Objective):
    """An objective of a third party."""

    class Options(fg.Options):
        penalty: fg.PluginRef[fg.Divergence] = fg.PluginRef("pearson")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.penalty = self.options.penalty.build()


class Twofold(fg.Objective):
    """An objective that holds an objective, which holds a divergence."""

    class Options(fg.Options):
        inner: fg.PluginRef[fg.Objective] = fg.PluginRef({"name": "penalised", "penalty": "hellinger"})


class Mixed(fg.Judge):
    class Options(fg.Options):
        members: tuple[fg.PluginRef[fg.Judge], ...] = (fg.PluginRef("rule"),)
        by_name: dict[str, fg.PluginRef[fg.Judge]] = pydantic.Field(default_factory=dict)
        spare: fg.PluginRef[fg.Judge] | None = None
        cached: fg.PluginRef[CachedJudge] | None = None


@pytest.fixture(autouse=True)
def thirdparty():
    with discovery.registry.scoped() as registry:
        registry.add(fg.Entry("objective", "penalised", Penalised, "thirdparty:plugin"))
        registry.add(fg.Entry("objective", "twofold", Twofold, "thirdparty:plugin"))
        registry.add(fg.Entry("judge", "mixed", Mixed, "thirdparty:plugin"))
        yield registry


# ---- provenance -----------------------------------------------------------------------------------


def test_references_of_a_third_party_objective_are_in_the_provenance():
    provenance = provenance_of(parse_config(ADDITION | {"objective": {"name": "penalised"}}))
    assert {"kind": "divergence", "name": "pearson", "plugin": "fdiv-gym:core"} in provenance["entries"]
    assert {"kind": "objective", "name": "penalised", "plugin": "thirdparty:plugin"} in provenance["entries"]
    assert "fdiv-gym:core" in provenance["plugins"]


def test_references_two_deep_are_in_the_provenance():
    config = parse_config(ADDITION | {"objective": {"name": "twofold"}})
    used = {(entry["kind"], entry["name"]) for entry in provenance_of(config)["entries"]}
    assert {("objective", "twofold"), ("objective", "penalised"), ("divergence", "hellinger")} <= used


def test_references_in_tuples_tables_and_options_of_options_are_walked():
    options = {"members": ["rule", {"name": "mixed", "spare": "llm"}], "by_name": {"a": "pairwise"}}
    options["members"][1]["spare"] = {"name": "llm", "model": "m"}
    names = [ref.name for ref in references(fg.get_judge("mixed", **options).options)]
    assert sorted(names) == ["llm", "mixed", "pairwise", "rule", "rule", "rule"]  # pairwise uses a rule too


# ---- validation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("rul", f"{REFUSAL} = 'rul': unknown judge 'rul' (did you mean 'rule'?)"),
        ({"name": "rul", "x": 1}, f"{REFUSAL}: unknown judge 'rul' (did you mean 'rule'?)"),
        ({"nam": "rule"}, f"{REFUSAL}: a judge given as a table needs a 'name', got {{'nam': 'rule'}}"),
        (fg.Divergence, f"{REFUSAL}: the class Divergence is a divergence, expected a judge"),
        (dict, f"{REFUSAL}: the class dict does not derive from Judge, so it is not a judge"),
        (
            {"name": "llm", "modle": "m", "model": "m"},
            f"{REFUSAL} (judge 'llm'): unknown option 'modle' (did you mean 'model'?)",
        ),
        (
            {"name": "ensemble", "judges": ["rule", {"name": "llm", "model": "m", "temperature": -1}]},
            f"{REFUSAL} (judge 'ensemble'): option 'judges.1' (judge 'llm'): option 'temperature' = -1: "
            "input should be greater than or equal to 0",
        ),
        (
            {"name": "mixed", "spare": "rul"},
            f"{REFUSAL} (judge 'mixed'): option 'spare' = 'rul': unknown judge 'rul' (did you mean 'rule'?)",
        ),
        (
            {"name": "mixed", "by_name": {"a": "rul"}},
            f"{REFUSAL} (judge 'mixed'): option 'by_name.a' = 'rul': unknown judge 'rul' (did you mean 'rule'?)",
        ),
        (
            {"name": "mixed", "cached": "rule"},
            f"{REFUSAL} (judge 'mixed'): option 'cached' = 'rule', expected a judge that derives from CachedJudge",
        ),
    ],
)
def test_a_wrong_reference_names_the_option_the_value_and_a_suggestion(judge, message):
    with pytest.raises(fg.ConfigError) as caught:
        parse_config({"env": {"id": "safety/Refusal-v0", "judge": judge}})
    assert str(caught.value) == message


@pytest.mark.parametrize("default", ["no-such", {"name": "no-such"}, {"name": "pearson", "no-such": 1}, 3])
def test_a_default_with_an_unknown_name_is_refused_when_the_plugin_is_built(default):
    class Careless(fg.Objective):
        class Options(fg.Options):
            penalty: fg.PluginRef[fg.Divergence] = fg.PluginRef(default)

    with pytest.raises(fg.ConfigError, match=r"^objective 'Careless': option 'penalty'"):
        Careless()
    with pytest.raises(fg.ConfigError, match=r"\[objective\].*Careless'\): option 'penalty'"):
        parse_config(ADDITION | {"objective": {"name": Careless}})


def test_a_reference_to_a_plugin_whose_package_is_missing_keeps_its_pip_line(thirdparty):
    entry = fg.Entry("judge", "far", Mixed, "thirdparty:plugin", requires=("no_such_package",), extra="far")
    thirdparty.add(entry)
    for judge in ("far", {"name": "ensemble", "judges": ["far"]}):
        with pytest.raises(fg.MissingExtraError, match=re.escape("pip install 'thirdparty[far]'")):
            parse_config({"env": {"id": "safety/Refusal-v0", "judge": judge}})


def test_a_reference_without_a_contract_is_a_mistake_of_the_class():
    class Bare(fg.Judge):
        class Options(fg.Options):
            other: fg.PluginRef = fg.PluginRef("rule")

    with pytest.raises(fg.PluginError, match=r"^judge 'Bare': its Options failed: TypeError: write PluginRef\[Contra"):
        Bare()
    with pytest.raises(TypeError, match=r"write PluginRef\[Contract\]"):

        class Wrong(fg.Options):
            other: fg.PluginRef[int]  # type: ignore[type-var]


def failing(error: BaseException) -> type[fg.Objective]:
    """An objective with a validator that raises."""

    class Failing(fg.Objective):
        class Options(fg.Options):
            x: int = 1

            @pydantic.field_validator("x")
            @classmethod
            def check(cls, value: int) -> int:
                raise error

    return Failing


def with_options(model: Any) -> type[fg.Objective]:
    """An objective with any thing as its Options."""
    return type("Odd", (fg.Objective,), {"Options": model, "__module__": __name__})


def unresolved() -> type[fg.Options]:
    return type("Options", (fg.Options,), {"__annotations__": {"other": fg.PluginRef["NoSuchName"]}, "__module__": "x"})


class FailingDefault(fg.Options):
    x: int = pydantic.Field(default_factory=lambda: 1 // 0)


class SpeechlessError(ValueError):
    def __str__(self) -> str:
        raise KeyError("no text")


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (failing(TypeError("two\nlines")), "its Options failed: TypeError: two lines"),
        (failing(KeyError("k")), "its Options failed: KeyError: 'k'"),
        (failing(SystemExit("s")), "its Options failed: SystemExit: s"),
        (failing(RecursionError("r")), "its Options failed: RecursionError: r"),
        (failing(SpeechlessError()), "its Options failed: "),
        (with_options({"a": 1}), "Options must be a class that derives from fdiv_gym.Options, got {'a': 1}"),
        (with_options(None), "Options must be a class that derives from fdiv_gym.Options, got None"),
        (with_options(unresolved()), "its Options failed: PydanticUserError: `Options` is not fully defined"),
        (with_options(FailingDefault), "its Options failed: ZeroDivisionError"),
    ],
)
def test_options_that_fail_are_one_line_with_the_plugins_name(thirdparty, plugin, message):
    thirdparty.add(fg.Entry("objective", "failing", plugin, "thirdparty:failing"))
    label = "objective 'failing' of plugin thirdparty:failing"
    for objective in ({"name": "failing"}, {"name": "twofold", "inner": "failing"}):
        with pytest.raises(fg.PluginError) as caught:
            parse_config(ADDITION | {"objective": objective})
        assert str(caught.value).startswith(f"[objective] {label}: {message}")
        assert "\n" not in str(caught.value)
    with pytest.raises(fg.PluginError, match="^objective 'failing'.*: " + re.escape(message)):
        fg.get_objective("failing")
    with pytest.raises(fg.PluginError, match=re.escape(message)):
        plugin()


def test_describe_refuses_options_that_fail_in_one_line(thirdparty):
    from fdiv_gym.cli.describe import description

    for name, model in {"failing": FailingDefault, "none": None}.items():
        entry = fg.Entry("objective", name, with_options(model), "thirdparty:failing")
        with pytest.raises(fg.PluginError, match=f"^objective '{name}' of plugin thirdparty:failing: .*Options"):
            description(entry)


def test_a_default_without_a_json_form_is_refused_with_the_plugins_name():
    class Opaque(Penalised):
        class Options(Penalised.Options):
            thing: Any = object()

    config = parse_config(ADDITION | {"objective": Opaque})
    with pytest.raises(fg.PluginError, match=r"^objective '.*Opaque': its options have no JSON form: .*object"):
        config.resolved()


def test_a_reference_that_contains_itself_is_one_short_line():
    class Endless(fg.Judge):
        class Options(fg.Options):
            inner: fg.PluginRef[fg.Judge]

    Endless.Options.model_fields["inner"].default = fg.PluginRef(Endless)
    Endless.Options.model_rebuild(force=True)
    table: dict[str, Any] = {"name": "ensemble"}
    table["judges"] = [table, table]
    for judge in (Endless, table):
        with pytest.raises(fg.ConfigError, match=r"^judge '.*' refers to itself without end") as caught:
            parse_config({"env": {"id": "safety/Refusal-v0", "judge": judge}})
        assert len(str(caught.value)) < 200


def test_an_instance_without_options_is_refused():
    class Bare(fg.Judge):
        def __init__(self, **options: Any) -> None:
            self.options = None

    with pytest.raises(fg.PluginError, match="must call super"):
        parse_config({"env": {"id": "safety/Refusal-v0", "judge": Bare()}})


def test_an_entry_with_presets_is_named_by_its_own_name(thirdparty):
    thirdparty.add(fg.Entry("objective", "first", Penalised, "thirdparty:a", options={"penalty": "kl"}))
    thirdparty.add(fg.Entry("objective", "second", Penalised, "thirdparty:a", options={"penalty": "nope"}))
    with pytest.raises(fg.ConfigError, match=r"^objective 'first': unknown option 'penalti'"):
        fg.get_objective("first", penalti=1)
    with pytest.raises(fg.ConfigError, match=r"^objective 'second': option 'penalty' = 'nope'"):
        fg.get_objective("second")


def test_the_class_of_a_registered_plugin_is_recorded_by_its_name(thirdparty):
    assert fg.PluginRef.of("objective", Penalised).name == "penalised"
    assert fg.PluginRef.of("judge", type(fg.get_judge("rule"))).name == "rule"
    assert fg.PluginRef.of("judge", type(fg.get_judge("rule"))()).name == "rule"
    config = parse_config({"env": {"id": type(fg.make("math/Addition-v0")), "digits": 1}})
    assert config.env is not None
    assert config.env.table("id")["id"] == "math/Addition-v0"
    assert provenance_of(config)["plugins"]["fdiv-gym:math"]["version"]
    thirdparty.add(fg.Entry("objective", "preset", Twofold, "thirdparty:plugin", options={"inner": "f-grpo"}))
    assert fg.PluginRef.of("objective", Twofold).name == "twofold"
    thirdparty.add(fg.Entry("objective", "again", Twofold, "thirdparty:plugin"))
    assert fg.PluginRef.of("objective", Twofold).name == f"{__name__}:Twofold"


# ---- building -------------------------------------------------------------------------------------


def test_a_name_a_table_a_class_and_an_instance_build_the_same():
    pearson = fg.get_divergence("pearson", link="fgan")
    given = ["pearson", {"name": "pearson", "link": "fgan"}, type(pearson), pearson, {"name": pearson}]
    built = [fg.get_objective("penalised", penalty=each).penalty for each in given]
    assert {type(each) for each in built} == {type(pearson)}
    assert built[3] is built[4] is pearson
    assert built[1].link_name == "fgan"
    ref = fg.get_objective("penalised", penalty={"name": "pearson", "link": "fgan"}).options.penalty
    assert fg.get_divergence(ref).link_name == "fgan"
    with pytest.raises(fg.ConfigError, match="is already built"):
        fg.get_objective("f-grpo", divergence=pearson, link="fgan")


def test_get_takes_tables_with_tables():
    judge = fg.get_judge({"name": "ensemble", "judges": ["rule", {"name": "rule", "max_characters": 3}]})
    assert [member.options.max_characters for member in judge.members] == [200, 3]


# ---- copies, equality and files -------------------------------------------------------------------


def test_options_with_references_can_be_copied_and_pickled():
    options = fg.get_judge("mixed", members=["rule", {"name": "mixed", "spare": "rule"}]).options
    for other in (copy.deepcopy(options), copy.copy(options), pickle.loads(pickle.dumps(options))):
        assert other == options
        assert other.members[1].build().options == options.members[1].checked_options
    config = parse_config(ADDITION | {"objective": {"name": "twofold"}})
    assert pickle.loads(pickle.dumps(config)) == config == copy.deepcopy(config)


def test_a_copy_keeps_the_instance_that_was_given():
    divergence = fg.get_divergence("kl")
    options = fg.get_objective("penalised", penalty=divergence).options
    assert copy.deepcopy(options).penalty.build() is divergence


def test_equal_references_have_equal_hashes():
    bare, full = fg.PluginRef("pearson"), fg.get_objective("penalised").options.penalty
    table = fg.get_objective("penalised", penalty={"name": "pearson"}).options.penalty
    assert bare == full == table
    assert len({bare, full, table}) == 1
    assert full != fg.get_objective("penalised", penalty="kl").options.penalty
    assert full != fg.get_objective("penalised", penalty={"name": "pearson", "link": "fgan"}).options.penalty
    assert full != fg.get_objective("penalised", penalty=fg.get_divergence("pearson")).options.penalty
    assert full != "pearson"


def test_json_holds_every_option_of_what_is_referred_to():
    options = fg.get_objective("penalised").options
    assert options.model_dump(mode="json") == {"penalty": {"name": "pearson", "link": "", "conjugate": "paper"}}
    assert Penalised.Options.model_json_schema()["properties"]["penalty"]["default"] == "pearson"


def built_without_data(kind: str) -> list[str]:
    """First-party names whose plugins can be built as they are."""
    names = []
    for entry in fg.list_entries(kind):
        if entry.plugin.startswith("fdiv-gym:") and entry.status == "ok":
            try:
                fg.get(kind, entry.name)
            except fg.FdivGymError:
                continue
            names.append(entry.name)
    return names


def read_back(values: dict[str, Any]) -> None:
    config = parse_config(values)
    resolved = config.resolved()
    again = parse_config(json.loads(json.dumps(resolved)))
    assert again == config
    assert again.resolved() == resolved


def run_with(objective: dict[str, Any], env: str = "math/Addition-v0") -> dict[str, Any]:
    streams = fg.get_objective(objective).streams
    values: dict[str, Any] = {"objective": objective, "env": {"id": env}}
    return values | ({"preferences": {"path": "pairs.jsonl"}} if "preferences" in streams else {})


def test_every_objective_and_environment_reads_back_equal():
    objectives, environments = built_without_data("objective"), built_without_data("environment")
    assert len(objectives) >= 17
    assert len(environments) >= 20
    for objective in objectives:
        read_back(run_with({"name": objective}))
    for env in environments:
        read_back(run_with({"name": "f-grpo"}, env))


NAMES = strategies.sampled_from(["kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "total_variation"])
DIVERGENCES = strategies.one_of(
    NAMES,
    strategies.fixed_dictionaries({"name": NAMES}, optional={"link": strategies.sampled_from(["", "fgan"])}),
    strategies.just({"name": "from_generator", "generator": "(t - 1)^2"}),
)
OBJECTIVES = strategies.one_of(
    strategies.fixed_dictionaries(
        {"name": strategies.sampled_from(["f-grpo", "f-hal"]), "divergence": DIVERGENCES},
        optional={
            "beta": strategies.floats(1e-6, 1e6),
            "advantage": strategies.sampled_from(["group", {"name": "group", "eps": 0.5}, "batch", "leave-one-out"]),
        },
    ),
    strategies.fixed_dictionaries({"name": strategies.just("penalised"), "penalty": DIVERGENCES}),
    strategies.fixed_dictionaries(
        {"name": strategies.sampled_from(["grpo", "dapo", "rloo"])},
        optional={
            "aggregation": strategies.sampled_from(["sequence", {"name": "constant-length", "length": 7}]),
            "beta": strategies.floats(0, 10),
        },
    ),
)


@hypothesis.given(objective=OBJECTIVES)
@hypothesis.settings(
    max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_options_read_back_equal(objective):
    read_back(run_with(objective))
