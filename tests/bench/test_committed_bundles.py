"""The bundles under benchmarks/results: they verify clean, and their pages are made from them."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from fdiv_gym.bench import write_leaderboard
from fdiv_gym.bench.bundle_files import MANIFEST
from fdiv_gym.manifest import sha256_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BUNDLES = sorted(path.parent for path in RESULTS.glob(f"*/{MANIFEST}"))


def test_the_first_look_is_among_them():
    assert "first_look" in [bundle.name for bundle in BUNDLES]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_a_committed_bundle_is_complete_and_small(bundle):
    manifest = json.loads((bundle / MANIFEST).read_text())
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert found == {MANIFEST, *manifest["files"]}
    assert {name: sha256_of(bundle / name) for name in found - {MANIFEST}} == {
        name: entry["sha256"] for name, entry in manifest["files"].items()
    }
    assert sum((bundle / name).stat().st_size for name in found) <= 10e6


def test_the_page_of_the_first_look_is_made_from_its_bundle(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("first_look", ROOT / "benchmarks" / "first_look.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page(RESULTS / "first_look") == (RESULTS / "first_look.md").read_text()
    assert sha256_of(RESULTS / "first_look" / MANIFEST) == module.DIGEST
    assert (RESULTS / "first_look.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_they_verify_clean_and_make_the_leaderboard(tmp_path):
    for bundle in BUNDLES:
        shutil.copytree(bundle, tmp_path / bundle.name)
    done = write_leaderboard([tmp_path / bundle.name for bundle in BUNDLES], tmp_path / "leaderboard.html")
    assert done.refused == ()
    assert (RESULTS / "leaderboard.html").read_text() == done.page.read_text(), (
        "make it again: fdiv-gym leaderboard benchmarks/results/first_look --output benchmarks/results/leaderboard.html"
    )
