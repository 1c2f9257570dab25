"""What every test shares."""

from __future__ import annotations

import os

# Two test processes on two cores: more threads would only wait for each other, and results of
# reductions would depend on how many there are.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import hypothesis
import pytest

# The gate repeats the same examples every time; everywhere else new ones are looked for.
hypothesis.settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("gate")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory):
    """Embedded models are built in a folder of the test session."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FDIV_GYM_CACHE"] = str(folder)
    return folder
