"""The example package, installed into a clean environment, checked and trained with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party"


@pytest.fixture(scope="module")
def installed(bare_venv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("third") / "sorting-house"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    made = bare_venv()
    made.install(folder)
    return made, folder


def test_it_is_found_with_everything_it_registers(installed):
    made, _ = installed
    found = {p["name"]: p for p in json.loads(made.cli("plugins", "--json"))}["sorting-house:plugin"]
    assert (found["status"], found["version"]) == ("ok", "0.3.0")
    assert sorted(found["registered"]) == [
        "divergence le-cam-like", "environment sorting-house/Sort-v0", "objective clipped-reward",
    ]  # fmt: skip


def test_its_own_tests_pass(installed):
    made, folder = installed
    assert "3 passed" in made.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder))


def test_it_trains_and_a_change_of_its_source_is_detected(installed, cache_folder):
    made, folder = installed
    run = folder / "run"
    sets = [
        "model.embedded.layers=1", "model.embedded.heads=1", "model.embedded.warm_start_steps=2",
        "model.embedded.warm_start_batch=4", "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2",
        "trainer.evaluate_tasks=4", "trainer.evaluate_samples=1", "trainer.checkpoint_every=1",
    ]  # fmt: skip
    options = [part for text in sets for part in ("--set", text)]
    made.cli("train", str(folder / "sorting.toml"), "-o", str(run), *options, FDIV_GYM_QUIET="1")
    used = json.loads((run / "provenance.json").read_text())["plugins"]
    assert sorted(used) == ["fdiv-gym:accelerate", "fdiv-gym:core", "fdiv-gym:transformers", "sorting-house:plugin"]
    assert used["sorting-house:plugin"]["version"] == "0.3.0"

    changed = folder / "sorting_house" / "sort.py"
    changed.write_text(changed.read_text() + "\n# a change\n")
    code = (
        "import sys; import fdiv_gym as fg; from fdiv_gym.runs import resume_run\n"
        "try: print(resume_run(sys.argv[1]).status)\n"
        "except fg.TrainerError as error: print(error)\n"
        "print(resume_run(sys.argv[1], allow_plugin_change=True).status)\n"
    )
    refused, allowed = made.run("-c", code, str(run), FDIV_GYM_QUIET="1").strip().splitlines()[-2:]
    assert "plugins of the run" in refused
    assert "sorting-house:plugin (0.3.0" in refused
    assert "resume anyway with --allow-plugin-change" in refused
    assert allowed == "finished"
    record = json.loads((run / "provenance.json").read_text())
    assert record["earlier_plugins"] == [used]  # the plugins of the start stay recorded
    assert record["plugins"]["sorting-house:plugin"]["source"] != used["sorting-house:plugin"]["source"]
    again = made.run("-c", code, str(run), FDIV_GYM_QUIET="1").strip().splitlines()[-2:]
    assert again == ["finished", "finished"]  # allowed once, allowed for later resumes
