"""What the tables of a bundle are computed from: its matrix, the cells of that, and what they have left."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdiv_gym.bench.bundle_files import AFTER, GZIPPED, MATRIX, RECORDS, TUNING, UNTRAINED, Bundle
from fdiv_gym.bench.cells import FOLDERS, Cell, expand
from fdiv_gym.bench.controls import control_cells
from fdiv_gym.bench.matrix import Matrix, parse_matrix
from fdiv_gym.bench.record import Record, parse_record
from fdiv_gym.bench.tables import tables_of
from fdiv_gym.bench.tuning import trial_cells
from fdiv_gym.errors import BenchError
from fdiv_gym.registry.messages import printable, shorten
from fdiv_gym.runs.config import apply_overrides

MOST_CELLS = 20_000
LONGEST_LIST = 2_000
"""Items of a list of the matrix, e.g. seeds: they are compared in pairs."""


@dataclass(frozen=True)
class Inputs:
    """What the tables are computed from.

    Args:
        matrix: the matrix.
        records: by the folder of the cell.
        tuning: ``tuning.json``; None without tuning.
        untrained: by the name of the file without its end.
        after: ``after.json`` by the folder of the cell.
    """

    matrix: Matrix
    records: Mapping[str, Record]
    tuning: Mapping[str, Any] | None
    untrained: Mapping[str, Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]

    def tables(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        """Every table, from the records alone.

        Args:
            ranges: lowest and highest score by the label of the environment.

        Raises:
            FdivGymError: the records contradict the matrix.
        """
        untrained = [self.untrained[name] for name in sorted(self.untrained)]
        return tables_of(self.matrix, self.records, self.tuning, untrained, self.after, score_ranges=ranges)


def read_inputs(bundle: Bundle) -> Inputs:
    """Read and check what the tables are computed from.

    Raises:
        BenchError, ConfigError: a file is missing or damaged; the message names it.
    """
    names = bundle.names()
    files = {kind: f"{RECORDS}/{kind}{GZIPPED}" for kind in FOLDERS}
    records = {
        cell: parse_record(values if isinstance(values, Mapping) else {}, f"{file}: {shorten(cell)}")
        for kind, file in files.items()
        if file in names
        for cell, values in bundle.by_cell(file, "record").items()
    }
    untrained = [name for name in names if name.startswith(f"{UNTRAINED}/")]
    return Inputs(
        read_matrix(bundle),
        records,
        bundle.json(TUNING) if TUNING in names else None,
        {name.removeprefix(f"{UNTRAINED}/").removesuffix(".json"): bundle.json(name) for name in untrained},
        bundle.by_cell(AFTER, "after") if AFTER in names else {},
    )


def read_matrix(bundle: Bundle) -> Matrix:
    """The matrix of a bundle.

    Raises:
        BenchError, ConfigError: it is damaged, or has more cells than anyone can have run.
    """
    try:
        values = tomllib.loads(bundle.text(MATRIX))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BenchError(f"{MATRIX} is damaged: {printable(str(error))[:200]}") from None
    if _longest_list(values) > LONGEST_LIST:
        raise BenchError(f"{MATRIX} has a list of more than {LONGEST_LIST} items: nobody has run so many cells")
    matrix = parse_matrix(apply_overrides(values, ()), MATRIX)
    cells = len(matrix.objectives) * len(matrix.environments) * len(matrix.all_models) * len(matrix.updates or (None,))
    trials = matrix.tuning.trials_of_each * len(matrix.tuning.seeds) if matrix.tuning else 0
    if cells * (len(matrix.seeds) + trials) > MOST_CELLS:
        raise BenchError(f"{MATRIX} has more than {MOST_CELLS} cells")
    return matrix


def _longest_list(value: Any) -> int:
    if isinstance(value, Mapping):
        return max(map(_longest_list, value.values()), default=0)
    return max(len(value), *map(_longest_list, value), 0) if isinstance(value, list) else 0


def cells_of_bench(matrix: Matrix, tuning: Mapping[str, Any] | None) -> dict[str, Cell]:
    """The cells of the tuning, of the table and of the controls, by their folder.

    Args:
        matrix: the matrix.
        tuning: ``tuning.json``.

    Raises:
        BenchError: the tuning is damaged or missing.
        ConfigError, PluginError: a cell is wrong; the message names it.
    """
    chosen: Mapping[str, Any] = {}
    cells: list[Cell] = []
    if matrix.tuning is not None:
        if tuning is None:
            raise BenchError(f"the matrix has a table [tuning], and there is no {TUNING}")
        chosen = _tables_by_label(tuning.get("chosen"), matrix, "chosen")
        for number, options in enumerate(options_of_trials(matrix, tuning)):
            cells += [cell for _, cell in trial_cells(matrix, options, number)]
    cells += [*expand(matrix, chosen=chosen), *control_cells(matrix, chosen)]
    return {cell.folder: cell for cell in cells}


def options_of_trials(matrix: Matrix, tuning: Mapping[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """The options of every objective in each trial of ``tuning.json``.

    Raises:
        BenchError: it is damaged, or the objectives have other numbers of trials than the matrix says.
    """
    assert matrix.tuning is not None
    found: dict[tuple[int, str], dict[str, Any]] = {}
    rows = tuning.get("trials")
    for row in rows if isinstance(rows, list) else [None]:
        if (
            not isinstance(row, Mapping)
            or type(row.get("trial")) is not int
            or not isinstance(row.get("options"), dict)
        ):
            raise BenchError(f"{TUNING} is damaged: one of its trials has no number or no options")
        if found.setdefault((row["trial"], str(row.get("objective"))), row["options"]) != row["options"]:
            raise BenchError(
                f"{TUNING}: trial {row['trial']} of {shorten(row.get('objective'))} has two sets of options"
            )
    labels = [entry.label for entry in matrix.objectives]
    expected = {(number, label) for number in range(matrix.tuning.trials_of_each) for label in labels}
    if found.keys() != expected:
        raise BenchError(f"{TUNING}: not every objective has {matrix.tuning.trials_of_each} trials")
    return [{label: found[number, label] for label in labels} for number in range(matrix.tuning.trials_of_each)]


def _tables_by_label(value: Any, matrix: Matrix, what: str) -> Mapping[str, Any]:
    labels = {entry.label for entry in matrix.objectives}
    if not isinstance(value, Mapping) or value.keys() != labels or not all(isinstance(v, dict) for v in value.values()):
        raise BenchError(f"{TUNING}: {what} does not have options for every objective")
    return value
