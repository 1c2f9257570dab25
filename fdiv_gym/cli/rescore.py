"""The command ``fdiv-gym rescore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdiv_gym.cli.arguments import JsonFlag, TrustEndpoints
from fdiv_gym.cli.screen import write_json

if TYPE_CHECKING:
    from fdiv_gym.evaluation import Rescored

REASON_SHOWN = 300
"""Characters of the reason of a missing score."""


def rescore(
    run: Annotated[Path, typer.Argument(help="A run folder or an evaluation folder.")],
    with_: Annotated[
        str | None, typer.Option("--with", help="Another verifier or environment; default: the folder's own.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="An option of the verifier or environment, e.g. --set extraction=hash (repeatable)."
        ),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="List every disagreement.")] = False,
    trust_endpoints: TrustEndpoints = False,
    json_: JsonFlag = False,
) -> None:
    """Rescore the saved samples of a run or an evaluation, without sampling.

    Example: fdiv-gym rescore runs/first --with math --diff
    """
    from fdiv_gym.evaluation import rescore as judge_again
    from fdiv_gym.runs import apply_overrides

    done = judge_again(run, with_, apply_overrides({}, set_ or []), trust_endpoints=trust_endpoints)
    if json_:
        record: dict[str, Any] = done.summary()
        write_json(record | {"disagreeing": done.disagreements()} if diff else record)
    else:
        _show(done, diff)


def _show(done: Rescored, diff: bool) -> None:
    """Print counts, means and, with ``diff``, every disagreement."""
    from rich.table import Table

    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.cli.conversations import conversation_lines

    console, summary = PrintableConsole(), done.summary()
    console.print(f"{summary['samples']} samples rescored, {summary['disagreements']} disagreements", style="bold")
    table = Table()
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="right" if heading else "left")
    means = (summary["mean_before"], summary["mean_after"])
    table.add_row("mean score", *("-" if mean is None else f"{mean:.3f}" for mean in means))
    before, after = summary["statuses_before"], summary["statuses_after"]
    for status in sorted({*before, *after}):
        table.add_row(status, str(before.get(status, 0)), str(after.get(status, 0)))
    console.print(table)
    for reason, number in summary["reasons_after"].items():
        console.print(f"no score: {number} {reason[:REASON_SHOWN]}", highlight=False, markup=False, soft_wrap=True)
    for reason, number in summary["refused"].items():
        console.print(f"not rescored: {number} {reason}", highlight=False)
    if diff:
        for item in done.disagreements():
            old, new = (_short(item[side]) for side in ("old", "new"))
            line = f"{old} -> {new}  reference {item['answer']!r}  response {item['response'][-120:]!r}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
            if item["turns"] > 1:
                for text in conversation_lines(item["transcript"]):
                    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _short(verdict: dict[str, Any]) -> str:
    return str(verdict["status"]) if verdict["score"] is None else f"{verdict['score']:g}"
