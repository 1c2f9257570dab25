"""The conformance kit for objectives: checks of the contract on synthetic steps."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic.fields import FieldInfo
from torch import Tensor

from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import Coefficients, ObjectiveOutput
from fdiv_gym.registry.reference import PluginRef
from fdiv_gym.testing import invariants, precision
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.steps import Rows, Step, evaluate, make_step, micro_batch, prepare


def check_objective(objective: Objective) -> Report:
    """Check an objective against its contract.

    Everything runs on random log-probs in fp64 (and fp32, bf16), without a model; about half a second.
    It checks a copy of the objective, in the middle of its schedule if it has one.

    Args:
        objective: an instance with any options.

    Returns:
        A report with one entry for each check; ``docs/theory/objectives.md`` explains each.
    """
    report = Report(describe(objective))
    with report.section("form"):
        objective = copy.deepcopy(objective)
        objective.at_step(5, 10)
        check_form(objective, report)
    if not report.ok:
        return report  # the other checks cannot run
    for name, check in CHECKS.items():
        with report.section(name):
            check(objective, report)
    return report


def describe(objective: Objective) -> str:
    """The name of the objective, with the options that differ from their defaults."""
    fields = type(objective.options).model_fields
    given = [(key, value) for key, value in objective.options if not _is_default(fields[key], value)]
    options = ", ".join(f"{key}={_plain(value)!r}" for key, value in given)
    return f"objective {objective.registered_name()!r}" + (f" ({options})" if options else "")


def _is_default(field: FieldInfo, value: Any) -> bool:
    default = field.get_default(call_default_factory=True)  # of a required field: PydanticUndefined, equal to no value
    if isinstance(default, PluginRef) and isinstance(value, PluginRef):
        default = default.resolved(value.kind)  # a reference in a class body is not yet validated
    return bool(value == default)


def _plain(value: Any) -> Any:
    """A reference in its given form; a class or an instance by its name."""
    if not isinstance(value, PluginRef):
        return value
    return value.raw() if isinstance(value.raw(), (str, Mapping)) else value.name


def check_form(objective: Objective, report: Report) -> None:
    """What ``prepare`` and ``loss`` return has the right types and shapes."""
    step = make_step()
    prepared = prepare(objective, step)
    report.check(
        "form",
        set(prepared) == set(objective.streams),
        f"declares the streams {list(objective.streams)}, but prepare returned {list(prepared)}",
    )
    for stream, coefficients in prepared.items():
        n = len(step.rows(stream).unit)
        _coefficients_form(stream, coefficients, n, report)
        rows = step.rows(stream)
        leaf = rows.logps.clone().requires_grad_()
        output = objective.loss(stream, micro_batch(objective, rows, coefficients, torch.arange(n), leaf))
        if report.check(
            "form",
            isinstance(output, ObjectiveOutput),
            f"loss must return an ObjectiveOutput, got {type(output).__name__}",
        ):
            _output_form(output, report)


def _coefficients_form(stream: Stream, coefficients: Coefficients, n: int, report: Report) -> None:
    active = coefficients.active
    report.check(
        "form",
        active.dtype == torch.bool and tuple(active.shape) == (n,),
        f"{stream}: active must be bool of shape ({n},), got {active.dtype} of shape {tuple(active.shape)}",
    )
    for name, values in coefficients.rows.items():
        report.check(
            "form",
            isinstance(values, Tensor) and values.dim() >= 1 and len(values) == n and not values.requires_grad,
            f"{stream}: coefficient {name!r} must be a tensor of {n} rows without gradient",
        )
    for name, metric in coefficients.metrics.items():
        report.check("form", isinstance(metric, float), f"{stream}: prepare's metric {name!r} must be a float")


def _output_form(output: ObjectiveOutput, report: Report) -> None:
    loss, value = output.loss, output.value
    report.check("form", loss.dim() == 0, f"the loss must be a scalar, got shape {tuple(loss.shape)}")
    report.check("form", loss.requires_grad, "the loss has no gradient")
    plain = value.dim() == 0 and not value.requires_grad
    report.check("form", plain, "the reported value must be a scalar without gradient")
    for name, metric in output.metrics.items():
        plain = isinstance(metric, Tensor) and metric.dim() == 0 and not metric.requires_grad
        report.check("form", plain, f"metric {name!r} must be a scalar tensor without gradient")


def _pure(objective: Objective, report: Report) -> None:
    step, other = make_step(seed=1), make_step(seed=2)
    groups = step.groups(objective.needs_policy_logps, objective.needs_token_logps)
    preferences = step.preference_units(objective.needs_policy_logps)
    before = copy.deepcopy((groups, preferences))
    with torch.no_grad():
        first = objective.prepare(groups, preferences)
    unchanged = all(_same(vars(a), vars(b)) for a, b in zip(before, (groups, preferences), strict=True))
    report.check("pure", unchanged, "prepare changed its groups or preferences")
    kept = {stream: {k: v.clone() for k, v in c.rows.items()} for stream, c in first.items()}
    evaluate(objective, other)
    second = prepare(objective, step)
    for stream, coefficients in second.items():
        report.check(
            "pure",
            _same(kept[stream], coefficients.rows),
            f"{stream}: prepare returned other coefficients for the same step after a call with another one",
        )


def _same(first: Mapping[str, object], second: Mapping[str, object]) -> bool:
    def equal(a: object, b: object) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        return a == b

    return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)


def _schedule(objective: Objective, report: Report) -> None:
    walked, resumed = copy.deepcopy(objective), copy.deepcopy(objective)
    for number in range(1, 6):
        walked.at_step(number, 10)
        if walked.running and number < 5:
            walked.observe(prepare(walked, make_step(seed=number)))
    resumed.at_step(5, 10)
    resumed.load_state_dict(walked.state_dict())
    first, second = evaluate(walked, make_step()), evaluate(resumed, make_step())
    report.check(
        "schedule",
        bool(first.loss == second.loss) and walked.streams == resumed.streams,
        f"at step 5 of 10 the loss is {float(first.loss):.6g} after steps 1 to 4 and {float(second.loss):.6g} "
        "when training resumes there: at_step must depend on the step alone, and state_dict hold what observe changed",
    )


def _reference(objective: Objective, report: Report) -> None:
    if not objective.needs_reference:
        return  # every other check of this kit then runs without one
    step = make_step()

    def move(rows: Rows) -> Rows:
        # Not one constant for every token: a margin of mean log-ratios would not change.
        return dataclasses.replace(rows, ref_logps=1.1 * rows.ref_logps)

    moved = dataclasses.replace(step, rollouts=move(step.rollouts), preferences=move(step.preferences))
    first, second = evaluate(objective, step), evaluate(objective, moved)
    report.check(
        "reference",
        not (bool(first.loss == second.loss) and first.distance(second) == 0),
        "declares needs_reference, but another reference changes neither loss nor gradient",
    )


def _kl_scale(objective: Objective, report: Report) -> None:
    """The loss is linear in ``kl_scale``, and moves with it exactly where ``has_penalty`` says so."""
    step, outcomes = make_step(), []
    for scale in (0.0, 1.0, 3.0):
        scaled = copy.deepcopy(objective)
        scaled.kl_scale = scale
        outcomes.append(evaluate(scaled, step))
    zero, one, three = outcomes
    for stream in one.gradients:
        first, second = (other.gradients[stream] - zero.gradients[stream] for other in (one, three))
        bound = 1e-9 * (1 + float(one.gradients[stream].abs().max()))
        linear = float((second - 3 * first).abs().max()) <= bound
        report.check("kl-scale", linear, f"{stream}: the gradient is not linear in kl_scale")
    moved = zero.distance(one) > 0
    text = "changes no gradient" if objective.has_penalty else "changes the gradient"
    report.check(
        "kl-scale", moved == objective.has_penalty,
        f"has_penalty is {objective.has_penalty}, but kl_scale {text}",
    )  # fmt: skip


def _sign(objective: Objective, report: Report) -> None:
    step = make_step((4, 4, 4)).on_reference()
    outcome = evaluate(objective, step)
    if "rollouts" in outcome.gradients:
        pull = outcome.gradients["rollouts"].double().sum(-1)
        best, worst = step.rewards == 1, step.rewards == 0
        _sign_of(report, pull, best, outcome.active["rollouts"], "the best of its group", -1)
        _sign_of(report, pull, worst, outcome.active["rollouts"], "the worst of its group", 1)
    if "preferences" in outcome.gradients:
        pull = outcome.gradients["preferences"].double().sum(-1)
        if objective.raises_chosen:
            _sign_of(report, pull, step.chosen, outcome.active["preferences"], "chosen", -1)
        _sign_of(report, pull, ~step.chosen, outcome.active["preferences"], "rejected", 1)


def _sign_of(report: Report, pull: Tensor, side: Tensor, active: Tensor, what: str, sign: int) -> None:
    wrong = side & torch.where(active, sign * pull <= 0, pull != 0)
    found = float(pull[wrong][0]) if bool(wrong.any()) else 0.0
    verb = "lower" if sign < 0 else "raise"
    report.check(
        "sign",
        not bool(wrong.any()),
        f"raising the log-prob of a response that is {what} must {verb} the loss, but its derivative is {found:+.3g}",
    )


def _gradient(objective: Objective, report: Report) -> None:
    if not objective.exact_gradient:
        return  # by definition not the derivative of the value
    step, size = make_step(), 1e-5
    generator = torch.Generator().manual_seed(3)
    outcome = evaluate(objective, step)
    for stream, gradient in outcome.gradients.items():
        logps = step.rows(stream).logps
        for _ in range(3):
            direction = torch.randn(logps.shape, generator=generator, dtype=torch.float64)
            found = _difference(objective, step, stream, direction, size)
            expected = float((gradient * direction).sum())
            bound = 1e-6 * float(gradient.norm()) * float(direction.norm()) + 1e-9
            report.check(
                "gradient",
                abs(found - expected) <= bound,
                f"{stream}: the gradient gives {expected:.9g} along a random direction, "
                f"central differences of the reported value {found:.9g}",
            )


def _difference(objective: Objective, step: Step, stream: Stream, direction: Tensor, size: float) -> float:
    logps = step.rows(stream).logps
    ahead = evaluate(objective, step.with_logps(stream, logps + size * direction)).value
    behind = evaluate(objective, step.with_logps(stream, logps - size * direction)).value
    return float(ahead - behind) / (2 * size)


CHECKS: dict[str, Callable[[Objective, Report], None]] = {
    "pure": _pure,
    "schedule": _schedule,
    "reference": _reference,
    "kl-scale": _kl_scale,
    "sign": _sign,
    "gradient": _gradient,
    "mask": invariants.mask,
    "padding": invariants.padding,
    "permutation": invariants.permutation,
    "micro-batch": invariants.micro_batches,
    "skip": invariants.skipping,
    "all-equal": invariants.all_equal,
    "carried-advantages": invariants.carried,
    "single-response": invariants.single_response,
    "unscorable": invariants.unscorable,
    "single-preferences": invariants.single_preferences,
    "duplicates": invariants.duplicates,
    "bfloat16": precision.half_precision,
    "extremes": precision.extremes,
}
"""The checks after the form, by name."""
