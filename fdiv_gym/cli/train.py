"""The command ``fdiv-gym train``."""

from __future__ import annotations

import math
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdiv_gym.cli.arguments import TrustEndpoints, TrustRemoteCode
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo
from fdiv_gym.errors import ConfigError

if TYPE_CHECKING:
    from fdiv_gym.runs import RunResult


def train(
    config: Annotated[Path | None, typer.Argument(help="A TOML file, e.g. examples/addition.toml.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder; default: runs/NAME-DATE.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key, e.g. --set trainer.steps=10 (repeatable)."),
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Resume the run in this folder.")] = None,
    allow_plugin_change: Annotated[
        bool, typer.Option("--allow-plugin-change", help="Resume although plugins of the run have changed.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume although config.json was edited; this is recorded.")
    ] = False,
    trust_endpoints: TrustEndpoints = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Train a policy and write a run folder.

    The progress line shows:

    - reward: mean reward
    - equal: share of groups whose rewards are all equal
    - D: estimated divergence from the reference
    - level: hardest open level of the curriculum
    - ktok/s: thousand sampled tokens a second

    With the trainer preference-model:

    - loss: mean of -log P(chosen > rejected), in nats
    - right: share of the step's pairs whose chosen response is preferred
    - gradient: norm of the gradient before it is clipped

    Example: fdiv-gym train examples/addition.toml --output runs/first --set seed=1
    """
    from fdiv_gym.runs import is_main_process

    if resume is not None:
        if config is not None or output is not None:
            raise ConfigError(
                "--resume reads the configuration of the run folder: omit the config file and --output; "
                "--set changes a key of it, e.g. --set trainer.steps=600"
            )
        folder = resume
    elif trust_endpoints or trust_remote_code:
        raise ConfigError(
            "--trust-endpoints and --trust-remote-code go with --resume: a config file of your own needs no consent"
        )
    elif config is None:
        raise ConfigError("give a config file, or --resume with a run folder")
    else:
        folder = output or Path("runs") / f"{config.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        consent = {"trust_endpoints": trust_endpoints, "trust_remote_code": trust_remote_code}
        allowed = {"allow_plugin_change": allow_plugin_change, "accept_changes": accept_changes}
        result = _trained(config, set_ or [], folder, **allowed, **consent)
    except KeyboardInterrupt:  # outside the training steps: in the warm start, an evaluation or a checkpoint
        if is_main_process():
            again = f"fdiv-gym train --resume {shlex.quote(str(folder))}"
            hint = f"resume with: {again}" if folder.exists() else "run the command again"
            echo(f"interrupted; {hint}", err=True)
        sys.exit(ExitStatus.INTERRUPTED)
    if is_main_process():
        _show(result)
    if result.status == "interrupted":
        sys.exit(ExitStatus.INTERRUPTED)


def _trained(config: Path | None, overrides: list[str], folder: Path, **allowed: bool) -> RunResult:
    """The result of a new run; without a configuration file, of the resumed run in ``folder``."""
    from fdiv_gym import runs

    if config is None:
        run = runs.RunFolder.open_existing(folder)
        was_finished, before = run.read_json(runs.SUMMARY).get("status") == "finished", run.lines(runs.METRICS)[-1:]
        result = runs.resume_run(folder, overrides, **allowed)
        if was_finished and before == run.lines(runs.METRICS)[-1:]:
            echo(f"the run in {folder} was finished before: nothing was left to do", err=True)
        return result
    return runs.train(runs.load_config(config, overrides), folder)


def _show(result: RunResult) -> None:
    """Print the result as a table."""
    from rich.table import Table
    from rich.text import Text

    from fdiv_gym.cli.console import PrintableConsole

    console = PrintableConsole()
    before, after = result.summary.get("before", {}), result.summary.get("after", {})
    if before:
        table = Table(title=f"held-out tasks, {result.status} after {result.steps} steps")
        for column in ("", "before", "after", "change"):
            table.add_column(column, justify="left" if not column else "right")
        for key in before:
            table.add_row(Text(key.replace("_", " ")), *_change(before[key], after.get(key)))
        console.print(table)
    folder = shlex.quote(str(result.folder))
    lines = [f"{result.status} in {result.summary.get('seconds', 0):.0f} s; run folder: {folder}"]
    ended_by, spent = result.summary.get("ended_by", "steps"), result.summary.get("spent", {})
    if ended_by != "steps":
        lines.append(f"Its budget ended it: {spent[ended_by]:,.6g} {ended_by} spent")
    if result.status == "interrupted":
        lines.append(f"Resume with: fdiv-gym train --resume {folder}")
    else:
        lines.append(f"Write a report with: fdiv-gym report {folder}")
    for line in lines:
        # A folder's name may contain brackets, and a broken path cannot be copied.
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _change(before: float | None, after: float | None) -> tuple[str, str, str]:
    """Both values and their difference; ``-`` where there is none, e.g. because no response had a score."""
    shown = tuple("-" if value is None or math.isnan(value) else f"{value:.3f}" for value in (before, after))
    difference = "-" if "-" in shown or before is None or after is None else f"{after - before:+.3f}"
    return shown[0], shown[1], difference
