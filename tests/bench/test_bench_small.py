"""The small example as a user runs it: killed in the middle, started again, complete, and then skipped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdiv_gym.bench import expand, load_matrix, read_record, verify_bundle
from fdiv_gym.bench.controls import control_cells, untrained_folders
from fdiv_gym.runs import RunFolder

MATRIX = Path(__file__).parents[2] / "examples" / "bench_small.toml"
TWIN = "f-grpo-pearson--arithmetic--embedded--seed0"
DEADLINE_S = 900


def start(folder):
    command = [sys.executable, "-m", "fdiv_gym", "bench", str(MATRIX), "--output", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, process):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def times(folder):
    """When each JSON file was written; the bundle is made anew from them."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.json") if folder / "bundle" not in path.parents}


@pytest.mark.slow
@pytest.mark.timeout(3000)  # beside other work
def test_the_small_bench_killed_and_started_again(tmp_path):
    folder, matrix = tmp_path / "bench", load_matrix(MATRIX)
    run = RunFolder(folder / "cells" / TWIN / "run")
    first = start(folder)
    # Beyond its first checkpoint, of step 10, and before its end.
    wait_for(lambda: len(run.lines("metrics.jsonl")) >= 12, first)
    trainer = int((run.path / ".writer").read_text())
    first.kill()
    os.kill(trainer, signal.SIGKILL)
    first.communicate()
    assert len(run.lines("metrics.jsonl")) < 20
    assert read_record(run.path.parent) is None

    second = start(folder)
    output, _ = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, output
    tuning = json.loads((folder / "tuning.json").read_text())
    assert [row["value"] is None for row in tuning["trials"]] == [False] * 8
    assert set(tuning["chosen"]) == {"f-GRPO, Pearson", "GRPO"}
    cells = expand(matrix, chosen=tuning["chosen"])
    controls = control_cells(matrix, tuning["chosen"])
    assert (len(cells), len(controls)) == (8, 6)
    records = {cell.id: read_record(folder / cell.folder) for cell in [*cells, *controls]}
    for cell in [*cells, *controls]:
        assert (records[cell.id].status, records[cell.id].key) == ("done", cell.key)
        assert records[cell.id].budget.steps == 20
    for cell in cells:
        after = json.loads((folder / cell.folder / "after.json").read_text())
        assert after["key"] == cell.key
        assert len(after["tokens"]) == len(after["entropy"]) == 10 * 8
        assert None not in after["log_ratio"]
    for name in untrained_folders(matrix).values():
        rows = json.loads((folder / name / "untrained.json").read_text())["rows"]
        assert [row["temperature"] for row in rows] == ["greedy", 0.5, 1.0]
    # The run that was killed and resumed ends as its twin, which was not.
    twin, again = records[TWIN], records[f"{TWIN}--again"]
    assert (twin.curve, twin.tasks, twin.events) == (again.curve, again.tasks, again.events)
    assert records[f"{TWIN}--random-reward"].curve["score/sampled"][0] == twin.curve["score/sampled"][0]
    assert records[f"{TWIN}--random-reward"].curve != twin.curve
    assert (twin.updates, records[f"{TWIN}--other-updates"].updates) == (1, 4)

    verified = verify_bundle(folder / "bundle")
    assert verified.clean, verified.faults
    assert sum(path.stat().st_size for path in (folder / "bundle").rglob("*") if path.is_file()) < 10e6

    written = times(folder)
    third = start(folder)
    output, _ = third.communicate(timeout=DEADLINE_S)
    assert third.returncode == 0, output
    assert written == times(folder)
    assert verify_bundle(folder / "bundle").digest == verified.digest
