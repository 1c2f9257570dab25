"""``fdiv-gym new``: every kind is generated, installed, tested, listed, checked and trained with."""

from __future__ import annotations

import ast
import importlib
import json
import textwrap

import pytest

from fdiv_gym.cli.new import template_text, write_package
from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.kinds import KINDS, templates
from fdiv_gym.testing import check_environment

ENVIRONMENTS = {"environment": "mine/Backwards-v0", "conversation": "mine/Number-v0"}
TEMPLATES = templates()
NAMES = {template: ENVIRONMENTS.get(template, f"my-{template}") for template in TEMPLATES}
PLUGINS = {**{name: f"{name}:plugin" for name in NAMES.values()},
           "mine/Backwards-v0": "mine-backwards:plugin", "mine/Number-v0": "mine-number:plugin"}  # fmt: skip

#: Two steps with each plugin, in one process, because most of the time is spent on imports.
TRAINING = """
import json, sys, tempfile
from pathlib import Path
import fdiv_gym as fg
from fdiv_gym.runs.config import parse_config
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.runs.folder import RunFolder

TINY = {"layers": 1, "heads": 1, "warm_start_steps": 2, "warm_start_batch": 4}
ADDITION = {"id": "math/Addition-v0", "digits": 1}
BASE = {"engine": {"max_new_tokens": 4}, "objective": {"name": "f-grpo"},
        "trainer": {"steps": 2, "prompts_per_step": 2, "group_size": 2, "evaluate_tasks": 4, "evaluate_samples": 1}}

class Asks(fg.TextEnv):
    has_reference_response = False
    class Options(fg.TextEnv.Options):
        verifier: fg.PluginRef[fg.Verifier] = fg.PluginRef("math")
    def tasks(self, split):
        return [fg.Task("ab>", "x")] if split == "train" else [fg.Task("cd>", "y")]
    def score(self, task, response):
        return self.options.verifier.build().verify(task.answer, response)

RUNS = {
    "divergence": {"objective": {"name": "f-grpo", "divergence": "my-divergence"}},
    "objective": {"objective": {"name": "my-objective"}},
    "advantage": {"objective": {"name": "f-grpo", "advantage": "my-advantage"}},
    "aggregation": {"objective": {"name": "grpo", "aggregation": "my-aggregation"}},
    "environment": {"env": {"id": "mine/Backwards-v0"}},
    "conversation": {"env": {"id": "mine/Number-v0"}},
    "verifier": {"env": {"id": "asks/Asks-v0", "verifier": "my-verifier"}},
    "judge": {"env": {"id": "safety/Preference-v0", "judge": "my-judge"}, "engine": {"max_new_tokens": 4}},
    "engine": {"engine": {"name": "my-engine", "max_new_tokens": 4}},
    "trainer": {"trainer": {"name": "my-trainer", **BASE["trainer"]}},
    "callback": {"callbacks": [{"name": "my-callback"}]},
}
done = {}
with discovery.registry.scoped() as registry:
    registry.add(fg.Entry("environment", "asks/Asks-v0", Asks, "test:test"))
    for kind, changes in RUNS.items():
        config = parse_config({"env": ADDITION, "model": {"embedded": TINY}, **BASE, **changes})
        folder = Path(tempfile.mkdtemp())
        RunFolder.create(folder / "run", config.resolved())
        result = config.trainer.build().fit(config, folder / "run")
        plugins = sorted(RunFolder(folder / "run").read_json("provenance.json")["plugins"])
        done[kind] = {"status": result.status, "steps": result.steps, "plugins": plugins,
                      "exported": (folder / "run" / "model" / "config.json").is_file()}
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def generated(bare_venv, tmp_path_factory):
    """A venv with one package of every template, installed by one pip call."""
    folder = tmp_path_factory.mktemp("generated")
    for kind, name in NAMES.items():
        write_package(kind, name, folder / kind)
    made = bare_venv()
    made.install(*(folder / kind for kind in NAMES))
    return made, folder


def test_the_tests_of_all_generated_packages_pass(generated):
    made, folder = generated
    tests = [str(folder / kind / "tests") for kind in NAMES]
    # An import mode without __init__ files, and warnings as errors, as in our own tests.
    said = made.run("-m", "pytest", "-q", "-W", "error", "--import-mode=importlib", "-p", "no:cacheprovider", *tests)
    assert f"{2 * len(NAMES)} passed" in said


def test_they_are_listed_described_and_found(generated):
    made, _ = generated
    listed = {(e["kind"], e["name"]): e for e in json.loads(made.cli("list", "--json"))}
    for template, name in NAMES.items():
        entry = listed[TEMPLATES[template][0].name, name]
        assert entry["status"] == "ok"
        assert entry["plugin"] == PLUGINS[name]
    assert "scaled chi-square" in made.cli("describe", "divergence", "my-divergence")
    checked = json.loads(made.cli("check", "--package", "my-divergence", "--json"))
    assert [(c["name"], c["status"]) for c in checked] == [("my-divergence", "passed")]


def test_they_train(generated):
    made, _ = generated
    said = made.run("-c", textwrap.dedent(TRAINING), FDIV_GYM_QUIET="1").strip().splitlines()
    (done,) = [json.loads(line) for line in said if line.startswith("{")]  # warnings follow it
    assert set(done) == set(NAMES)
    for kind, outcome in done.items():
        assert (outcome["status"], outcome["steps"]) == ("finished", 2), kind
        assert PLUGINS[NAMES[kind]] in outcome["plugins"], kind
    assert [kind for kind, outcome in done.items() if outcome["exported"]] == ["trainer"]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("divergenc", "x", "there is no template for 'divergenc' \\(did you mean 'divergence'"),
        ("divergence", "kl", "divergence 'kl' is already registered by fdiv-gym:core"),
        ("divergence", "json", "a package 'json' is already installed"),
        ("divergence", "2nd", "cannot name a package"),
        ("divergence", "lambda", "cannot name a package"),
        ("divergence", "tail-", "cannot name a package"),
        ("divergence", "tests", "cannot name a package"),
        ("divergence", "\u212aelvin", "cannot name a package"),
        ("divergence", 'x"; import os; "', "cannot name a package"),
        ("divergence", "x\ny", "cannot name a package"),
        ("divergence", "../up", "cannot name a package"),
        ("environment", "a/b", "namespace/Name-v0"),
    ],
)
def test_names_that_are_refused(tmp_path, kind, name, message):
    with pytest.raises(ConfigError, match=message):
        write_package(kind, name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("divergence", "true", "MyTrue"),  # class True is no Python
        ("environment", "ns/1Up-v0", "My1Up"),
        ("trainer", "run-folder", "MyRunFolder"),  # the template uses RunFolder
        ("divergence", "divergence", "MyDivergence"),
        ("judge", "short-and-sweet", "ShortAndSweet"),
    ],
)
def test_the_class_name_is_used_by_neither_python_nor_the_template(tmp_path, kind, name, expected):
    write_package(kind, name, tmp_path / "x")
    (module,) = tmp_path.glob(f"x/*/{kind}.py")
    classes = [n.name for n in ast.parse(module.read_text()).body if isinstance(n, ast.ClassDef)]
    assert classes[0] == expected
    assert f":{expected}" in (module.parent / "plugin.py").read_text()


def test_every_kind_has_a_template_and_every_template_is_trained_with():
    assert set(KINDS) < set(TEMPLATES)
    assert all(template_text(template.file) for _, template in TEMPLATES.values())
    assert all(f'"{name}": {{' in TRAINING for name in TEMPLATES)


def test_the_conversation_of_the_template_is_an_environment(tmp_path, monkeypatch):
    write_package("conversation", "guesses/Number-v0", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = importlib.import_module("guesses_number.conversation")
    for numbers in (2, 7, 15):
        env = plugin.Number(numbers=numbers)
        task = env.task_list("train")[0]
        assert env.reset(options={"task": 0})[0] == task.text == f"10-{9 + numbers}?"
        assert env.step("9")[:4] == ("higher", 0.0, False, False)
        assert env.step("9" * 5000)[:4] == ("no number", 0.0, False, False)
        assert env.step("99")[:4] == ("lower", 0.0, False, False)
        assert env.step(task.answer)[:4] == ("", 1.0, True, False)
        report = check_environment(env)
        assert report.ok, report.text()


def test_the_printed_commands_install_what_the_tests_need(tmp_path, capsys):
    write_package("conversation", "mine/Number-v0", tmp_path / "p")
    assert f"  pip install -e '{tmp_path / 'p'}[test]'\n  pytest {tmp_path / 'p'}\n" in capsys.readouterr().out
    assert "    pip install -e '.[test]'\n    pytest\n" in (tmp_path / "p" / "README.md").read_text()


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        write_package("judge", "kind-judge", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
