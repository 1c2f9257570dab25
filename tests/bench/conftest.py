"""Fixtures of the executors' tests, and a planted bench with its bundle for the tests of bundles."""

import functools
import shutil

import pytest
from bench_harness import cells_of
from executors import GRPO


@pytest.fixture(scope="module")
def cells():
    return cells_of(objectives=[GRPO])


@pytest.fixture(scope="module")
def prepared(cells, tmp_path_factory):
    """The finished runs of the two cells."""
    from fdiv_gym.runs import train

    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        for cell in cells:
            train(cell.config, folder / cell.id)
    return folder


@pytest.fixture(scope="module")  # what it replaces must not reach the tests of other modules
def planted(tmp_path_factory):
    """A planted bench with its bundle. Its report has no figures, from which no number is read."""
    from bundle_harness import planted_bench

    from fdiv_gym.bench import report, write_bundle
    from fdiv_gym.runs import provenance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "figures_of", lambda tables: [])
        patch.setattr(provenance, "source_hash", functools.cache(provenance.source_hash))  # the code does not change
        folder = planted_bench(tmp_path_factory.mktemp("bundles") / "bench")
        write_bundle(folder)
        yield folder


@pytest.fixture
def bundle(planted, tmp_path):
    """A copy of that bundle, which a test may alter."""
    return shutil.copytree(planted / "bundle", tmp_path / "bundle")
