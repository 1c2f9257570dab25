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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fdiv_gym.theory import check_claims, list_claims

    columns = (TextColumn("checking"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(list_claims()))
        return check_claims(lambda claim: progress.advance(task))


def _show(claims: list[Claim]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("claim", ratio=1)
    table.add_column("source", no_wrap=True)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("bound", justify="right", no_wrap=True)
    table.add_column("passed", no_wrap=True)
    for claim in claims:
        table.add_row(*_row(claim))
    console = Console(highlight=False)
    console.print(table)
    judged = [claim for claim in claims if claim.bound is not None]
    passed = sum(claim.passed for claim in judged)
    shown = len(claims) - len(judged)
    console.print(f"\n{passed} of {len(judged)} claims passed; {shown} numbers have no bound.")
    console.print("--json also prints the settings of each claim.")


def _row(claim: Claim) -> tuple[str, str, str, str, str]:
    from rich.markup import escape

    name, measured = escape(claim.name), f"{claim.measured:.3g}"
    if claim.detail and (claim.bound is None or not claim.passed):
        name += f"\n[dim]{escape(claim.detail)}[/]"
    source = claim.source.removeprefix("arXiv ")
    if claim.bound is None:
        return name, source, measured, "-", "-"
    return name, source, measured, f"{claim.sense} {claim.bound:.3g}", "[green]yes[/]" if claim.passed else "[red]NO[/]"
