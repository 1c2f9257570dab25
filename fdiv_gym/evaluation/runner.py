"""The runner: draws and scores responses to tasks and records them, for ``fdiv-gym eval`` and for trainers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.envs.base import Environment, Split
from fdiv_gym.errors import ConfigError, EngineError
from fdiv_gym.evaluation.folder import complete_records, hold, open_folder, remove_if_nothing_drawn
from fdiv_gym.evaluation.metrics import default_ks
from fdiv_gym.evaluation.plan import Plan
from fdiv_gym.evaluation.results import RESULTS, results_of
from fdiv_gym.evaluation.samples import Mode, sample_record, sample_records
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.registry.guard import boundary, close_plugin, label_of, sampling_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym.rollouts.scoring import TimeoutLedger
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.rollouts.text_episodes import run_text_episodes
from fdiv_gym.runs.folder import SAMPLES, RunFolder
from fdiv_gym.types.task import Task
from fdiv_gym.types.trajectory import TrajectoryGroup

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Played:
    """The scored responses of some tasks.

    Args:
        groups: scored groups, one for each task.
        samples: their records; see ``fdiv_gym.evaluation.samples``.
    """

    groups: list[TrajectoryGroup]
    samples: list[dict[str, Any]]


def play_tasks(
    env: Environment,
    engine: Engine,
    encoder: ChatEncoder,
    tasks: Sequence[Task],
    indices: Sequence[int],
    samples: int,
    seed: int,
    *,
    split: Split,
    mode: Mode = "sampled",
    step: int | None = None,
    ledger: TimeoutLedger | None = None,
) -> Played:
    """Run some of the evaluated tasks, score the responses and make their records.

    Args:
        env: the environment of the tasks.
        engine: the engine, already started.
        encoder: the policy's tokenizer.
        tasks: the evaluated list.
        indices: positions of the tasks of this call: a batch, or the share of one process.
        samples: responses to each task.
        seed: determines every draw of this call.
        split: the split of the tasks.
        mode: ``greedy`` takes the most likely token.
        step: optimizer step of the run, if there is one.
        ledger: records the pairs that timed out; see ``run_episodes``.

    Returns:
        Groups and records in the order of ``indices``; empty if there are none.

    Raises:
        EngineError: the engine failed.
        EnvError: the environment broke its contract.
        PluginError: the environment's code failed.
    """
    if not indices:
        return Played([], [])
    sampling = sampling_of(engine, seed, greedy=mode == "greedy")
    chosen = [tasks[i] for i in indices]
    groups = run_episodes(env, engine, encoder, chosen, samples, sampling, ledger=ledger, masks=False)
    return Played(groups, list(sample_records(env, groups, indices, split=split, mode=mode, step=step)))


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Args:
        folder: the folder with plan, samples and results.
        results: the content of ``results.json``.
    """

    folder: Path
    results: dict[str, Any]


def evaluate(
    plan: Plan,
    folder: Path,
    ks: Sequence[int] | None = None,
    threshold: float | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Draw and score the samples still missing in ``folder``, then compute the metrics.

    Args:
        plan: the plan of the evaluation.
        folder: a new or empty folder, or that of the same evaluation, which is then resumed.
        ks: numbers of responses for pass@k and maj@k; by default 1, 2, 4, ... and all.
        threshold: a response is correct from this score on; by default the environment's maximum.
        progress: called with (tasks done, tasks).

    Raises:
        ConfigError: the folder holds another evaluation, or a k is out of range.
        EnvError: the environment broke its contract.
        EngineError: the model cannot be served.
    """
    chosen = checked_ks(ks or default_ks(plan.samples), plan.samples)
    if threshold is not None and not math.isfinite(threshold):
        raise ConfigError(f"the threshold must be a finite number, got {threshold}")
    with hold(folder):
        store = open_folder(plan, folder)
        try:
            return _evaluate(plan, store, chosen, threshold, progress)
        except BaseException:
            remove_if_nothing_drawn(folder)
            raise


def checked_ks(ks: Iterable[int], samples: int) -> list[int]:
    """The k of pass@k and maj@k, in order.

    Raises:
        ConfigError: one is below 1 or above the number of samples.
    """
    chosen = sorted(set(ks))
    if chosen[0] < 1 or chosen[-1] > samples:
        raise ConfigError(
            f"every k must be from 1 to the number of samples, {samples}; got {chosen}: raise --samples or lower -k"
        )
    return chosen


def _evaluate(
    plan: Plan, store: RunFolder, ks: Sequence[int], threshold: float | None, progress: Progress | None
) -> Evaluated:
    assert plan.config.env is not None
    env = plan.config.env.build()
    try:
        tasks = list(env.task_list(plan.split)[: plan.tasks])
        records = complete_records(store, tasks, plan)
        if len(records) < len(tasks) * plan.samples:
            records += _draw(plan, env, tasks, len(records) // plan.samples, store, progress)
        results = results_of(plan, env, tasks, records, ks, threshold)
    finally:
        close_plugin(env)
    store.write_json(RESULTS, results)
    return Evaluated(store.path, results)


def _draw(
    plan: Plan, env: Environment, tasks: Sequence[Task], done: int, store: RunFolder, progress: Progress | None
) -> list[dict[str, Any]]:
    """Run the tasks from position ``done``; each batch is written when it is complete."""
    engine: Engine = plan.config.engine.build()
    records = []
    try:
        play = _player(plan, env, engine, tasks)
        for start in range(done, len(tasks), plan.batch):
            batch = range(start, min(start + plan.batch, len(tasks)))
            # A seed for each batch: a resumed evaluation draws the same samples as an uninterrupted one.
            samples = play(batch, derive_seed(plan.seed, "eval", start))
            store.append(SAMPLES, *samples)
            records += samples
            if progress is not None:
                progress(batch.stop, len(tasks))
    finally:
        close_plugin(engine)
    return records


Player = Callable[[Sequence[int], int], list[dict[str, Any]]]
"""The records of the tasks at some positions, drawn with a seed."""


def _player(plan: Plan, env: Environment, engine: Engine, tasks: Sequence[Task]) -> Player:
    """Load the model of the plan; the player plays tasks with it."""
    with boundary(engine, "load"):
        tokenizer = engine.load(plan.config.model, env)
    if isinstance(engine, TextEngine):
        return lambda indices, seed: _texts(plan, env, engine, tasks, indices, seed)
    if not hasattr(tokenizer, "encode"):
        raise EngineError(f"{label_of(engine)}: load must return the model's tokenizer, got {shorten(tokenizer)}")
    encoder = ChatEncoder.of(tokenizer, plan.config.model)
    return lambda indices, seed: (
        play_tasks(env, engine, encoder, tasks, indices, plan.samples, seed, split=plan.split, mode=plan.mode).samples
    )


def _texts(
    plan: Plan, env: Environment, engine: TextEngine, tasks: Sequence[Task], indices: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    sampling = sampling_of(engine, seed, greedy=plan.greedy)
    played = run_text_episodes(env, engine, [tasks[i] for i in indices], plan.samples, sampling)
    return [
        sample_record(env, tasks[i], trajectory, split=plan.split, mode=plan.mode, index=i, sample=sample)
        for i, trajectories in zip(indices, played, strict=True)
        for sample, trajectory in enumerate(trajectories)
    ]
