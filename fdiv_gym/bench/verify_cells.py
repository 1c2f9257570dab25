"""Checks of a bundle's cells: those of the matrix, with its configurations and with what its tuning has chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fdiv_gym.bench.bundle_files import BENCH, CONFIGS, GZIPPED, MISSING, PLUGINS, RECORDS, TUNING, Bundle
from fdiv_gym.bench.bundle_inputs import Inputs, options_of_trials
from fdiv_gym.bench.cells import Cell, Kind, key_of
from fdiv_gym.bench.checks import drawn_in_a_step
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.redaction import HOST, PATH, SECRET, Redaction
from fdiv_gym.bench.search import search_of
from fdiv_gym.bench.start import decoding_of
from fdiv_gym.bench.tuning import choice_of, trial_cells
from fdiv_gym.bench.verified import Findings
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.provenance import entries_in_use, plugins_in_use

MOST_STEPS = 100_000
"""Evaluations of a run; a hostile record may claim more steps than fit into memory."""
LABELS = ("kind", "objective", "environment", "model", "seed", "updates", "rate")


def check_cells(
    bundle: Bundle, inputs: Inputs, cells: Mapping[str, Cell], findings: Findings, *, strict_plugins: bool
) -> None:
    """Compare records, configurations and plugins with the cells of the matrix.

    Args:
        bundle: the bundle.
        inputs: its matrix and records.
        cells: of the matrix, by their folder.
        findings: takes what disagrees.
        strict_plugins: whether other code of a plugin than the installed one is a fault, and not a note.
    """
    for name in cells.keys() - inputs.records.keys():
        findings.problem(_records(cells[name].kind), "there is no record of this cell of the matrix", name)
    for name in inputs.records.keys() - cells.keys():
        findings.problem(_records(inputs.records[name].kind), "the matrix has no such cell", name)
    configs, used = bundle.by_cell(CONFIGS, "config"), bundle.by_cell(CONFIGS, "plugins")
    plugins, redaction, names = bundle.json(PLUGINS), Redaction(here=False), _Names()
    for name in configs.keys() - cells.keys():
        findings.problem(CONFIGS, "the matrix has no such cell", name)
    for name, cell in cells.items():
        expected = redaction.value(cell.config.resolved())
        findings.compare(CONFIGS, configs.get(name, MISSING), expected, f"{name}: config", relative=0.0)
        record = inputs.records.get(name)
        if record is not None:
            found = {label: getattr(record, label) for label in LABELS}
            findings.compare(_records(cell.kind), found, {label: getattr(cell, label) for label in LABELS}, name)
            _check_plugins(name, cell, record, used.get(name), plugins, names.of(cell), findings)
            _check_budget(name, cell, record, findings)
            _check_steps(name, cell, record, findings)
            findings.count("cells")
    failed = [name for name in cells if name in inputs.records and inputs.records[name].status == "failed"]
    if failed:
        findings.note(f"{len(failed)} cells are recorded as failed, which cannot be checked: {', '.join(failed[:3])}")
    _check_installed(cells, plugins, findings, strict=strict_plugins)
    table = [cell for cell in cells.values() if cell.kind == "table"]
    decoding = bundle.json(BENCH).get("decoding")
    if decoding is not None:
        findings.compare(BENCH, decoding, redaction.value(decoding_of(table)), "decoding", relative=0.0)


def _records(kind: Kind) -> str:
    return f"{RECORDS}/{kind}{GZIPPED}"


def _check_plugins(
    name: str,
    cell: Cell,
    record: Record,
    used: Any,
    plugins: Mapping[str, Any],
    expected: list[str],
    findings: Findings,
) -> None:
    """The plugins of a cell are those that its configuration names, and its key follows from the two."""
    if used == [] and record.status == "failed":  # it never began
        return
    if used != expected:
        findings.compare(CONFIGS, used, expected, f"{name}: plugins")
        return
    own = {plugin: plugins.get(plugin) for plugin in expected}
    strange = [plugin for plugin, found in own.items() if not _is_plugin(found)]
    if strange:
        findings.problem(PLUGINS, "it has no version and source", strange[0])
        return
    resolved = cell.config.resolved()
    is_private = Redaction(here=False).value(resolved) != resolved
    if is_private or any(mark in json.dumps(resolved) for mark in (PATH, HOST, SECRET)):
        findings.note(
            "keys of cells whose configuration has a private part, which the bundle lacks, were not recomputed"
        )
        return
    key = key_of(resolved, own)  # type: ignore[arg-type] # checked above
    findings.compare(_records(cell.kind), record.key, key, f"{name}: key (of {CONFIGS} and {PLUGINS})")


class _Names:
    """The plugins of configurations; their code is read once for each set of entries, which most cells share."""

    def __init__(self) -> None:
        self._found: dict[frozenset[tuple[str, str]], list[str]] = {}

    def of(self, cell: Cell) -> list[str]:
        entries = entries_in_use(cell.config)
        names = frozenset((entry.kind, entry.name) for entry in entries)
        if names not in self._found:
            self._found[names] = sorted(plugins_in_use(entries))
        return self._found[names]


def _is_plugin(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(found.get(key), str) for key in ("version", "source"))


def _check_installed(
    cells: Mapping[str, Cell], plugins: Mapping[str, Any], findings: Findings, *, strict: bool
) -> None:
    """Tell which plugins have other code here: then the rewards are recomputed by that."""
    entries = {(entry.kind, entry.name): entry for cell in cells.values() for entry in entries_in_use(cell.config)}
    installed = plugins_in_use(entries.values())
    for name in plugins.keys() - installed.keys():
        findings.problem(PLUGINS, "no cell uses it", name)
    for name, here in installed.items():
        found, own = plugins.get(name), {"version": here["version"], "source": here["source"]}
        if found == own or not _is_plugin(found):
            continue
        if strict:
            findings.compare(PLUGINS, found, own, name)
        else:
            findings.note(f"plugin {name} has other code here than in the bundle: its verifier here was used")


def _check_budget(name: str, cell: Cell, record: Record, findings: Findings) -> None:
    if record.budget is None:
        return
    options: Any = cell.config.trainer.checked_options
    wanted, spent, file = getattr(options, "budget", None), record.budget, _records(cell.kind)
    limits = {} if wanted is None else wanted.model_dump(exclude_none=True)
    for kind, limit in limits.items():
        if getattr(spent, kind, 0) < limit:
            findings.problem(file, f"spent {getattr(spent, kind)} of a budget of {limit}", f"{name}: budget.{kind}")
    if not limits and hasattr(options, "steps"):
        findings.compare(file, spent.steps, options.steps, f"{name}: budget.steps")
    drawn = drawn_in_a_step(cell)
    if drawn is not None:
        findings.compare(file, spent.verifications, drawn * spent.steps, f"{name}: budget.verifications")
        longest = getattr(cell.config.engine.checked_options, "max_new_tokens", None)
        turns = getattr(cell.config.env.checked_options, "max_turns", None) if cell.config.env else 1
        if longest and turns is None and spent.tokens > drawn * spent.steps * longest:
            findings.problem(file, "more tokens than its responses can have", f"{name}: budget.tokens")


def _check_steps(name: str, cell: Cell, record: Record, findings: Findings) -> None:
    """The trainer ``accelerate`` evaluates at step 0, every ``evaluate_every`` steps and at the end."""
    if record.status != "done" or record.budget is None or cell.config.trainer.name != "accelerate":
        return
    options: Any = cell.config.trainer.checked_options
    every, last = options.evaluate_every, record.budget.steps
    between = range(every, last, every) if every and last / every <= MOST_STEPS else ()
    findings.compare(_records(cell.kind), record.curve.get("step", []), [0, *between, last], f"{name}: curve.step")


def check_tuning(inputs: Inputs, ranges: Mapping[str, tuple[float, float]], findings: Findings) -> None:
    """Make ``tuning.json`` again from the matrix, the records and the options of the trials, and compare it."""
    tuning, table = inputs.matrix.tuning, inputs.tuning
    if tuning is None or table is None:
        if table is not None:
            findings.problem(TUNING, "the matrix has no table [tuning]")
        return
    trials = options_of_trials(inputs.matrix, table)
    _check_trials(inputs, trials, findings)
    rows = []
    for number, options in enumerate(trials):
        for row, cell in trial_cells(inputs.matrix, options, number):
            record = inputs.records.get(cell.folder)
            final = None if record is None or record.final is None else record.final.get(tuning.metric)
            rows.append(row | {"value": final})
    values = {key: list(found) for key, found in tuning.values.items()}
    expected = {
        "method": tuning.method, "metric": tuning.metric, "split": tuning.split, "values": values,
        "score_range": {label: list(ends) for label, ends in ranges.items()}, "trials": rows,
        **choice_of(rows, tuning.values, ranges),
    }  # fmt: skip
    findings.compare(TUNING, table, Redaction(here=False).value(expected))


def _check_trials(inputs: Inputs, trials: list[dict[str, dict[str, Any]]], findings: Findings) -> None:
    """The options of the trials are those of the search; optuna's proposals are not made again."""
    tuning = inputs.matrix.tuning
    assert tuning is not None
    for label in trials[0]:
        own = [trial[label] for trial in trials]
        texts = [json.dumps(options, sort_keys=True) for options in own]  # 1, 1.0 and true are different values
        if tuning.method == "grid":
            findings.compare(TUNING, own, search_of(tuning).ask(), f"trials of {label}", relative=0.0)
            continue
        findings.note("which trials optuna proposed was not repeated; only that they are different and allowed")
        for number, options in enumerate(own):
            allowed = options.keys() == tuning.values.keys() and all(v in tuning.values[k] for k, v in options.items())
            if not allowed or texts[number] in texts[:number]:
                findings.problem(
                    TUNING, f"{shorten(options)} is a repetition or not allowed", f"trial {number} of {label}"
                )
