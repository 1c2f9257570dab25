"""The conformance kit for trainers: real runs of a few steps on a tiny model."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from fdiv_gym.errors import FdivGymError, PluginError
from fdiv_gym.registry.guard import label_of
from fdiv_gym.runs.callback import EVENTS
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.folder import CONFIG, EVALUATIONS, METRICS, PROVENANCE, SUMMARY, RunFolder
from fdiv_gym.runs.result import RunResult
from fdiv_gym.runs.trainer import Trainer
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.trainer_logps import RECORDER, FreshLogProbs, Recorder, recorded
from fdiv_gym.testing.trainer_options import check_bounded_gradient, check_recomputed
from fdiv_gym.testing.trainer_pairs import (
    check_loss_falls,
    check_same_weights,
    cut_off,
    pairs_configuration,
    refuse_unknown_needs,
)
from fdiv_gym.testing.trainer_rows import SPY, check_rows, forget
from fdiv_gym.testing.trainer_runs import STEPS, VOWELS, WITNESS_METRIC, Witness, configuration, fit, loaded
from fdiv_gym.types.trajectory import Trajectory

#: The largest difference between two computations of one log-prob in fp32, in nats.
LOG_PROB_TOLERANCE = 1e-3
#: Further settings of the run whose rows are compared with its trajectories.
UPDATES: dict[str, Any] = {
    "steps": 3, "evaluate_every": 0, "checkpoint_every": 0, "minibatches": 2, "updates_per_rollout": 1,
    "micro_batch_size": 3, "old_logps": "engine", "max_kl": None, "max_unscored": 1.0,
}  # fmt: skip


def check_trainer(trainer: Trainer, *, engine: Mapping[str, Any] | None = None, tolerance: float = 0.0) -> Report:
    """Check a trainer by short runs on a tiny model; this takes about ten seconds on a CPU.

    A trainer that does not read ``[objective]`` trains a model of its own from preferences: then its run folder, the
    loss on the same pairs and the resume are checked.

    Args:
        trainer: an instance; the kit uses its class and options, with few steps.
        engine: the table [engine]; the default engine if None.
        tolerance: largest difference of a weight between a resumed and a straight run (0: bit for bit).

    Returns:
        A report with one entry for each check.

    Raises:
        CannotCheckError: the trainer reads neither an objective nor preferences.
    """
    if "objective" not in trainer.needs:
        return _check_from_preferences(trainer, tolerance)
    report = Report(label_of(trainer))
    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        # The output of the trainer is suppressed, because the caller may print JSON only.
        stack.enter_context(redirect_stdout(io.StringIO()))
        config = stack.enter_context(configuration(trainer, Path(place), engine))

        def build() -> Trainer:
            rebuilt: Trainer = config.trainer.build()
            return rebuilt

        straight, broken = Path(place) / "straight", Path(place) / "broken"
        with report.section("fit"):
            _run_folder(fit(build(), config, straight), straight, report)
        if not report.ok:
            return report
        with report.section("learns"):
            _learns(Path(place) / "model", straight, report)
        with report.section("callbacks"):
            _callbacks(straight, report)
        with report.section("resume"):
            _interrupted(build(), config, broken, report)
            Witness.stop_before = 0
            build().fit(config, broken, resume=True)
            _same(straight, broken, tolerance, report)
    with report.section("log-probs"):
        _log_probs(trainer, engine, report)
    with report.section("rows"):
        check_given_rows(trainer, report, engine=engine)
    with report.section("max_grad_norm"):
        check_bounded_gradient(trainer, report, engine=engine)
    with report.section("recomputed"):
        check_recomputed(trainer, report, engine=engine)
    return report


def _check_from_preferences(trainer: Trainer, tolerance: float) -> Report:
    refuse_unknown_needs(trainer)
    report = Report(label_of(trainer))
    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        config = stack.enter_context(pairs_configuration(trainer, Path(place)))
        straight, broken = Path(place) / "straight", Path(place) / "broken"
        with report.section("fit"):
            # The only plugin of the run is the kit's own copy of the trainer, which no distribution registers.
            _run_folder(fit(config.trainer.build(), config, straight), straight, report, names_plugins=False)
        if not report.ok:
            return report
        with report.section("learns"):
            check_loss_falls(straight, report)
        with report.section("resume"):
            cut_off(straight, broken)
            config.trainer.build().fit(config, broken, resume=True)
            check_same_weights(straight, broken, tolerance, report)
    return report


def fresh_log_probs(
    trainer: Trainer, temperature: float, *, engine: Mapping[str, Any] | None = None
) -> FreshLogProbs:  # fmt: skip
    """The log-probs of fresh rollouts at a sampling temperature, by one step on a tiny model; about a second.

    Args:
        trainer: an instance; its class and options are used.
        temperature: of the engine.
        engine: the rest of the table [engine]; the default engine if None.

    Raises:
        FdivGymError: the run failed.
        ValueError: the trainer passed no log-probs of the sampling policy or of the reference.
    """
    table = {**(engine or {}), "temperature": temperature}
    quick: dict[str, Any] = {"steps": 1, "evaluate_every": 0}
    Recorder.seen.clear()
    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        config = stack.enter_context(configuration(trainer, Path(place), table, {"name": RECORDER}, **quick))
        Witness.stop_before = 0
        fit(config.trainer.build(), config, Path(place) / "run")
    return recorded()


def _run_folder(result: object, path: Path, report: Report, *, names_plugins: bool = True) -> None:
    if not isinstance(result, RunResult):
        report.fail("fit", f"fit() returned {result!r}, expected a RunResult")
        return
    report.check("fit", result.status == "finished", f"the status is {result.status!r}, expected 'finished'")
    report.check("fit", result.steps == STEPS, f"{result.steps} steps were done, expected {STEPS}")
    folder = RunFolder(path)
    for name in (CONFIG, PROVENANCE, SUMMARY, METRICS):
        report.check("run-folder", (path / name).is_file(), f"the run folder has no {name}")
    steps = [line.get("step") for line in folder.lines(METRICS)]
    expected = list(range(1, STEPS + 1))
    report.check("run-folder", steps == expected, f"{METRICS} has the steps {steps}, expected {expected}")
    evaluated = [line.get("step") for line in folder.lines(EVALUATIONS)]
    report.check(
        "run-folder", evaluated[:1] == [0] and evaluated[-1:] == [STEPS],
        f"{EVALUATIONS} has the steps {evaluated}, expected the first at 0 and the last at {STEPS}",
    )  # fmt: skip
    report.check("run-folder", bool(folder.checkpoints()), "the run folder has no checkpoint")
    plugins = folder.read_json(PROVENANCE).get("plugins", None)
    named = bool(plugins) or (plugins == {} and not names_plugins)
    report.check("run-folder", named, f"{PROVENANCE} names no plugins, so a resume cannot detect a change")


def _learns(model: Path, run: Path, report: Report) -> None:
    """The probability of a vowel, computed from the weights, after two steps and at the end."""
    checkpoints = RunFolder(run).checkpoints()
    before = _vowels(model)
    after = [_vowels(checkpoint / "model") for checkpoint in checkpoints]
    report.metrics["probability of a rewarded letter before"] = before
    for checkpoint, probability in zip(checkpoints, after, strict=True):
        report.check(
            "learns", probability > before,
            f"the probability of a rewarded letter went from {before:.4f} to {probability:.4f} at {checkpoint.name}, "
            "expected it to rise",
        )  # fmt: skip
    report.metrics["and after"] = after[-1]


def _vowels(folder: Path) -> float:
    model, tokenizer = loaded(folder)
    total = 0.0
    prompts = ("ab", "cd", "ef", "gh", "ij", "kl")
    for prompt in prompts:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer.encode(prompt)])).logits[0, -1].double()
        total += float(logits.softmax(-1)[tokenizer.convert_tokens_to_ids(list(VOWELS))].sum())
    return total / len(prompts)


def _log_probs(trainer: Trainer, engine: Mapping[str, Any] | None, report: Report) -> None:
    """At a temperature other than 1, policy, reference and sampling policy agree on fresh rollouts."""
    cold, warm = (fresh_log_probs(trainer, temperature, engine=engine) for temperature in (0.5, 1.0))
    for what, gap in (("sampling policy", cold.policy_gap), ("reference", cold.reference_gap)):
        report.check(
            "log-probs", gap <= LOG_PROB_TOLERANCE,
            f"temperature 0.5, first step: log-probs of the policy are up to {gap:.3g} nats away from those of the "
            f"{what}, which is still the same policy; allowed {LOG_PROB_TOLERANCE:g}",
        )  # fmt: skip
    report.check(
        "log-probs", cold.mean > warm.mean,
        f"the mean log-prob of a sampled token is {cold.mean:.4g} at temperature 0.5 and {warm.mean:.4g} at 1, "
        "expected it to be higher at the lower temperature",
    )  # fmt: skip


def check_given_rows(trainer: Trainer, report: Report, *, engine: Mapping[str, Any] | None = None) -> None:
    """The part of ``check_trainer`` on what the objective is given; about two seconds.

    Three steps of two mini-batches each, in micro-batches of unequal size; some responses have no score.

    Args:
        trainer: an instance; its class and options are used.
        report: takes the checks.
        engine: the table [engine], without the temperature; the default engine if None.
    """
    table = {**(engine or {}), "temperature": 1.0}  # others are those of ``fresh_log_probs``
    forget()
    with tempfile.TemporaryDirectory(prefix="fdiv-gym-check-") as place, ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        config = stack.enter_context(configuration(trainer, Path(place), table, {"name": SPY}, **UPDATES))
        Witness.stop_before = 0
        try:
            fit(config.trainer.build(), config, Path(place) / "run")
        except PluginError as error:
            report.fail("groups", f"a step with several updates failed: {error}")
            forget()
            return
        model, _ = loaded(Path(place) / "model")
    try:
        check_rows(report, lambda trajectory: _reference(model, trajectory))
    finally:
        forget()


def _reference(model: Any, trajectory: Trajectory) -> torch.Tensor:
    ids = torch.tensor(trajectory.token_ids)
    with torch.no_grad():
        logps = model(input_ids=ids[None]).logits[0, :-1].double().log_softmax(-1)
    tokens: torch.Tensor = logps.gather(-1, ids[1:, None]).squeeze(-1)
    return tokens[torch.tensor(trajectory.loss_mask[1:])]


def _callbacks(folder: Path, report: Report) -> None:
    for event in EVENTS:
        seen = [step for name, step in Witness.calls if name == event]
        if event == "at_evaluation":
            expected = bool(seen)
        elif event == "at_end":
            expected = seen == [STEPS]
        else:
            expected = seen == list(range(1, STEPS + 1))
        report.check("callbacks", expected, f"{event} was called at {seen}")
    without = [line["step"] for line in RunFolder(folder).lines(METRICS) if line.get(WITNESS_METRIC) != line["step"]]
    report.check("callbacks", not without, f"{METRICS} lacks what Callback.metrics returned at the steps {without}")


def _interrupted(trainer: Trainer, config: RunConfig, folder: Path, report: Report) -> None:
    Witness.stop_before = STEPS // 2 + 1
    try:
        fit(trainer, config, folder)
    except FdivGymError:
        return
    report.fail("resume", "a fatal callback failed and the run continued")


def _same(straight: Path, resumed: Path, tolerance: float, report: Report) -> None:
    from safetensors.torch import load_file

    last = [RunFolder(path).checkpoints()[-1].name for path in (straight, resumed)]
    if not report.check("resume", last[0] == last[1], f"the last checkpoints are {last[0]} and {last[1]}"):
        return
    ours, theirs = [load_file(p / "checkpoints" / last[0] / "model" / "model.safetensors") for p in (straight, resumed)]
    worst = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    report.check(
        "resume", worst <= tolerance, f"a resumed run ends {worst:.3g} away from a straight one, allowed {tolerance:g}"
    )
    lines = [[json.dumps(_timeless(line)) for line in RunFolder(p).lines(METRICS)] for p in (straight, resumed)]
    if tolerance == 0:
        report.check("resume", lines[0] == lines[1], f"{METRICS} of a resumed run differs from that of a straight one")


def _timeless(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))}
