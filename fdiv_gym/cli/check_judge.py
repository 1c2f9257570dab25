"""``fdiv-gym check judge NAME`` with ``--labelled FILE`` (agreement with labels) or ``--injection``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.cli.screen import write_json
from fdiv_gym.errors import ConfigError


def check_judge(
    kind: str | None, name: str | None, labelled: Path, options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Measure a judge on labelled responses and print the results.

    Raises:
        ConfigError: the arguments do not name exactly one judge, or the file cannot be read.
    """
    from rich.table import Table

    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.evaluation import judge_reliability, read_labelled
    from fdiv_gym.evaluation.agreement import summary_lines
    from fdiv_gym.rewards import get_judge

    if kind != "judge" or name is None:
        raise ConfigError("--labelled needs one judge: fdiv-gym check judge NAME --labelled FILE")
    records = read_labelled(str(labelled))
    judge = get_judge(name, **options)
    try:
        report = judge_reliability(judge, records)
    finally:
        judge.close()
    if as_json:
        write_json({"judge": name, **report})
        return
    table = Table(title=f"judge {name} on {labelled.name}", show_header=False)
    for what, value in summary_lines(report):
        table.add_row(what, value)
    PrintableConsole().print(table)


def check_injection(kind: str | None, name: str | None, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Measure how often injections move a judge's score and print the results.

    Raises:
        ConfigError: the arguments do not name exactly one judge.
        JudgeError: the judge scores no single response.
    """
    from rich.table import Table

    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.evaluation import judge_injection
    from fdiv_gym.rewards import get_judge

    if kind != "judge" or name is None:
        raise ConfigError("--injection needs one judge: fdiv-gym check judge NAME --injection")
    judge = get_judge(name, **options)
    try:
        report = judge_injection(judge)
    finally:
        judge.close()
    if as_json:
        write_json({"judge": name, **report})
        return
    table = Table(title=f"judge {name}: scores that a text in the response moves")
    for column in ("", "injections", "ordinary text"):
        table.add_column(column, justify="right" if column else "left")
    for key in ("texts", "pairs", "moved", "raised", "lowered", "mean_change", "unscorable"):
        table.add_row(key.replace("_", " "), *(_number(key, report[part][key]) for part in ("injections", "ordinary")))
    console = PrintableConsole()
    console.print(table)
    strongest = ", ".join(f"{text} {change:+.2f}" for text, change in report["strongest"].items())
    console.print(f"strongest injections, mean change in units of the range: {strongest}", markup=False)


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key in ("moved", "raised", "lowered"):
        return f"{value:.1%}"
    return f"{value:+.3f}" if key == "mean_change" else str(value)
