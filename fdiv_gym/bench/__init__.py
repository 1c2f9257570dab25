"""The bench: objectives compared over environments and seeds; cells, records, statistics of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.bench.aggregates import Profile as Profile
    from fdiv_gym.bench.aggregates import aggregate_scores as aggregate_scores
    from fdiv_gym.bench.aggregates import interquartile_mean as interquartile_mean
    from fdiv_gym.bench.aggregates import optimality_gap as optimality_gap
    from fdiv_gym.bench.aggregates import performance_profile as performance_profile
    from fdiv_gym.bench.bundle import write_bundle as write_bundle
    from fdiv_gym.bench.cells import Cell as Cell
    from fdiv_gym.bench.cells import expand as expand
    from fdiv_gym.bench.comparing import Difference as Difference
    from fdiv_gym.bench.comparing import Finding as Finding
    from fdiv_gym.bench.comparing import holm as holm
    from fdiv_gym.bench.comparing import minimum_detectable_effect as minimum_detectable_effect
    from fdiv_gym.bench.comparing import paired_difference as paired_difference
    from fdiv_gym.bench.comparing import probability_of_improvement as probability_of_improvement
    from fdiv_gym.bench.comparing import verdicts as verdicts
    from fdiv_gym.bench.curves import Reached as Reached
    from fdiv_gym.bench.curves import area_under_curve as area_under_curve
    from fdiv_gym.bench.curves import budget_to_target as budget_to_target
    from fdiv_gym.bench.curves import median_to_target as median_to_target
    from fdiv_gym.bench.driver import Bench as Bench
    from fdiv_gym.bench.driver import Count as Count
    from fdiv_gym.bench.driver import plan_bench as plan_bench
    from fdiv_gym.bench.driver import run_bench as run_bench
    from fdiv_gym.bench.folder import Outcome as Outcome
    from fdiv_gym.bench.leaderboard import Board as Board
    from fdiv_gym.bench.leaderboard import write_leaderboard as write_leaderboard
    from fdiv_gym.bench.local import run_cells as run_cells
    from fdiv_gym.bench.matrix import Matrix as Matrix
    from fdiv_gym.bench.matrix import load_matrix as load_matrix
    from fdiv_gym.bench.matrix import parse_matrix as parse_matrix
    from fdiv_gym.bench.matrix_tables import RunLimits as RunLimits
    from fdiv_gym.bench.on_ray import run_on_ray as run_on_ray
    from fdiv_gym.bench.ranking import Ranking as Ranking
    from fdiv_gym.bench.ranking import average_rank as average_rank
    from fdiv_gym.bench.ranking import relative_overall as relative_overall
    from fdiv_gym.bench.ray_cluster import Resources as Resources
    from fdiv_gym.bench.record import Record as Record
    from fdiv_gym.bench.record import read_record as read_record
    from fdiv_gym.bench.report import write_bench_report as write_bench_report
    from fdiv_gym.bench.resampling import Estimate as Estimate
    from fdiv_gym.bench.resampling import Resampling as Resampling
    from fdiv_gym.bench.resampling import require_complete as require_complete
    from fdiv_gym.bench.resampling import without_environments as without_environments
    from fdiv_gym.bench.runs import Runs as Runs
    from fdiv_gym.bench.runs import read_runs as read_runs
    from fdiv_gym.bench.sheet import detectable_note as detectable_note
    from fdiv_gym.bench.sheet import estimate as estimate
    from fdiv_gym.bench.tables import tables_of as tables_of
    from fdiv_gym.bench.verified import Fault as Fault
    from fdiv_gym.bench.verified import Verified as Verified
    from fdiv_gym.bench.verify import verify_bundle as verify_bundle

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "matrix": ["Matrix", "load_matrix", "parse_matrix"],
        "matrix_tables": ["RunLimits"],
        "bundle": ["write_bundle"],
        "cells": ["Cell", "expand"],
        "driver": ["Bench", "Count", "plan_bench", "run_bench"],
        "folder": ["Outcome"],
        "local": ["run_cells"],
        "on_ray": ["run_on_ray"],
        "ray_cluster": ["Resources"],
        "leaderboard": ["Board", "write_leaderboard"],
        "record": ["Record", "read_record"],
        "resampling": ["Estimate", "Resampling", "require_complete", "without_environments"],
        "aggregates": ["Profile", "aggregate_scores", "interquartile_mean", "optimality_gap", "performance_profile"],
        "comparing": [
            "Difference",
            "Finding",
            "holm",
            "minimum_detectable_effect",
            "paired_difference",
            "probability_of_improvement",
            "verdicts",
        ],
        "ranking": ["Ranking", "average_rank", "relative_overall"],
        "tables": ["tables_of"],
        "report": ["write_bench_report"],
        "runs": ["Runs", "read_runs"],
        "sheet": ["detectable_note", "estimate"],
        "verified": ["Fault", "Verified"],
        "verify": ["verify_bundle"],
        "curves": ["Reached", "area_under_curve", "budget_to_target", "median_to_target"],
    },
)
