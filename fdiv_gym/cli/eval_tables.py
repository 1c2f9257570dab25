"""The tables that ``fdiv-gym eval`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fdiv_gym.cli.screen import write

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from fdiv_gym.evaluation import Evaluated

EPISODES = {
    "turns": "turns of an episode",
    "truncated": "truncated episodes",
    "environment_tokens": "environment's tokens",
}
"""Names of metrics over episodes in the table; others are those of outcomes."""


def show_metrics(done: Evaluated) -> None:
    """Print the metrics as a table, then notes on them."""
    from rich.table import Table
    from rich.text import Text

    from fdiv_gym.cli.console import PrintableConsole

    r, console = done.results, PrintableConsole()
    console.print(_title(r) + f", {r['mode']}", style="bold", highlight=False, markup=False, soft_wrap=True)
    table = Table()
    for heading in ("", "value", "95 % interval", "tasks"):
        table.add_column(heading, justify="right" if heading else "left")
    metrics = dict(r["metrics"])
    for name in [name for name in metrics if name.startswith("avg@") and metrics[name] == metrics.get("pass@1")]:
        del metrics[name]  # scores of 0 and 1: the mean is the pass rate
        metrics = {f"pass@1 = {name}" if key == "pass@1" else key: value for key, value in metrics.items()}
    for name, metric in metrics.items():
        if metric["value"] is None:
            table.add_row(name, "-", "-", "0")
        else:
            interval = f"{metric['low']:.3f} to {metric['high']:.3f}"
            table.add_row(name, f"{metric['value']:.3f}", interval, str(metric["tasks"]))
    for name, value in r["env_metrics"].items():
        table.add_row(Text(name), f"{value:.3f}", "", "")
    for name, value in r["episode_metrics"].items():
        table.add_row(Text(EPISODES.get(name, f"{name} (episodes)")), f"{value:.3f}", "", "")
    console.print(table)
    if r["unscored_reason"]:
        console.print(f"first response without a score: {r['unscored_reason']}", highlight=False, markup=False)
    console.print(
        f"without a score: {r['unscored']:.1%}; cut off at the length limit: {r['cut_off']:.1%}; "
        f"tokens per response: {_tokens(r['response_tokens'])}",
        highlight=False,
        soft_wrap=True,
    )
    _show_contamination(r, console)
    console.print(f"samples and results: {done.folder}", highlight=False, markup=False, soft_wrap=True)


def show_samples(folder: Path, tasks: int) -> None:
    """Print the first sample of so many tasks, message by message."""
    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.cli.conversations import conversation_lines
    from fdiv_gym.runs import SAMPLES, RunFolder

    if not tasks:
        return
    console = PrintableConsole()
    for sample in [line for line in RunFolder(folder).lines(SAMPLES) if line["sample"] == 0][:tasks]:
        verdict = sample["verdict"]
        score = verdict["status"] if verdict["score"] is None else f"score {verdict['score']:g}"
        truncated = ", truncated" if sample["truncated"] else ""
        console.print(f"task {sample['index']}: {score}, turns {sample['turns']}{truncated}", style="bold")
        for line in conversation_lines(sample["transcript"]):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_temperatures(done: Evaluated) -> None:
    """Print one row for each temperature, then the best of them; at most 80 columns wide."""
    from rich.table import Table

    from fdiv_gym.cli.console import PrintableConsole
    from fdiv_gym.evaluation.temperatures import last_metric

    rows, best, console = done.results["evaluations"], done.results["best"], PrintableConsole()
    console.print(_title(rows[-1]), style="bold", highlight=False, markup=False, soft_wrap=True)
    majority = next((name for row in rows if (name := last_metric(row, "maj@"))), None)  # a row without votes has none
    table = Table()
    for heading in ("temperature", "mean score", "95 % interval", *([majority, "95 % interval"] if majority else [])):
        table.add_column(heading, justify="left" if heading == "temperature" else "right")
    for row in rows:
        cells = [*_cells(row, "avg@"), *(_cells(row, "maj@") if majority else [])]
        table.add_row(_temperature(row), *cells)
    console.print(table)
    console.print(
        f"without a score: at most {max(row['unscored'] for row in rows):.1%}; "
        f"cut off at the length limit: at most {max(row['cut_off'] for row in rows):.1%}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    reasons = [row["unscored_reason"] for row in rows if row["unscored_reason"]]
    if reasons:
        console.print(f"first response without a score: {reasons[0]}", highlight=False, markup=False, soft_wrap=True)
    _show_contamination(rows[-1], console)
    for key, what in (("single", "one response"), ("majority", "a majority vote")):
        if key in best:
            found = best[key]
            console.print(
                f"best by {what}: {found['value']:.3f} ({found['metric']} {_at(found)})",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    if best:
        write("This is reached without training this model further: only a result above the best of these is a gain.")
    console.print(f"samples and results: {done.folder}", highlight=False, markup=False, soft_wrap=True)


def _show_contamination(results: Mapping[str, Any], console: Console) -> None:
    shared = results["contamination"]
    if shared is not None:
        found = shared.get("unknown") or (
            f"{len(shared['shared'])} of {shared['evaluation_tasks']} tasks were trained on"
        )
        console.print(f"contamination: {found}", highlight=False, markup=False)


def _tokens(mean: float | None) -> str:
    return "not known" if mean is None else f"{mean:.1f}"


def _title(results: Mapping[str, Any]) -> str:
    responses = "1 response" if results["samples"] == 1 else f"{results['samples']} responses"
    return f"{results['env']['id']}, {results['split']}: {results['tasks']} tasks, {responses} each"


def _temperature(row: Mapping[str, Any]) -> str:
    return "greedy" if row["temperature"] == 0 else f"{row['temperature']:g}"


def _at(found: Mapping[str, Any]) -> str:
    return "greedily" if found["temperature"] == 0 else f"at temperature {found['temperature']:g}"


def _cells(row: Mapping[str, Any], prefix: str) -> list[str]:
    """The metric with the largest k, and its interval."""
    from fdiv_gym.evaluation.temperatures import last_metric

    metric = row["metrics"].get(last_metric(row, prefix), {"value": None})
    if metric["value"] is None:
        return ["-", ""]
    return [f"{metric['value']:.3f}", f"{metric['low']:.3f} to {metric['high']:.3f}"]
