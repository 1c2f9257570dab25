"""Classes and instances in place of names, as in a notebook without a package."""

from __future__ import annotations

import importlib
import json
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder, parse_config, resume_run

MODEL = {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 5, "warm_start_batch": 8}
TRAINER = {
    "steps": 2, "prompts_per_step": 2, "group_size": 3, "evaluate_tasks": 2, "evaluate_every": 1, "checkpoint_every": 1,
}  # fmt: skip


class Repeat(fg.TextEnv):
    """Say the letters again."""

    class Options(fg.TextEnv.Options):
        letters: int = 1

    def tasks(self, split):
        return [
            fg.Task(c * self.options.letters + ">", c * self.options.letters) for c in "abcdefgh"[split == "train" :: 2]
        ]

    def score(self, task, response):
        return fg.Verdict.scored(float(response.startswith(task.answer)))


class Squared(fg.Divergence):
    """Pearson's, under another name."""

    slope_at_infinity = float("inf")

    def generator(self, t):
        return (t - 1) ** 2

    def conjugate(self, s):
        return torch.where(s >= -2, s + s**2 / 4, torch.full_like(s, -1.0))

    def links(self):
        return {"fgan": fg.Link(positive=lambda v: v, negative=lambda v: v + v**2 / 4, critic=lambda r: 2 * (r - 1))}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")


def values(env: Any = Repeat, **tables: Any) -> dict[str, Any]:
    return {
        "env": env if isinstance(env, dict) else {"id": env},
        "model": {"embedded": dict(MODEL)},
        "engine": {"max_new_tokens": 4},
        "trainer": dict(TRAINER),
        **tables,
    }


def provenance(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance.json").read_text())


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))}
        for line in RunFolder(folder).lines("metrics.jsonl")
    ]


# ---- look-up --------------------------------------------------------------------------------------


def test_make_and_get_take_classes_and_instances():
    env = fg.make(Repeat, letters=2)
    assert env.options.letters == 2
    assert fg.make(env) is env
    assert fg.get_environment({"name": Repeat, "letters": 3}).options.letters == 3
    assert isinstance(fg.get_divergence(Squared), Squared)
    objective = fg.get_objective(fg.get_objective("f-grpo", divergence=Squared))
    assert isinstance(objective.divergence, Squared)
    with pytest.raises(fg.ConfigError, match=r"environment 'Repeat': unknown option 'leters' \(did you mean 'letters'"):
        fg.make(Repeat, leters=2)
    with pytest.raises(fg.ConfigError, match=r"is already built: the options \['letters'\] cannot be applied"):
        fg.make(env, letters=3)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"env": {"id": Squared}}, "the class Squared is a divergence, expected an environment"),
        ({"env": {"id": dict}}, "the class dict does not derive from Environment, so it is not an environment"),
        (
            {"env": {"id": 3}},
            "an environment must be given as a registered name, a table with a name, or a subclass",
        ),
        ({"env": {"id": Repeat, "leters": 1}}, "unknown option 'leters' (did you mean 'letters'?)"),
        ({"objective": {"name": Repeat}}, "the class Repeat is an environment, expected an objective"),
        (
            {"objective": {"divergence": Repeat}},
            "option 'divergence': the class Repeat is an environment, expected a divergence",
        ),
        ({"engine": {"name": fg.get_judge}}, "an engine must be given as a registered name"),
        ({"callbacks": [Repeat]}, "the class Repeat is an environment, expected a callback"),
        ({"env": 3}, "[env] must be a table, got 3"),
    ],
)
def test_a_class_of_the_wrong_kind_gets_one_line(tables, message):
    with pytest.raises(fg.ConfigError) as caught:
        parse_config(values() | tables)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_instance_takes_no_options_beside_it():
    with pytest.raises(fg.ConfigError, match=r"this environment is already built .*: further options cannot"):
        parse_config(values({"id": Repeat(), "letters": 2}))


def test_a_class_or_an_instance_may_stand_for_its_whole_table():
    config = parse_config(values() | {"env": Repeat, "objective": fg.get_objective("grpo"), "callbacks": [fg.Callback]})
    assert (config.env.name, config.objective.build().kind) == (f"{__name__}:Repeat", "objective")
    assert [ref.name for ref in config.callbacks] == ["fdiv_gym.runs.callback:Callback"]
    config = parse_config({"env": fg.make("safety/Refusal-v0")})
    assert config.env.table("id")["id"] == "safety/Refusal-v0"


# ---- runs -----------------------------------------------------------------------------------------


def test_a_class_defined_on_the_spot_is_trained_and_its_source_recorded(tmp_path):
    class Local(Repeat):
        def score(self, task, response):
            return fg.Verdict.scored(float(len(response) > 2))  # a comment in the class

    objective = {"name": "f-grpo", "divergence": Squared}
    result = fg.train(values({"id": Local, "letters": 2}, objective=objective), tmp_path / "run")
    assert (result.status, result.steps) == ("finished", 2)
    plugins = provenance(result.folder)["plugins"]
    place = f"{__name__}:{Local.__qualname__}"
    local, squared = plugins[f"python:{place}"], plugins[f"python:{__name__}:Squared"]
    assert local["place"] == place
    assert local["text"].startswith("class Local(Repeat):\n    def score")
    assert "# a comment in the class" in local["text"]
    assert "class Repeat(fg.TextEnv):" in local["text"]  # its base class is recorded too
    assert "class TextEnv" not in local["text"]
    assert squared["text"].startswith("class Squared(fg.Divergence):")
    assert len({local["source"], squared["source"]}) == 2
    config = json.loads((result.folder / "config.json").read_text())
    unset = {"isolate": None, "system_prompt": None, "length_penalty": None}
    others = {"split": "train", "score_deadline_s": 300.0, "score_truncated": "as_is", "letters": 2}
    assert config["env"] == {"id": place, **unset, **others}
    assert config["objective"]["divergence"] == {"name": f"{__name__}:Squared", "link": ""}


def test_a_class_an_instance_and_a_name_give_the_same_run(tmp_path):
    env = fg.make("math/Addition-v0", digits=1)
    runs = {"instance": env, "class": {"id": type(env), "digits": 1}, "name": {"id": "math/Addition-v0", "digits": 1}}
    results = {how: fg.train(values(env), tmp_path / how) for how, env in runs.items()}
    assert metrics(results["instance"].folder) == metrics(results["name"].folder)
    assert provenance(results["instance"].folder)["plugins"] == provenance(results["name"].folder)["plugins"]
    assert metrics(results["class"].folder)[0]["reward/mean"] == metrics(results["name"].folder)[0]["reward/mean"]


def test_a_run_resumes_with_the_same_classes_exactly(tmp_path):
    straight = fg.train(values(), tmp_path / "straight")

    class Stop(fg.Callback):
        fatal = True
        armed = True

        def before_rollouts(self, step):
            if step == 2 and Stop.armed:
                raise RuntimeError("power cut")

    config = values(callbacks=[Stop])
    with pytest.raises(fg.PluginError, match="Stop' failed in before_rollouts: RuntimeError: power cut"):
        fg.train(config, tmp_path / "cut")
    Stop.armed = False
    result = fg.train(config, tmp_path / "cut", resume=True)
    assert (result.status, result.steps) == ("finished", 2)
    assert metrics(result.folder) == metrics(straight.folder)
    weights = [
        (folder / "checkpoints" / "step-000002" / "model" / "model.safetensors").read_bytes()
        for folder in (straight.folder, result.folder)
    ]
    assert weights[0] == weights[1]


def test_a_class_cannot_be_restored_from_the_folder_alone(tmp_path, capsys, monkeypatch):
    fg.train(values(), tmp_path / "run")
    message = (
        f"environment '{__name__}:Repeat' is a class that no plugin registered: pass the class itself, from Python; "
        "to resume a run that uses it, call fdiv_gym.train(config, folder, resume=True)"
    )
    with pytest.raises(fg.ConfigError) as caught:
        resume_run(tmp_path / "run")
    assert str(caught.value) == message
    from fdiv_gym.cli.main import main

    monkeypatch.setattr(sys, "argv", ["fdiv-gym", "train", "--resume", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"


SOURCE = """
import fdiv_gym as fg

class Env(fg.TextEnv):
    def tasks(self, split):
        return [fg.Task(c + ">", c) for c in ("abcd" if split == "train" else "ef")]

    def score(self, task, response):
        return fg.Verdict.scored(float(response.startswith({what})))
"""


def test_a_class_whose_source_changed_is_refused_until_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "written_in_a_hurry.py"
    file.write_text(SOURCE.format(what="task.answer"))
    module = importlib.import_module("written_in_a_hurry")
    run = tmp_path / "run"
    fg.train(values(module.Env), run)
    recorded = provenance(run)["plugins"]["python:written_in_a_hurry:Env"]
    fg.train(values(module.Env), run, resume=True)

    file.write_text(SOURCE.format(what="task.answer[:1] or 'another'"))
    module = importlib.reload(module)
    with pytest.raises(fg.TrainerError, match=r"have changed: python:written_in_a_hurry:Env \(\w{16} -> \w{16}\)"):
        fg.train(values(module.Env), run, resume=True)
    fg.train(values(module.Env), run, resume=True, allow_plugin_change=True)
    now = provenance(run)
    assert now["earlier_plugins"][0]["python:written_in_a_hurry:Env"] == recorded
    assert now["plugins"]["python:written_in_a_hurry:Env"]["source"] != recorded["source"]


def nowhere(score: float = 1.0) -> Any:
    """A class without a source, as ``python -c`` defines it; each call defines it anew."""
    text = SOURCE.format(what="'a'").replace("float(response", f"{score} * float(response")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "<nowhere>", "exec"), namespace)
    return namespace["Env"]


def test_a_class_of_unknown_source_is_not_resumed_until_it_is_allowed(tmp_path):
    run, env = tmp_path / "run", nowhere()
    fg.train(values(env), run)
    message = (
        r"their source cannot be compared: python:__main__:Env \(the source of Env cannot be found.*allow_plugin_cha"
    )
    with pytest.raises(fg.TrainerError, match=message):
        fg.train(values(env), run, resume=True)
    assert fg.train(values(env), run, resume=True, allow_plugin_change=True).status == "finished"


def test_messages_about_an_existing_run_name_the_python_call(tmp_path):
    fg.train(values(), tmp_path / "run")
    with pytest.raises(fg.TrainerError, match=r"fdiv_gym\.train\(config, folder, resume=True\)"):
        fg.train(values(), tmp_path / "run")


def test_two_classes_of_one_place_are_both_recorded():
    class Both(fg.Callback):
        """The first."""

        def before_rollouts(self, step):
            pass

    first = Both

    class Both(fg.Callback):  # type: ignore[no-redef]
        """The second."""

        def before_rollouts(self, step):
            pass

    from fdiv_gym.runs import provenance_of

    plugins = provenance_of(parse_config(values(callbacks=[first, Both])))["plugins"]
    records = {name: record for name, record in plugins.items() if "Both" in name}
    place = f"python:{__name__}:{Both.__qualname__}"
    assert set(records) == {f"{place}#{record['source']}" for record in records.values()}
    assert sorted("The first" in record["text"] for record in records.values()) == [False, True]
    assert place in provenance_of(parse_config(values(callbacks=[first, first])))["plugins"]
    with_unknown = provenance_of(parse_config(values(nowhere(), callbacks=[first, Both])))["plugins"]
    assert len(with_unknown) == len(plugins)  # Env in place of Repeat


def test_a_recorded_class_is_named_alike_by_make_and_by_rescore(tmp_path):
    from fdiv_gym.evaluation import rescore

    with pytest.raises(fg.ConfigError, match="environment '__main__:E' is a class that no plugin registered: pass the"):
        fg.make("__main__:E")
    fg.train(values(), tmp_path / "run")
    with pytest.raises(fg.ConfigError, match=r"Repeat' is a class that no plugin registered: pass the .*--with$"):
        rescore(tmp_path / "run")


def test_another_configuration_is_no_resume(tmp_path):
    fg.train(values(), tmp_path / "run")
    other = values({"id": Repeat, "letters": 2}, trainer=TRAINER | {"steps": 3})
    with pytest.raises(fg.ConfigError, match=r"has another configuration: env\.letters \(1 -> 2\), trainer\.st"):
        fg.train(other, tmp_path / "run", resume=True)


@pytest.mark.parametrize("cells", [True, False])
def test_the_source_of_a_notebooks_cell(cells):
    text = "class Cell(fg.TextEnv):\n    def tasks(self, split):\n        return []\n"
    place = f"<cell {cells}>"
    if cells:  # as IPython does
        linecache.cache[place] = (len(text), None, text.splitlines(True), place)
    namespace: dict[str, Any] = {"fg": fg, "__name__": "__main__"}
    exec(compile(text, place, "exec"), namespace)
    from fdiv_gym.runs import provenance_of

    record = provenance_of(parse_config(values(namespace["Cell"])))["plugins"]["python:__main__:Cell"]
    assert record["text"] == (text if cells else None)
    assert (record["source"] is None) is not cells
    assert cells or "the source of Cell cannot be found" in record["reason"]


def test_a_run_that_fails_before_its_first_step_leaves_no_folder(tmp_path):
    class Broken(Repeat):
        def tasks(self, split):
            return [{"prompt": "a"}]

    class Absent(fg.Trainer):
        def fit(self, config, folder, *, resume=False):
            return None

    class Crash(fg.Trainer):
        def fit(self, config, folder, *, resume=False):
            raise ValueError("two\nlines")

    class Stopped(fg.Trainer):
        def fit(self, config, folder, *, resume=False):
            raise KeyboardInterrupt

    faults: list[tuple[dict[str, Any], type[BaseException], str]] = [
        (values(Broken), fg.EnvError, r"Broken': tasks\('train'\) must return Task objects"),
        (values(trainer=Absent), fg.TrainerError, "Absent': fit must return a RunResult, got None"),
        (values(trainer={"name": Crash}), fg.TrainerError, "Crash' failed: ValueError: two lines"),
        (values(trainer=Stopped), KeyboardInterrupt, "^$"),
    ]
    for config, error, message in faults:
        with pytest.raises(error, match=message):
            fg.train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_file_is_trained_like_a_configuration(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[env]\nid = "math/Addition-v0"\n[trainer]\nsteps = 0\n')
    with pytest.raises(fg.ConfigError, match="'steps' = 0"):
        fg.train(file, tmp_path / "run")
    with pytest.raises(
        fg.ConfigError, match="a configuration must be a RunConfig, a mapping or the path of a TOML file"
    ):
        fg.train(3, tmp_path / "run")
