"""The wheel: what it contains, and that it works outside the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a clean copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert not top & {"envs", "trainers", "plugins", "tests", "examples", "benchmarks", "docs"}
    assert {"fdiv_gym", "fdiv_gym_math", "fdiv_gym_accelerate"} <= top
    assert {n.split("_")[0] for n in top} == {"fdiv"}
    for needed in ("fdiv_gym/py.typed", "fdiv_gym/runs/report.html.j2", "fdiv_gym_math/plugin.py"):
        assert needed in names
    metadata = next(n for n in names if n.endswith("METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    for extra in ("train", "math", "reasoning", "judges", "bench", "ray", "docs", "dev", "all"):
        assert f"Provides-Extra: {extra}" in text


def test_it_works_outside_the_checkout(wheel, tmp_path):
    """Installed into a bare environment that sees this one's packages, run from another folder."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    zipfile.ZipFile(wheel).extractall(packages)
    # Every package of the test environment except this checkout's own editable install.
    outer = tmp_path / "outer"
    outer.mkdir()
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if "fdiv_gym" not in item.name and not item.name.endswith(".pth"):
            (outer / item.name).symlink_to(item)
    (packages / "outer.pth").write_text(f"{outer}\n")
    code = (
        "import fdiv_gym as fg, importlib.util as u\n"
        "assert all(u.find_spec(n) is None for n in ('envs', 'trainers', 'plugins', 'tests'))\n"
        "assert [p for p in fg.list_plugins() if p.status != 'ok'] == [], fg.list_plugins()\n"
        "print(fg.__file__, fg.make('math/Addition-v0').reset(seed=0)[0])\n"
        "print(fg.get_objective('f-grpo').divergence.registered_name())"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(packages) in done.stdout
    assert "pearson" in done.stdout
