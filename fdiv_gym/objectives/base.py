"""Objective: two pure functions, ``prepare`` on whole groups and ``loss`` on micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.options import Configurable

Stream = Literal["rollouts", "preferences"]
Streams = tuple[Stream, ...]


class Objective(Configurable):
    """Base of objectives.

    ``prepare`` computes everything that needs the group or the batch. ``loss`` is then a plain sum over
    units (a response, or a preference pair, which is never split). So micro-batching, gradient
    accumulation and data parallelism give the same result. Neither function logs or reduces across ranks.

    Attributes:
        streams: which of ``rollouts`` and ``preferences`` the objective reads. A scheduled objective may
            read fewer at some steps, so read the attribute again after ``at_step``. Before the first
            ``at_step`` it names every stream that the run needs.
        needs_reference: whether ``loss`` reads ``ref_logps``.
        needs_policy_logps: whether ``prepare`` needs sequence log-probs of the current policy; the
            trainer then makes one gradient-free pass over the rows of each update first.
        needs_token_logps: whether ``prepare`` needs the log-probs of the rollouts' tokens under the current policy and
            the one that sampled; the trainer then makes the same pass.
        needs_recomputed_logps: whether the old log-probs must be those of the trained policy itself before the first
            update, because the objective corrects for the updates since then and for nothing else.
        skips_inactive: whether rows that ``prepare`` marks inactive need no forward pass.
        exact_gradient: whether the gradient of ``loss`` is the derivative of the step's value, ``prepare``
            included. False where the source holds a statistic of the policy constant (kto, bco, cispo).
        needs_scores: whether a response without a score has no gradient. False with a term that acts on every sampled
            response, whatever its reward.
        needs_pairs: whether preferences must be pairs rather than labelled single responses.
        raises_chosen: whether the gradient at the reference raises the log-prob of chosen responses. False where the
            source lowers both sides and widens the margin only (apo-down).
        running: whether a statistic runs over the steps. The trainer then calls ``observe`` after each optimizer step
            and keeps ``state_dict`` in checkpoints; ``prepare`` and ``loss`` only read the statistic.
        has_penalty: whether the loss has a term of its own that keeps the policy near the reference, a k3 term or a
            divergence. ``kl_scale`` multiplies its coefficient.
        kl_scale: factor of the coefficient of that term, at least 0. Callbacks set it by ``Controls.kl_scale``; the
            trainer keeps it in checkpoints. It changes no parameter of an implicit reward, such as beta of f-grpo.
        advantage: the estimator that ``prepare`` calls by ``checked_advantages``, or None. A trainer that makes
            several updates from one rollout batch computes the advantages once, on the whole batch.
    """

    kind: ClassVar[str] = "objective"
    streams: Streams = ("rollouts",)
    needs_reference: bool = False
    needs_policy_logps: bool = False
    needs_token_logps: bool = False
    needs_recomputed_logps: bool = False
    skips_inactive: bool = False
    exact_gradient: bool = True
    needs_scores: bool = True
    needs_pairs: bool = False
    raises_chosen: bool = True
    running: bool = False
    has_penalty: bool = False
    kl_scale: float = 1.0
    advantage: Advantage | None = None

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """Coefficients for each stream the objective reads; whole groups, no gradient.

        A response without a score must get a coefficient that leaves it out of every term that reads the reward; out of
        the whole loss with ``needs_scores``.
        """
        raise NotImplementedError

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """The contribution of these rows of ``stream`` to the step's loss."""
        raise NotImplementedError

    def at_step(self, step: int, steps: int) -> None:
        """Set the schedule to ``step`` (from 1 to ``steps``); called once a step, before its updates."""

    def observe(self, prepared: Mapping[Stream, Coefficients]) -> None:
        """Update running statistics from what ``prepare`` returned; called once after each optimizer step.

        Only objectives with ``running`` are called. All processes see the same ``prepared``.
        """

    def state_dict(self) -> Mapping[str, float]:
        """The running statistics, for checkpoints; empty without any."""
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what ``state_dict`` returned."""


def get_objective(spec: Spec | Objective, **options: Any) -> Objective:
    """An objective, e.g. ``get_objective("f-grpo", divergence="pearson", beta=0.1)``; see ``fdiv_gym.get``."""
    plugin: Objective = get("objective", spec, **options)
    return plugin
