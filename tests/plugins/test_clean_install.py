"""A clean installation from a wheel, in an environment without other packages. Needs a package index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("fdiv_gym-*.whl"))


@pytest.mark.slow
def test_the_wheel_contains_the_templates_and_no_generic_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    templates = {p.name for p in (ROOT / "fdiv_gym" / "cli" / "templates").glob("*.tmpl")}
    assert {Path(n).name for n in names if n.startswith("fdiv_gym/cli/templates/")} == templates | {"__init__.py"}
    tops = {n.split("/")[0] for n in names}
    assert all(top.startswith("fdiv_gym") for top in tops), tops


@pytest.mark.slow
def test_install_generate_and_test(wheel, tmp_path):
    """Base only, without torch: an environment is written, installed and conforms; what needs torch reports it."""
    venv.create(tmp_path / "v", with_pip=True)
    python = str(tmp_path / "v" / "bin" / "python")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FDIV_GYM_BLOCK")}

    def run(*arguments: str) -> str:
        done = subprocess.run([python, "-m", *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel), "pytest", "hatchling")
    run("fdiv_gym", "new", "environment", "mine/Backwards-v0", "--directory", "mine")
    run("pip", "install", "--quiet", "-e", "mine")
    assert "2 passed" in run("pytest", "-q", "mine")
    listed = {(e["kind"], e["name"]): e for e in json.loads(run("fdiv_gym", "list", "--json"))}
    assert listed["environment", "mine/Backwards-v0"]["plugin"] == "mine-backwards:plugin"
    assert listed["divergence", "kl"]["status"] == "unavailable(train)"
    assert listed["divergence", "kl"]["pip"] == "pip install 'fdiv-gym[train]'"
    plugins = {p["name"]: p for p in json.loads(run("fdiv_gym", "plugins", "--json"))}
    assert plugins["fdiv-gym:accelerate"]["status"] == "unavailable(train)"
    assert plugins["fdiv-gym:transformers"]["status"] == "unavailable(train)"
    assert plugins["fdiv-gym:mathverify"]["status"] == "unavailable(math)"
    known = {"ok", "unavailable(train)", "unavailable(math)", "unavailable(reasoning)", "unavailable(judges)"}
    assert {p["status"] for p in plugins.values()} <= known
