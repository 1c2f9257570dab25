"""The command ``fdiv-gym check``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdiv_gym.cli.arguments import KIND_LIST, JsonFlag, OptionalName, complete_kind, complete_package
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo, secho, write, write_json
from fdiv_gym.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from fdiv_gym.registry import Entry
    from fdiv_gym.testing import Report

THEORY = "theory"


def _complete_subject(incomplete: str) -> list[str]:
    return complete_kind(incomplete) + [word for word in [THEORY] if word.startswith(incomplete)]


def check(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"{KIND_LIST}; or {THEORY}: measure the claims of the theory on exact tables.",
            autocompletion=_complete_subject,
        ),
    ] = None,
    name: OptionalName = None,
    all_: Annotated[bool, typer.Option("--all", help="Check everything that is registered.")] = False,
    package: Annotated[
        str | None,
        typer.Option("--package", help="Check everything of one distribution.", autocompletion=complete_package),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the plugin, e.g. --set alpha=2 (repeatable).")
    ] = None,
    labelled: Annotated[
        Path | None, typer.Option("--labelled", help="Measure a judge on these labelled responses instead.")
    ] = None,
    injection: Annotated[
        bool, typer.Option("--injection", help="Measure how often injections in a response move a judge's score.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Check plugins against their contract, or the claims of the theory; status 1 if any check fails.

    Example: fdiv-gym check divergence kl
    """
    from fdiv_gym.runs import apply_overrides

    options = apply_overrides({}, set_ or [])
    if injection:
        from fdiv_gym.cli.check_judge import check_injection

        if labelled is not None or all_ or package is not None:
            raise ConfigError("--injection takes one judge, and none of --labelled, --all and --package")
        check_injection(kind, name, options, as_json=json_)
    elif labelled is not None:
        from fdiv_gym.cli.check_judge import check_judge

        check_judge(kind, name, labelled, options, as_json=json_)
    elif kind == THEORY:
        from fdiv_gym.cli.check_theory import check_theory

        if name is not None or all_ or package is not None or options:
            raise ConfigError("check theory takes no name and no option but --json")
        check_theory(as_json=json_)
    else:
        _check_entries(chosen(kind, name, everything=all_, package=package), options, as_json=json_)


def chosen(kind: str | None, name: str | None, *, everything: bool, package: str | None) -> list[Entry]:
    """The entries that the arguments select.

    Raises:
        ConfigError: the arguments contradict each other or select nothing.
    """
    from fdiv_gym.registry import KINDS
    from fdiv_gym.registry.discovery import discovery
    from fdiv_gym.registry.kinds import meant_kind

    if sum([kind is not None, everything, package is not None]) != 1:
        raise ConfigError("give a kind and a name, or --all, or --package NAME")
    if kind is not None and kind not in KINDS:
        raise UnknownNameError(f"unknown kind {kind!r} ({meant_kind(kind, [*KINDS, THEORY])})")
    if kind is not None:
        return [discovery.registry.get(kind, name)] if name is not None else discovery.registry.entries(kind)
    entries = discovery.registry.entries()
    if package is None:
        return entries
    wanted = package.replace("_", "-").replace(".", "-").lower()
    of_package = [entry for entry in entries if entry.distribution == wanted]
    if not of_package:
        plugins = [p for p in discovery.plugins() if p.distribution == wanted]
        why = "; ".join(f"{p.name} is {p.status}: {p.cause}" for p in plugins) or "no such distribution has plugins"
        raise ConfigError(f"no plugin of {package} is registered: {why}")
    return of_package


def check_entry(entry: Entry, options: Mapping[str, Any], *, alone: bool) -> dict[str, Any]:
    """One entry's reports as a record with ``status`` passed, failed or skipped.

    Args:
        entry: what to check.
        options: options of the instance.
        alone: whether it is the only entry to check: then a reason to skip it is an error.

    Raises:
        ConfigError: ``alone``, and the options do not build an instance.
        CannotCheckError: ``alone``, and its kit has nothing to check on this machine.
    """
    from fdiv_gym.testing import CannotCheckError, Report

    record: dict[str, Any] = {"kind": entry.kind, "name": entry.name, "plugin": entry.plugin}
    if entry.status != "ok":
        reason = entry.blocked or f"{entry.status}: {entry.pip_line()}"
        return record | {"status": "skipped", "reason": reason, "reports": []}
    try:
        report = _run_kit(entry, options)
    except (ConfigError, CannotCheckError) as error:
        # An entry whose required options or data are missing cannot be checked, so it is skipped.
        if alone:
            raise
        return record | {"status": "skipped", "reason": str(error), "reports": []}
    except (Exception, SystemExit) as error:
        report = Report(f"{entry.kind} {entry.name!r}")
        report.fail("build", f"{type(error).__name__}: {error}")
    reports = [part.to_dict() for part in report.parts]
    return record | {"status": "passed" if report.ok else "failed", "reports": reports}


def _run_kit(entry: Entry, options: Mapping[str, Any]) -> Report:
    from fdiv_gym.registry import KINDS, get
    from fdiv_gym.registry.kinds import import_string

    kit = import_string(KINDS[entry.kind].check)
    report: Report = kit(get(entry.kind, entry.name, **options))
    return report


def _check_entries(entries: list[Entry], options: Mapping[str, Any], *, as_json: bool) -> None:
    """Check each entry, print reports, and exit with status 1 if any check failed."""
    if options and len(entries) != 1:
        raise ConfigError("--set needs one kind and one name")
    records = []
    for entry in entries:
        record = check_entry(entry, options, alone=len(entries) == 1)
        records.append(record)
        if not as_json:
            _show(record)
    failed = sum(record["status"] == "failed" for record in records)
    if as_json:
        write_json(records)
    elif len(records) > 1:
        skipped = sum(record["status"] == "skipped" for record in records)
        write(f"{len(records) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    if failed:
        sys.exit(ExitStatus.FAILED)


def _show(record: Mapping[str, Any]) -> None:
    colour = {"passed": typer.colors.GREEN, "failed": typer.colors.RED}.get(record["status"], typer.colors.YELLOW)
    secho(f"{record['status']:8}", fg=colour, nl=False)
    count = sum(len(report["checks"]) for report in record["reports"])
    echo(f"{record['kind']} {record['name']}" + (f"  ({count} checks)" if count else ""))
    if record["status"] == "skipped":
        write(record["reason"], indent=8)
    for report in record["reports"]:
        for one in report["checks"]:
            if not one["passed"]:
                write(f"{report['subject']}: {one['name']}: {one['message']}", indent=8, hanging=10)
        for note in report.get("notes", []):
            write(f"note: {note}", indent=8, hanging=10)
        for name, value in report.get("metrics", {}).items():
            write(f"{name.replace('_', ' ')}: {value:.4g}", indent=8)
