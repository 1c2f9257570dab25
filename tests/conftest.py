"""Settings and fixtures of all tests."""

from __future__ import annotations

import os

# Two test processes on two cores: more threads would not be faster, and results of reductions would
# depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import hypothesis
import pytest

# In continuous integration the examples are fixed; elsewhere new ones are drawn.
hypothesis.settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("gate")


@pytest.fixture(autouse=True)
def plugin_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Runs in tests do not check their plugins first: many pass broken classes to see what the run says of them.

    A test with the mark ``plugin_checks`` has the checks of a real run.
    """
    if request.node.get_closest_marker("plugin_checks") is None:
        from fdiv_gym import testing

        for name in ("check_run_plugins", "check_started_engine"):  # not looked up first: that would import torch
            monkeypatch.setitem(vars(testing), name, lambda *args, **options: None)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory):
    """Embedded models are built in a folder of the test session."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FDIV_GYM_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def settings_end_with_their_module(cache_folder):
    """A setting that a module leaves behind changes whichever module the same process runs next."""
    before = _settings()
    yield
    assert _settings() == before, "this module left FDIV_GYM_... variables behind: set them with monkeypatch"


def _settings() -> dict[str, str]:
    written_by_each_command = "FDIV_GYM_DEBUG"
    names = [name for name in os.environ if name.startswith("FDIV_GYM_") and name != written_by_each_command]
    return {name: os.environ[name] for name in names}
