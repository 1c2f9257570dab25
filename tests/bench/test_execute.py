"""The table ``[run]``: which executor the cells are given to, and that it is no part of their keys."""

from bench_harness import cells_of, small

import fdiv_gym.bench.execute as module
from fdiv_gym.bench import parse_matrix
from fdiv_gym.bench.ray_cluster import Resources


def test_the_run_is_no_part_of_the_keys():
    changed = cells_of(run={"executor": "ray", "cpus": 2, "gpus": 0.5, "memory_gb": 3})
    assert [cell.key for cell in changed] == [cell.key for cell in cells_of()]


def test_local_limits_reach_the_local_executor(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(module, "run_cells", lambda cells, folder, **options: given.update(options) or "outcome")
    limits = parse_matrix(small(run={"processes": 2, "cores": 4, "memory_gb": 1.5})).run
    assert module.execute([], tmp_path, limits, rerun=True) == "outcome"
    assert given == {
        "processes": 2, "cores": 4, "memory_gb": 1.5, "rerun": True, "retry_failed": False, "report": None,
    }  # fmt: skip


def test_ray_limits_reach_the_ray_executor(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(module, "run_on_ray", lambda cells, folder, **options: given.update(options) or "outcome")
    limits = parse_matrix(small(run={"executor": "ray", "address": "auto", "gpus": 0.5, "memory_gb": 3})).run
    assert module.execute([], tmp_path, limits, retry_failed=True) == "outcome"
    assert given == {
        "address": "auto", "resources": Resources(1.0, 0.5, 3), "rerun": False, "retry_failed": True, "report": None,
    }  # fmt: skip
