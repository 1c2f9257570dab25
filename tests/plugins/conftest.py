"""Bare virtual environments that see the packages of the test environment, and packages installed into them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


class BareVenv:
    """A venv without pip; ``fdiv_gym`` and its dependencies are those of the environment of the tests."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder = folder
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        outer = sysconfig.get_path("purelib")
        # addsitedir also processes the .pth files of that folder (of an editable fdiv-gym).
        (self.site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")

    def install(self, *packages: Path) -> None:
        """``pip install -e`` of all of them at once, with the outer pip."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-index"]
        command += ["--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
        for package in packages:
            command += ["-e", str(package)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """Run the venv's python and return its output, both streams."""
        environment = os.environ | {"COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"} | variables
        done = subprocess.run(
            [str(self.python), *arguments], capture_output=True, text=True, env=environment, cwd=self.folder
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def cli(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """Run ``fdiv-gym``."""
        return self.run("-m", "fdiv_gym", *arguments, status=status, **variables)


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory):
    """Make a bare venv."""
    return lambda: BareVenv(tmp_path_factory.mktemp("venv") / "v")
