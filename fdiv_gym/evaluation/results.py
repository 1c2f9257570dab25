"""Results of an evaluation: the content of results.json, computed from the plan and the sample records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.data.contamination import find_contamination
from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.registration import make
from fdiv_gym.errors import FdivGymError
from fdiv_gym.evaluation.metrics import ENV_PREFIX, Sample, mean_metrics, summarise, task_values
from fdiv_gym.evaluation.plan import Plan
from fdiv_gym.registry.guard import close_plugin, score_range_of
from fdiv_gym.rollouts.episode_means import EPISODE_PREFIX
from fdiv_gym.types.task import Task

RESULTS = "results.json"


def results_of(
    plan: Plan,
    env: Environment,
    tasks: Sequence[Task],
    records: Sequence[Mapping[str, Any]],
    ks: Sequence[int],
    threshold: float | None,
) -> dict[str, Any]:
    """The results of a finished evaluation, JSON-ready.

    Args:
        plan: the plan of the evaluation.
        env: its environment, for the range of scores and additional metrics.
        tasks: the evaluated list.
        records: ``plan.samples`` for each task, in order.
        ks: numbers of responses for pass@k and maj@k.
        threshold: a response is correct from this score on; None is the environment's maximum.

    Raises:
        PluginError: the environment's ``metrics`` failed.
        EnvError: a metric of the environment is not a finite number.
    """
    samples = [Sample(r["verdict"]["score"], r["vote"]) for r in records]
    grouped = [samples[i : i + plan.samples] for i in range(0, len(samples), plan.samples)]
    low, high = score_range_of(env)
    correct_from = high if threshold is None else threshold
    values = task_values(grouped, ks, correct_from, low)
    means = mean_metrics(env, records)
    return {
        "env": plan.record()["env"],
        "model": plan.config.model.adapter or plan.config.model.name_or_path,
        "split": plan.split,
        "mode": plan.mode,
        "temperature": plan.temperature,
        "tasks": len(tasks),
        "samples": plan.samples,
        "threshold": correct_from,
        "metrics": {name: summarise(column, plan.seed).to_dict() for name, column in values.items()},
        "env_metrics": {
            name.removeprefix(ENV_PREFIX): value for name, value in means.items() if name.startswith(ENV_PREFIX)
        },
        "episode_metrics": {
            name.removeprefix(EPISODE_PREFIX): value for name, value in means.items() if name.startswith(EPISODE_PREFIX)
        },
        "unscored": means["unscored"],
        "unscored_reason": _first_reason(records),
        "cut_off": sum(r["stop_reason"] == "length" for r in records) / len(records),
        "response_tokens": None if math.isnan(means["response_tokens"]) else means["response_tokens"],
        "contamination": _contamination(plan, tasks),
    }


def _first_reason(records: Sequence[Mapping[str, Any]]) -> str | None:
    """The reason why the first unscored response has no score."""
    verdicts = [record["verdict"] for record in records]
    return next((f"{v['status']}: {v['detail']}" for v in verdicts if v["score"] is None), None)


def _contamination(plan: Plan, tasks: Sequence[Task]) -> dict[str, Any] | None:
    """The evaluated problems that the model was trained on; None if the training tasks are unknown."""
    if plan.trained_on is None:
        return None
    options = dict(plan.trained_on)
    try:
        trained = make(options.pop("id"), **options)
        found = find_contamination(trained.task_list("train"), tasks)
        close_plugin(trained)
    except FdivGymError as error:
        return {"unknown": str(error)}
    return {"shared": list(found.shared), "train_tasks": found.train_tasks, "evaluation_tasks": found.evaluation_tasks}
