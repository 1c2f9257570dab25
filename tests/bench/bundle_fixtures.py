"""A planted bench and its bundle, shared by the tests of bundles."""

import functools
import shutil

import pytest


@pytest.fixture(scope="session")
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
