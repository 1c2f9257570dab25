"""benchmarks/gpu/run.sh --rehearse: every figure is there, and those that can be checked on a CPU are right."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script with this interpreter."""
    settings = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(ROOT / "benchmarks" / "gpu" / "run.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=False, timeout=600)


def numbers_of(value):
    """All numbers in a record."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers_of(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers_of(part)]
    return [value] if isinstance(value, (int, float)) else []


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """The record and the page."""
    folder = tmp_path_factory.mktemp("gpu")
    done = script("--rehearse", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "gpu.json").read_text()), (folder / "gpu.md").read_text()


@pytest.mark.slow
def test_every_section_has_its_figures(rehearsed):
    found, page = rehearsed
    assert found["failures"] == {}
    assert found["machine"]["rehearsal"] is True
    assert "A rehearsal with tiny sizes" in page
    assert list(found["seconds"]) == ["tests", "precision", "steps", "sampling", "logprobs", "learning"]
    assert all(math.isfinite(number) for number in numbers_of(found))
    assert found["tests"]["passed"] + found["tests"]["skipped"] == 8
    assert {row["way"] for row in found["logprobs"]} == {"plain", "chunked"}
    assert all(row["seconds"] > 0 and row["tokens"] == 64 for row in found["logprobs"])
    assert found["sampling"]["tokens"] == 64
    assert found["sampling"]["tokens_per_second"] == pytest.approx(64 / found["sampling"]["seconds"])


@pytest.mark.slow
def test_every_way_of_a_step_has_the_same_gradient(rehearsed):
    rows = {(row["precision"], row["way"]): row for row in rehearsed[0]["steps"]}
    ways = ["plain", "chunks", "shared prompts", "chunks and shared prompts"]
    assert list(rows) == [(precision, way) for precision in ("fp32", "bf16") for way in ways]
    exact = rows["fp32", "plain"]["grad_norm"]
    assert exact > 0.1
    for (precision, way), row in rows.items():
        assert row["grad_norm"] == pytest.approx(exact, rel=1e-5 if precision == "fp32" else 0.01), way
        assert row["tokens_per_second"] == pytest.approx(256 / row["seconds"])
        assert f"| {precision} | {way} | {row['seconds']:.3f} |" in rehearsed[1]
    assert rows["fp32", "chunks"]["peak_mb"] < rows["fp32", "plain"]["peak_mb"]


@pytest.mark.slow
def test_precisions_differ_by_their_rounding(rehearsed):
    gaps = {name: line["mean"] for name, line in rehearsed[0]["precision"].items()}
    assert gaps["fp32 in chunks"] < 1e-5
    assert 1e-5 < gaps["bf16 by autocast"] < 0.05
    assert 1e-5 < gaps["bf16 weights"] < 0.05


@pytest.mark.slow
def test_both_objectives_learn_from_the_same_start(rehearsed):
    rows = {row["objective"]: row for row in rehearsed[0]["learning"]}
    assert set(rows) == {"f-grpo", "grpo"}
    for row in rows.values():
        assert row["steps"] == 4
        assert 0 <= row["greedy_after"] <= 1
        assert row["step_seconds"] > 0
    assert rows["f-grpo"]["greedy_before"] == rows["grpo"]["greedy_before"]


@pytest.mark.slow
def test_a_rehearsal_never_replaces_figures_of_a_gpu(tmp_path):
    refused = script("--rehearse")
    assert refused.returncode == 1
    assert "--rehearse needs --output" in refused.stderr


def test_without_wheels_it_says_what_to_do(tmp_path):
    copy = tmp_path / "benchmarks" / "gpu"
    copy.mkdir(parents=True)
    (copy / "run.sh").write_text((ROOT / "benchmarks" / "gpu" / "run.sh").read_text())
    done = subprocess.run(["bash", str(copy / "run.sh")], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "run benchmarks/gpu/wheels.sh first" in done.stderr
