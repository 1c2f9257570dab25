"""Options that a trainer may have: the bound of the gradient norm, and recomputed log-probs."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdiv_gym.rollouts.engine import Engine, get_engine
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.trainer import Trainer
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.trainer_rows import SPY, TOLERANCE, Spy, check_consistent, forget
from fdiv_gym.testing.trainer_runs import OBJECTIVE, SHIFTED, Witness, configuration, fit
from fdiv_gym.types.trajectory import Completion, Sampling

#: One optimizer step; the other options have values under which a bound of 1e-12 leaves no visible change.
ONE_STEP: dict[str, Any] = {
    "steps": 1, "evaluate_every": 0, "minibatches": 1, "updates_per_rollout": 1, "weight_decay": 0.0,
    "adam_epsilon": 1e-8, "learning_rate": 0.01, "max_kl": None,
}  # fmt: skip


def check_bounded_gradient(trainer: Trainer, report: Report, *, engine: Mapping[str, Any] | None = None) -> None:
    """With ``max_grad_norm`` of 1e-12 one step of Adam or SGD leaves the weights where they are; about a second.

    Args:
        trainer: an instance; without an option ``max_grad_norm`` nothing is checked.
        report: takes the check.
        engine: the table [engine]; the default engine if None.
    """
    if "max_grad_norm" not in type(trainer).Options.model_fields:
        return
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        settings = ONE_STEP | {"max_grad_norm": 1e-12}
        config = stack.enter_context(configuration(trainer, Path(place), engine, OBJECTIVE, **settings))
        Witness.stop_before = 0
        fit(config.trainer.build(), config, Path(place) / "run")
        before = load_file(Path(place) / "model" / "model.safetensors")
        after = load_file(RunFolder(Path(place) / "run").checkpoints()[-1] / "model" / "model.safetensors")
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    report.check(
        "max_grad_norm", moved <= 1e-4,
        f"with max_grad_norm = 1e-12 one step moved a weight by {moved:.3g}, expected at most 1e-4: the gradient is "
        "not scaled down",
    )  # fmt: skip


def check_recomputed(trainer: Trainer, report: Report, *, engine: Mapping[str, Any] | None = None) -> None:
    """With ``old_logps = "recomputed"`` wrong log-probs of the engine do not reach the objective; about a second.

    Args:
        trainer: an instance; without an option ``old_logps`` nothing is checked.
        report: takes the checks.
        engine: the table [engine]; the default engine if None.
    """
    if "old_logps" not in type(trainer).Options.model_fields:
        return
    table = {**(engine or {}), "name": SHIFTED}
    base = type(get_engine(str((engine or {}).get("name", "transformers"))))
    settings = ONE_STEP | {"old_logps": "recomputed", "micro_batch_size": 3}
    forget()
    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        config = stack.enter_context(
            configuration(trainer, Path(place), table, {"name": SPY}, engine_class=_shifted(base), **settings)
        )
        Witness.stop_before = 0
        fit(config.trainer.build(), config, Path(place) / "run")
    tokens = [part.tokens(k) for update in Spy.updates for _, part, k in update.rows()]
    gap = max((float((policy - old).abs().max()) for policy, old, _ in tokens if len(old)), default=float("nan"))
    report.check(
        "recomputed", gap <= TOLERANCE,
        f'with old_logps = "recomputed" and an engine whose log-probs are 0.5 nats too low, the old log-probs of the '
        f"first update are up to {gap:.3g} nats away from the policy's, allowed {TOLERANCE:g}",
    )  # fmt: skip
    for update in Spy.updates:
        check_consistent(report, update)
    forget()


def _shifted(base: type[Engine]) -> type[Engine]:
    """The engine with log-probs that are 0.5 nats too low."""

    class Shifted(base):  # type: ignore[misc, valid-type]
        logprob_tolerance = 1.0  # so that a trainer that compares engine and policy goes on

        def generate(
            self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling
        ) -> list[list[Completion]]:  # fmt: skip
            groups = super().generate(prompts, n, sampling)
            return [[replace(c, logprobs=tuple(p - 0.5 for p in c.logprobs)) for c in group] for group in groups]

    return Shifted
