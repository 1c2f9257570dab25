"""The quick part of the conformance kits, for the plugins of a run before its first step."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from fdiv_gym.divergences.base import Divergence
from fdiv_gym.envs.base import Environment
from fdiv_gym.errors import PluginError
from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.aggregation import Aggregation
from fdiv_gym.objectives.base import Objective
from fdiv_gym.registry.discovery import CORE
from fdiv_gym.registry.guard import check_completions, label_of
from fdiv_gym.registry.reference import PluginRef
from fdiv_gym.registry.watchdog import watchdog
from fdiv_gym.rewards.judge import Judge
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.rollouts.isolation.exits import exit_is_no_success
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.consent import urls
from fdiv_gym.testing import objective
from fdiv_gym.testing.divergence import check_divergence
from fdiv_gym.testing.env import checks_of
from fdiv_gym.testing.env_tasks import SPLITS
from fdiv_gym.testing.hostile import within
from fdiv_gym.testing.judge import check_verdicts
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.small import check_advantage, check_aggregation
from fdiv_gym.types.trajectory import Sampling

SECONDS = 2.0
"""The time of all checks before a run; what does not fit is named and left out."""
KILL_S = 120.0
"""Seconds after which the checks of a plugin that does not return end the run."""
OF_OBJECTIVES = ("sign", "gradient", "reference", "micro-batch", "padding", "all-equal", "unscorable", "extremes")
OF_ENVIRONMENTS = (
    "tasks", "opening", "reset", "episode", "reference_response", "reference_player", "rejects_invalid", "state",
    "batch",
)  # fmt: skip
Checks = Mapping[str, Callable[[float], None]]


class Quick:
    """Runs checks until the time is over.

    Args:
        report: takes one line about what was not checked.
        seconds: the time of all checks together; ``SECONDS`` by default.
    """

    def __init__(self, report: Callable[[str], None], seconds: float | None = None) -> None:
        self._say, self._end = report, time.monotonic() + (SECONDS if seconds is None else seconds)

    def run(self, report: Report, checks: Checks) -> None:
        """Add the results of ``checks``, each of which takes the seconds that are left, to a report.

        Raises:
            PluginError: one of them failed.
        """
        for name, check in checks.items():
            left = self._end - time.monotonic()
            with report.section(name):
                try:
                    if left <= 0:
                        raise TimeoutError
                    check(left)
                except TimeoutError:
                    self._say(f"{report.subject}: no time to check {name!r} before the run; fdiv-gym check does")
                    return
            refuse_failures(report)


def check_run_plugins(config: RunConfig, report: Callable[[str], None], *, seconds: float | None = None) -> None:
    """Check the plugins of a run that are not of fdiv-gym itself, with the quick part of their kits.

    These are divergences, objectives, advantages, aggregations, environments, and judges that contact no server.
    Plugins passed as classes or instances are among them; copies of instances are checked. The states of the global
    random generators are kept. Engines are checked once they are started: see ``check_started_engine``.

    Args:
        config: the run's configuration.
        report: takes one line about what was not checked, and why.
        seconds: the time of all checks together; ``SECONDS`` by default.

    Raises:
        PluginError: a plugin breaks its contract; the message holds the findings of the kit.
    """
    quick = Quick(report, seconds)
    with _random_states_kept():
        for ref in config.references():
            if is_foreign(ref) and ref.kind in _KITS:
                if ref.kind in ("environment", "judge") and contacts_servers(ref):
                    report(f"{ref.kind} {ref.name!r} contacts a server: not checked before the run")
                    continue
                label = f"{ref.kind} {ref.name!r}"
                with watchdog.watch(label, "its checks before the run", KILL_S), exit_is_no_success(label):
                    _KITS[ref.kind](_own_copy(ref), quick)


def is_foreign(ref: PluginRef[Any]) -> bool:
    """Whether a reference names a plugin of another distribution, or was given as a class or an instance."""
    ours = CORE.partition(":")[0]
    return ref.instance is not None or ref.entry is None or ref.entry.distribution != ours


def contacts_servers(ref: PluginRef[Any]) -> bool:
    """Whether the options of a plugin, or of a plugin that they name, hold a URL or declare a server."""
    from fdiv_gym.registry.options import Options
    from fdiv_gym.registry.reference import references

    parts = [ref.checked_options, *(part.checked_options for part in references(ref.checked_options))]
    declared = any(isinstance(part, Options) and part.servers_contacted() for part in parts)
    return declared or any(True for _ in urls(ref.table()))


def check_started_engine(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    tokenizer: Any,
    sampling: Sampling,
    report: Callable[[str], None],
    *,
    seconds: float | None = None,
) -> None:
    """Check a few short completions of an engine that runs: their form, text, end and length.

    Args:
        engine: started.
        prompts: token ids; the first two are used.
        tokenizer: the policy's.
        sampling: that of the run; at most six tokens are drawn.
        report: takes one line if there was no time.
        seconds: the time of all checks together, ``SECONDS`` by default; a call of the engine is not interrupted.

    Raises:
        PluginError: the completions break the contract; the message holds the findings of the kit.
    """
    from dataclasses import replace

    short = replace(sampling, max_new_tokens=min(6, sampling.max_new_tokens), seed=11)
    found = Report(label_of(engine))

    def completions(left: float) -> None:
        ids = [list(prompt) for prompt in prompts[:2]]
        for group in check_completions(engine, engine.generate(ids, 4, short), len(ids), 4):
            for completion in group:
                _completion(completion, tokenizer, short.max_new_tokens, found)

    with _random_states_kept():
        Quick(report, seconds).run(found, {"samples": completions})


def refuse_failures(report: Report) -> None:
    """Raise the failures of a report.

    Raises:
        PluginError: naming the first three.
    """
    if not report.failures:
        return
    first = "; ".join(f"{check.name}: {check.message}" for check in report.failures[:3])
    more = len(report.failures) - 3
    raise PluginError(
        f"{report.subject} breaks its contract: {first}" + (f" (and {more} more)" if more > 0 else "")
        + "; correct it, or set trainer.check_plugins = false to train with it as it is"
    )  # fmt: skip


def _completion(completion: Any, tokenizer: Any, limit: int, report: Report) -> None:
    tokens, eos = completion.token_ids, tokenizer.eos_token_id
    ended = bool(tokens) and tokens[-1] == eos
    body = list(tokens[:-1] if ended else tokens)
    expected = tokenizer.decode(body, skip_special_tokens=False)
    report.check("text", completion.text == expected, f"text is {completion.text!r}, its tokens decode to {expected!r}")
    report.check("stop-reason", eos not in body, "a completion continues after its end token")
    report.check("stop-reason", 1 <= len(tokens) <= limit, f"{len(tokens)} tokens, max_new_tokens is {limit}")
    reason = "eos" if ended else "length"
    report.check("stop-reason", completion.stop_reason == reason, f"it is {completion.stop_reason!r}, not {reason!r}")


def _own_copy(ref: PluginRef[Any]) -> Any:
    if ref.instance is None:
        return ref.build()
    try:
        return copy.deepcopy(ref.instance)
    except Exception:  # an instance with locks or files; its class and options make another one
        other = type(ref.instance)(**dict(ref.checked_options))
        other.entry = ref.entry
        return other


@contextmanager
def _random_states_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _of_divergence(plugin: Divergence, quick: Quick) -> None:
    report = Report(label_of(plugin))
    in_use = type(plugin)(**{**dict(plugin.options), "link": plugin.link_name})
    in_use.entry = plugin.entry
    quick.run(report, {"kit": lambda left: report.checks.extend(check_divergence(in_use).checks)})


def _of_objective(plugin: Objective, quick: Quick) -> None:
    plugin, report = copy.deepcopy(plugin), Report(objective.describe(plugin))
    plugin.at_step(5, 10)
    checks: dict[str, Callable[[float], None]] = {"form": lambda left: objective.check_form(plugin, report)}
    for name in OF_OBJECTIVES:
        checks[name] = lambda left, check=objective.CHECKS[name]: check(plugin, report)  # type: ignore[misc]
    quick.run(report, checks)


def _of_small_kind(kit: Callable[[Any], Report], plugin: Advantage | Aggregation, quick: Quick) -> None:
    report = Report(label_of(plugin))
    quick.run(report, {"kit": lambda left: report.checks.extend(kit(plugin).checks)})


def _of_environment(env: Environment, quick: Quick) -> None:
    report = Report(label_of(env))

    def form(left: float) -> None:
        low, high = env.score_range
        report.check("form", low < high, f"score_range is {env.score_range}, expected (low, high) with low < high")
        for split in SPLITS:
            within(left, partial(env.task_list, split))

    checks: dict[str, Callable[[float], None]] = {"form": form}
    every = checks_of(env)
    for name in OF_ENVIRONMENTS:
        if name in every:
            checks[name] = lambda left, check=every[name]: within(left, lambda: check(report, left))  # type: ignore[misc]
    quick.run(report, checks)
    env.close()


def _of_judge(judge: Judge, quick: Quick) -> None:
    report = Report(label_of(judge))
    quick.run(report, {"verdicts": lambda left: check_verdicts(judge, report, left)})
    judge.close()


_KITS: Mapping[str, Callable[[Any, Quick], None]] = {
    "divergence": _of_divergence,
    "objective": _of_objective,
    "advantage": partial(_of_small_kind, check_advantage),
    "aggregation": partial(_of_small_kind, check_aggregation),
    "environment": _of_environment,
    "judge": _of_judge,
}
