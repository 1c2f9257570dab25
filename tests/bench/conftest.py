"""Fixtures of the executors' tests, and a planted bench with its bundle for the tests of bundles."""

import functools
import shutil

import pytest
from bench_harness import cells_of
from executors import GRPO


@pytest.fixture(scope="module", autouse=True)
def packages_are_listed_once():
    """What is installed does not change while a module is tested: it is listed once, not at every start of a bench."""
    from fdiv_gym.bench import start

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "installed", functools.cache(start.installed))
        yield


@pytest.fixture(scope="module")  # what it replaces must not reach the tests of other modules
def without_figures():
    """Reports get no figures: they take most of the time of a bundle, and no number is read from them."""
    from fdiv_gym.bench import report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "figures_of", lambda tables: [])
        yield


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


@pytest.fixture(scope="module")
def planted(tmp_path_factory, without_figures):
    """A planted bench with its bundle."""
    from bundle_harness import planted_bench

    from fdiv_gym.bench import write_bundle

    folder = planted_bench(tmp_path_factory.mktemp("bundles") / "bench")
    write_bundle(folder)
    return folder


@pytest.fixture
def bundle(planted, tmp_path):
    """A copy of that bundle, which a test may alter."""
    return shutil.copytree(planted / "bundle", tmp_path / "bundle")
