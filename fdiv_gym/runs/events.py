"""Training events: what a trainer notices during a run, by name, and what happens then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from fdiv_gym.errors import ConfigError, did_you_mean

Policy = Literal["ignore", "info", "warn", "skip", "stop"]
"""What an event leads to; every policy but ``ignore`` records it in ``metrics.jsonl`` and ``summary.json``.

``info`` does nothing else. ``warn`` prints the message. ``skip`` prints it and leaves out the optimizer steps of the
training step that are still to come. ``stop`` leaves them out and ends the run with an error, after the line of the
step was written.
"""

RECORDED: tuple[Policy, ...] = ("ignore", "info", "warn", "stop")
"""The policies of an event that is known only after the step's updates, or that takes no update anyway."""


@dataclass(frozen=True)
class EventKind:
    """One kind of event.

    Args:
        name: the key in ``[trainer.events]``.
        default: the policy without that key.
        measured: what is measured, and when the event occurs; one phrase.
        advice: what to do about it; one phrase.
        allowed: the policies that it may have.
    """

    name: str
    default: Policy
    measured: str
    advice: str
    allowed: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True)
class Event:
    """One event at one step.

    Args:
        name: a key of ``TRAINING_EVENTS``.
        message: what was measured, the likely cause, and what to do; one or two sentences.
        values: the measured numbers.
    """

    name: str
    message: str
    values: Mapping[str, float | str]


_KINDS = (
    EventKind(
        "engine_gap",
        "stop",
        "the engine's log-probs of the sampled tokens against the policy's own, before the first update",
        "check that the engine samples the trained weights at the configured temperature",
    ),
    EventKind(
        "engine_text",
        "stop",
        "the text of each response against its decoded tokens, before the first update",
        "let the engine return the decoded tokens as text, without the end token",
    ),
    EventKind(
        "plain_pass",
        "warn",
        "log-probs in chunks of the vocabulary, and of prompts shared by a group, on a model's first rows: not "
        "possible, or not those of a plain forward pass",
        "nothing for accuracy, the plain pass is used; for memory lower trainer.micro_batch_tokens",
        RECORDED,
    ),
    EventKind(
        "no_gradient",
        "warn",
        "the norm of the gradient: exactly 0 although groups have different rewards",
        "check the objective, and that the model's weights are trainable; the step takes no optimizer step",
        RECORDED,
    ),
    EventKind(
        "equal_groups",
        "warn",
        "share of groups whose rewards are all equal: 1 over a window of steps, below the best reward",
        "use easier tasks, a larger group_size, or a finer reward",
        RECORDED,
    ),
    EventKind(
        "budget_spent",
        "warn",
        "groups without signal, after trainer.dynamic_sampling has drawn as many further groups as it may",
        "raise trainer.dynamic_sampling.budget, or use tasks whose responses get different rewards",
        RECORDED,
    ),
    EventKind(
        "saturated",
        "info",
        "share of groups whose rewards are all equal: 1 over a window of steps, all at the best reward so far",
        "nothing is left to learn from these tasks: use harder ones, or end the run",
        RECORDED,
    ),
    EventKind(
        "wrong_sign",
        "warn",
        "first-order effect of the reward on the log-probs of responses above their group's mean, against those "
        "below, at "
        "every tenth step: from -1 to 1, wrong below -0.5",
        "check the sign of the objective's loss and of its advantages",
        RECORDED,
    ),
    EventKind(
        "reference_tied",
        "warn",
        "whether the reference shares memory with the policy, or its weights changed since the start",
        "give the reference a copy of the weights, and let nothing write into it",
        RECORDED,
    ),
    EventKind(
        "constant_reward",
        "warn",
        "spread of all rewards over a window of steps: 0 although the responses differ",
        "check that the scorer reads the response",
        RECORDED,
    ),
    EventKind(
        "divergence_explodes",
        "warn",
        "median over a window of the mean log-ratio of policy to reference, in nats a token",
        "lower trainer.learning_rate, or raise the weight of the divergence",
        RECORDED,
    ),
    EventKind(
        "nonfinite",
        "stop",
        "loss, gradient and log-probs of a step",
        "lower trainer.learning_rate, and check the objective at large log-ratios",
        ("skip", "stop"),
    ),
    EventKind(
        "nonfinite_weights",
        "stop",
        "the weights, and the log-probs of one response under them, after the updates of a step",
        "lower trainer.learning_rate, and resume from the last checkpoint",
        ("stop",),
    ),
    EventKind(
        "entropy_collapse",
        "warn",
        "entropy of the sampled tokens in nats, over a window, against the first steps of the run",
        "raise the weight of the divergence, or lower trainer.learning_rate",
        RECORDED,
    ),
    EventKind(
        "unscored_rising",
        "warn",
        "share of responses without a score over a window, against the first steps of the run",
        "read the reasons in samples.jsonl; the policy may have learned to avoid being scored",
        RECORDED,
    ),
    EventKind(
        "timeouts_rising",
        "warn",
        "share of responses whose verdict took too long over a window, against the first steps of the run",
        "read these responses in samples.jsonl; the policy may write expensive answers instead of wrong ones",
        RECORDED,
    ),
    EventKind(
        "scorer_raises",
        "warn",
        "share of the step's responses on which the scorer raised an exception",
        "correct the scorer, whose exception the message quotes",
        RECORDED,
    ),
    EventKind(
        "scorer_timeout",
        "warn",
        "responses whose score was not there at the deadline",
        "correct the scorer, or raise env.score_deadline_s",
        RECORDED,
    ),
    EventKind(
        "shared_tasks",
        "warn",
        "tasks that are in both splits of the environment",
        "remove them from one split: an evaluation on them measures memory",
        RECORDED,
    ),
    EventKind(
        "mutated_task",
        "warn",
        "a task's fields before and after it was scored",
        "let the scorer work on a copy",
        RECORDED,
    ),
)

TRAINING_EVENTS: Mapping[str, EventKind] = {kind.name: kind for kind in _KINDS}
"""Every kind of event, by its name."""


@dataclass(frozen=True)
class Occurrences:
    """How often an event occurred in a run.

    Args:
        name: of the event.
        policy: that it had, at its last occurrence.
        count: the number of steps.
        first_step: the first of them.
        last_step: the last of them.
        message: at the first occurrence.
    """

    name: str
    policy: str
    count: int
    first_step: int
    last_step: int
    message: str


def occurrences(lines: Iterable[Mapping[str, Any]]) -> list[Occurrences]:
    """The events in the lines of ``metrics.jsonl``, in the order of their first steps; damaged records are left out."""
    found: dict[str, Occurrences] = {}
    for line in lines:
        step, records = line.get("step"), line.get("events")
        for record in records if isinstance(records, list) else ():
            name = record.get("name") if isinstance(record, Mapping) else None
            if not isinstance(name, str) or not isinstance(step, int):
                continue
            message, policy = str(record.get("message", "")), str(record.get("policy", ""))
            before = found.get(name, Occurrences(name, policy, 0, step, step, message))
            found[name] = replace(before, policy=policy, count=before.count + 1, last_step=step)
    return list(found.values())


def event_policies(changes: Mapping[str, str]) -> dict[str, Policy]:
    """The policy of every event.

    Args:
        changes: policies that differ from the defaults, by the event's name.

    Raises:
        ConfigError: there is no such event, or it may not have that policy.
    """
    policies: dict[str, Policy] = {name: kind.default for name, kind in TRAINING_EVENTS.items()}
    for name, policy in changes.items():
        if name not in TRAINING_EVENTS:
            raise ConfigError(f"there is no event {name!r} ({did_you_mean(name, TRAINING_EVENTS)})")
        allowed = {str(value): value for value in TRAINING_EVENTS[name].allowed}
        if policy not in allowed:
            raise ConfigError(f"event {name!r} takes one of {', '.join(allowed)}, not {policy!r}")
        policies[name] = allowed[policy]
    return policies
