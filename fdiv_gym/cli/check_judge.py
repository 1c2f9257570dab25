"""``fdiv-gym check judge NAME --labelled FILE``: the agreement of a judge with labels."""

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
