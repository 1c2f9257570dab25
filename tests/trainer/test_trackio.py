"""What trackio receives, read back from its database.

trackio is installed into a folder of its own that only the process of the run sees, behind all other packages: in the
test environment TRL would find it at import, and an old version breaks that.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.tables import COLUMNS, NAME

VERSION = "0.43.0"
SCRIPT = """
import sys
from pathlib import Path

sys.path.append(sys.argv[1])
from conftest_trainer import tiny_config, train

train(tiny_config(tracker={"name": "trackio", "project": "board", "samples_every": 2}), Path(sys.argv[2]))
"""


@pytest.fixture
def trackio(tmp_path):
    """The folder with trackio and what it needs."""
    folder = tmp_path / "trackio"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"trackio=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = f"trackio cannot be had: {done.stderr.strip()[-300:]}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return folder


@pytest.mark.slow
def test_trackio_holds_every_metric_and_the_samples(trackio, tmp_path):
    environment = os.environ | {
        "TRACKIO_DIR": str(tmp_path / "tracked"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(trackio), str(tmp_path / "run")],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = RunFolder(tmp_path / "run")
    with contextlib.closing(sqlite3.connect(tmp_path / "tracked" / "board.db")) as database:
        rows = [(step, json.loads(values)) for step, values in database.execute("SELECT step, metrics FROM metrics")]
    scalars = {step: {} for step, _ in rows}
    tables = {}
    for step, values in rows:
        if NAME in values:
            tables[step] = values.pop(NAME)["_value"]
        scalars[step] |= values
    for line in run.lines("metrics.jsonl"):
        for key, value in line.items():
            if key not in ("step", "events"):
                assert scalars[line["step"]][key] == pytest.approx(value, rel=1e-6), key
    assert list(tables) == [2, 4]
    for step, table in tables.items():
        kept = [s for s in run.lines("samples.jsonl") if s["split"] == "train" and s["step"] == step]
        assert [[row[name] for name in COLUMNS] for row in table] == [
            [
                s["prompt"],
                s["response"],
                s["verdict"]["score"],
                s["verdict"]["status"],
                s["turns"],
                s["truncated"],
                s["stop_reason"],
                s["tokens"],
            ]
            for s in kept
        ]
        assert len(kept) == 8
