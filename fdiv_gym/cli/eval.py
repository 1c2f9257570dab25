"""The command ``fdiv-gym eval``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from fdiv_gym.cli.arguments import JsonFlag
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import write_json
from fdiv_gym.errors import ConfigError

if TYPE_CHECKING:
    from fdiv_gym.evaluation import Evaluated, Plan


def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder, a checkpoint, a model folder, a hub id, or 'embedded'.")],
    env: Annotated[
        str | None, typer.Option("--env", help="The environment; default: the environment of the run.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with tables env, engine and model.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key, e.g. --set env.digits=3 (repeatable).")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder for samples and results.")] = None,
    split: Annotated[str, typer.Option("--split", help="Split of the tasks: train or heldout.")] = "heldout",
    tasks: Annotated[int | None, typer.Option("--tasks", help="Largest number of tasks; default: all.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", help="Responses to each task; default: 8, with --greedy 1.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the most likely token instead of sampling.")] = False,
    k: Annotated[list[int] | None, typer.Option("-k", help="A k of pass@k and maj@k (repeatable).")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Smallest score of a correct response.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    batch: Annotated[int, typer.Option("--batch", help="Tasks per batch.")] = 16,
    json_: JsonFlag = False,
) -> None:
    """Measure pass@k, avg@k and maj@k of a model, with intervals; an interrupted evaluation is resumed.

    Example: fdiv-gym eval runs/first --samples 16 --tasks 200
    """
    from fdiv_gym.evaluation import Plan, configure

    if split not in ("train", "heldout"):
        raise ConfigError(f"--split must be train or heldout, got {split!r}")
    chosen = cast(Literal["train", "heldout"], split)
    run_config, trained_on = configure(model, env, config, set_ or [])
    number = samples if samples is not None else (1 if greedy else 8)
    plan = Plan(run_config, chosen, tasks, number, greedy, seed, batch, trained_on)
    done = _evaluated(plan, output or _default_folder(model, plan), k or None, threshold)
    if json_:
        write_json({"folder": str(done.folder), **done.results})
    else:
        _show(done)


def _evaluated(plan: Plan, folder: Path, ks: list[int] | None, threshold: float | None) -> Evaluated:
    """The evaluation, with a progress bar on the error stream; exit status 130 if it is interrupted."""
    from rich.console import Console
    from rich.progress import Progress

    from fdiv_gym.evaluation import evaluate as run_evaluation

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("evaluating", total=None)
        try:
            return run_evaluation(
                plan, folder, ks, threshold, lambda n, total: bar.update(line, completed=n, total=total)
            )
        except KeyboardInterrupt:
            typer.echo(f"interrupted; run the same command again to resume ({folder})", err=True)
            sys.exit(ExitStatus.INTERRUPTED)


def _default_folder(model: str, plan: Plan) -> Path:
    """A folder in that of the model's run, or in ``evaluations``; its name identifies the plan."""
    assert plan.config.env is not None
    name = plan.config.env.name.replace("/", "-") + "-" + plan.fingerprint()
    run = Path(model)
    if (run / "state.pt").is_file():  # a checkpoint of that run
        run = run.parent.parent
    return (run if (run / "checkpoints").is_dir() else Path()) / "evaluations" / name


def _show(done: Evaluated) -> None:
    """Print the metrics as a table, then notes on them."""
    from rich.console import Console
    from rich.table import Table

    r, console = done.results, Console()
    responses = "1 response" if r["samples"] == 1 else f"{r['samples']} responses"
    title = f"{r['env']['id']}, {r['split']}: {r['tasks']} tasks, {responses} each, {r['mode']}"
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    table = Table()
    for heading in ("", "value", "95 % interval", "tasks"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, metric in r["metrics"].items():
        if name.startswith("avg@") and metric == r["metrics"].get("pass@1"):
            continue  # scores of 0 and 1: the mean is the pass rate
        if metric["value"] is None:
            table.add_row(name, "-", "-", "0")
        else:
            interval = f"{metric['low']:.3f} to {metric['high']:.3f}"
            table.add_row(name, f"{metric['value']:.3f}", interval, str(metric["tasks"]))
    for name, value in r["env_metrics"].items():
        table.add_row(name, f"{value:.3f}", "", "")
    console.print(table)
    if r["unscored_reason"]:
        console.print(f"first response without a score: {r['unscored_reason']}", highlight=False, markup=False)
    console.print(
        f"without a score: {r['unscored']:.1%}; cut off at the length limit: {r['cut_off']:.1%}; "
        f"tokens per response: {r['response_tokens']:.1f}",
        highlight=False,
        soft_wrap=True,
    )
    shared = r["contamination"]
    if shared is not None:
        found = shared.get("unknown") or (
            f"{len(shared['shared'])} of {shared['evaluation_tasks']} tasks were trained on"
        )
        console.print(f"contamination: {found}", highlight=False)
    console.print(f"samples and results: {done.folder}", highlight=False, soft_wrap=True)
