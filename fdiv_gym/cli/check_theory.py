"""``fdiv-gym check theory``: the theory as a table of measured claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import write_json

if TYPE_CHECKING:
    from fdiv_gym.theory import Claim


def check_theory(*, as_json: bool) -> None:
    """Measure every claim of the theory and print it with its bound; status 1 if one fails.

    Args:
        as_json: print one JSON document instead of the table.
    """
    from fdiv_gym.theory import check_claims

    if as_json:
        claims = check_claims()
        write_json({"ok": all(claim.passed for claim in claims), "claims": [claim.to_dict() for claim in claims]})
    else:
        claims = _measured()
        _show(claims)
    if not all(claim.passed for claim in claims):
        raise typer.Exit(ExitStatus.FAILED)


def _measured() -> list[Claim]:
    """The claims, with a progress bar on the error stream, so that the table can be piped."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.theory import check_claims, list_claims

    columns = (TextColumn("checking"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=PrintableConsole(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(list_claims()))
        return check_claims(lambda claim: progress.advance(task))


def _show(claims: list[Claim]) -> None:
    from rich.table import Table

    from fdiv_gym.cli.console import PrintableConsole

    judged = [claim for claim in claims if not claim.is_measurement]
    measurements = [claim for claim in claims if claim.is_measurement]
    console = PrintableConsole(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("claim", ratio=1)
    for column in ("source", "measured", "bound", "passed"):
        table.add_column(column, justify="right" if column in ("measured", "bound") else "left", no_wrap=True)
    for claim in judged:
        table.add_row(*_row(claim))
    console.print(table)
    if measurements:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        shown.add_column("measurement, without a bound", ratio=1)
        shown.add_column("measured", justify="right", no_wrap=True)
        for claim in measurements:
            shown.add_row(_named(claim), f"{claim.measured:.3g}")
        console.print()
        console.print(shown)
    passed = sum(claim.passed for claim in judged)
    console.print(f"\n{passed} of {len(judged)} claims passed; {len(measurements)} measurements have no bound.")
    console.print("--json also prints the settings of each claim.")


def _named(claim: Claim) -> str:
    """The name, with the settings where the number alone would say too little."""
    from rich.markup import escape

    detailed = claim.detail and (claim.is_measurement or not claim.passed)
    return escape(claim.name) + (f"\n[dim]{escape(claim.detail)}[/]" if detailed else "")


def _row(claim: Claim) -> tuple[str, str, str, str, str]:
    verdict = "[green]yes[/]" if claim.passed else "[red]NO[/]"
    bound = f"{claim.sense} {claim.bound:.3g}"
    return _named(claim), claim.source.removeprefix("arXiv "), f"{claim.measured:.3g}", bound, verdict
