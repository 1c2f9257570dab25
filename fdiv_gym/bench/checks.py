"""Checks of a matrix before anything runs: what would otherwise fail after hours."""

from __future__ import annotations

from typing import Any

from fdiv_gym.bench.cells import Cell, expand
from fdiv_gym.bench.controls import control_cells
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.redaction import Redaction
from fdiv_gym.bench.tuning import check_trials, refuse_shared, score_ranges
from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import shorten


def check_matrix(matrix: Matrix) -> None:
    """Refuse a wrong cell or control, a budget or a label that cannot be, and options that cannot be tuned.

    Raises:
        ConfigError, BenchError: naming it.
    """
    _refuse_private_labels(matrix)
    for cell in expand(matrix):
        _refuse_unreachable(matrix, cell)
    control_cells(matrix, {})
    if matrix.tuning is not None:
        refuse_shared(matrix.tuning)
        check_trials(matrix)
        score_ranges(expand(matrix.narrowed(), kind="tuning", seeds=matrix.tuning.seeds[:1]))


def _refuse_private_labels(matrix: Matrix) -> None:
    """Refuse labels of which a bundle would replace a part: they name cells, whose folders keep them."""
    redaction = Redaction()
    labels = [matrix.name, *(e.label for e in matrix.objectives), *(e.label for e in matrix.environments)]
    for label in (*labels, *(e.label for e in matrix.all_models)):
        if redaction.text(label) != label:
            raise ConfigError(
                f"the label {shorten(label)} looks like a path, a host of this machine or a secret, which a bundle "
                "must not show: choose another"
            )


def _refuse_unreachable(matrix: Matrix, cell: Cell) -> None:
    """Refuse a budget of verifications that the steps of the trainer cannot spend."""
    if matrix.budget.kind != "verifications":
        return
    drawn, steps = drawn_in_a_step(cell), getattr(cell.config.trainer.checked_options, "steps", None)
    if drawn is not None and steps is not None and drawn * steps < matrix.budget.limit:
        raise ConfigError(
            f"cell {cell.id}: {steps} steps draw {drawn * steps} responses, fewer than the budget of "
            f"{matrix.budget.limit:g} verifications: raise base.trainer.steps"
        )


def drawn_in_a_step(cell: Cell) -> int | None:
    """Responses drawn in a step of a cell; None where that is not fixed."""
    options: Any = cell.config.trainer.checked_options
    names = ("prompts_per_step", "group_size")
    streams = getattr(cell.config.objective.plugin_class, "streams", ()) if cell.config.objective else ()
    if streams != ("rollouts",) or getattr(options, "dynamic_sampling", None) is not None:
        return None
    return int(options.prompts_per_step * options.group_size) if all(hasattr(options, n) for n in names) else None
