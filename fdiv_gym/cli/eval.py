"""The command ``fdiv-gym eval``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from fdiv_gym.cli.arguments import JsonFlag, TrustEndpoints, TrustRemoteCode
from fdiv_gym.cli.eval_tables import show_metrics, show_samples, show_temperatures
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo, write_json
from fdiv_gym.errors import ConfigError

if TYPE_CHECKING:
    from fdiv_gym.evaluation import Evaluated, Plan, Sweep


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A run folder, a checkpoint, a model folder, an added model, a hub id, or 'embedded'; with "
            "--engine openai the model's name at the server."
        ),
    ],
    env: Annotated[
        str | None,
        typer.Option("--env", help="The environment, or a run folder for its; default: that of MODEL if it is a run."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="The engine, e.g. openai; default: that of the run, or transformers.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="The server of --engine openai, e.g. http://127.0.0.1:8000/v1.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file with tables env, engine and model.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key, e.g. --set env.digits=3 (repeatable).")
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", help="A checkpoint of the run by its step; 0 is the untrained model.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder for samples and results.")] = None,
    split: Annotated[str, typer.Option("--split", help="Split of the tasks: train or heldout.")] = "heldout",
    tasks: Annotated[int | None, typer.Option("--tasks", help="Largest number of tasks; default: all.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", help="Responses to each task; default: 8, with --greedy 1.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the most likely token instead of sampling.")] = False,
    temperature: Annotated[
        str | None,
        typer.Option(
            "--temperature", help="Compare greedy and each of these temperatures, e.g. 0.1,0.3,1, with a majority vote."
        ),
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", help="A k of pass@k and maj@k (repeatable).")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Smallest score of a correct response.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    batch: Annotated[int, typer.Option("--batch", help="Tasks per batch.")] = 16,
    show: Annotated[
        int, typer.Option("--show", min=0, help="Print the first response, or conversation, of this many tasks.")
    ] = 0,
    trust_endpoints: TrustEndpoints = False,
    trust_remote_code: TrustRemoteCode = False,
    json_: JsonFlag = False,
) -> None:
    """Measure pass@k, avg@k and maj@k of a model, with intervals; an interrupted evaluation is resumed.

    Example: fdiv-gym eval runs/first --samples 16 --tasks 200
    """
    from fdiv_gym.evaluation import Plan, Sweep, configure, parse_temperatures

    if split not in ("train", "heldout"):
        raise ConfigError(f"--split must be train or heldout, got {split!r}")
    if show and (json_ or temperature is not None):
        raise ConfigError("--show prints the samples of one evaluation as text: omit --json and --temperature")
    chosen = cast(Literal["train", "heldout"], split)
    address = [] if base_url is None else [f"engine.base_url={json.dumps(base_url)}"]
    overrides = [*(set_ or []), *address]
    number = samples if samples is not None else (1 if greedy else 8)

    def plan_of(greedy: bool, number: int, *more: str) -> Plan:
        run_config, trained_on = configure(
            model, env, config, [*overrides, *more], step, engine=engine,
            trust_endpoints=trust_endpoints, trust_remote_code=trust_remote_code,
        )  # fmt: skip
        return Plan(run_config, chosen, tasks, number, greedy, seed, batch, trained_on)

    if temperature is not None:
        _refuse_conflicts(greedy, overrides)
        sweep = Sweep.of(
            parse_temperatures(temperature),
            plan_of(True, 1),
            lambda t: plan_of(False, number, f"engine.temperature={t!r}"),
        )
        done = _swept(sweep, output or _folder(model, sweep.plans["greedy"], sweep.fingerprint()), k or None, threshold)
    else:
        plan = plan_of(greedy, number)
        done = _evaluated(plan, output or _folder(model, plan, plan.fingerprint()), k or None, threshold)
    if json_:
        write_json({"folder": str(done.folder), **done.results})
    elif temperature is not None:
        show_temperatures(done)
    else:
        show_metrics(done)
        show_samples(done.folder, show)


def _refuse_conflicts(greedy: bool, overrides: Sequence[str]) -> None:
    if greedy:
        raise ConfigError("--temperature includes the greedy evaluation: omit --greedy")
    if any(item.partition("=")[0].strip() == "engine.temperature" for item in overrides):
        raise ConfigError("--temperature and --set engine.temperature exclude each other")


def _swept(sweep: Sweep, folder: Path, ks: list[int] | None, threshold: float | None) -> Evaluated:
    """The evaluations at all temperatures, with a progress bar."""
    from fdiv_gym.evaluation import evaluate_temperatures

    with _progress(folder) as update:
        return evaluate_temperatures(sweep, folder, ks, threshold, update)


def _evaluated(plan: Plan, folder: Path, ks: list[int] | None, threshold: float | None) -> Evaluated:
    """The evaluation, with a progress bar."""
    from fdiv_gym.evaluation import evaluate as run_evaluation

    with _progress(folder) as update:
        return run_evaluation(plan, folder, ks, threshold, lambda n, total: update("evaluating", n, total))


@contextlib.contextmanager
def _progress(folder: Path) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on the error stream; exit status 130 if the evaluation is interrupted."""
    from rich.progress import Progress

    from fdiv_gym.cli.console import PrintableConsole

    with Progress(console=PrintableConsole(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("evaluating", total=None)
        try:
            yield lambda name, n, total: bar.update(line, description=name, completed=n, total=total)
        except KeyboardInterrupt:
            echo(f"interrupted; run the same command again to resume ({folder})", err=True)
            sys.exit(ExitStatus.INTERRUPTED)


def _folder(model: str, plan: Plan, fingerprint: str) -> Path:
    """A folder in that of the model's run, or in ``evaluations``; its name identifies the evaluation."""
    assert plan.config.env is not None
    name = plan.config.env.name.replace("/", "-") + "-" + fingerprint
    run = Path(model)
    if (run / "state.pt").is_file():  # a checkpoint of that run
        run = run.parent.parent
    return (run if (run / "checkpoints").is_dir() else Path()) / "evaluations" / name
