"""The options of the trainer ``accelerate``."""

from __future__ import annotations

from typing import Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym.runs import Policy, event_policies


class DynamicSampling(fg.Options):
    """Groups without signal are replaced by groups of further tasks: DAPO, arXiv 2503.14476, section 3.2."""

    budget: int = pydantic.Field(ge=1)
    """Further groups that a step may draw, summed over all processes."""
    component: str | None = None
    """The component of the verdicts that must differ between the scored responses of a group; by default what the
    objective's advantage compares, which is the reward, and the weighted components for gdpo."""


class Budget(fg.Options):
    """What a run may spend, in training and over all processes; it ends after the first step that reaches a limit.

    ``trainer.steps`` stays the largest number of steps, and the horizon of schedules.
    """

    tokens: int | None = pydantic.Field(None, ge=1)
    """Sampled tokens, of all responses that training drew."""
    verifications: int | None = pydantic.Field(None, ge=1)
    """Responses that were drawn and scored, with those that ``dynamic_sampling`` dropped."""
    seconds: float | None = pydantic.Field(None, gt=0)
    """Seconds of the run's clock, evaluations and checkpoints included and the loading of the model not; it goes on
    where the checkpoint of a resumed run had it."""

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set."""
        found = {"tokens": self.tokens, "verifications": self.verifications, "seconds": self.seconds}
        return {name: limit for name, limit in found.items() if limit is not None}

    @pydantic.model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if not self.limits:
            raise ValueError("a budget needs tokens, verifications or seconds")
        return self


class TrainerOptions(fg.Options):
    """Options of the trainer ``accelerate``."""

    steps: int = pydantic.Field(300, ge=1)
    """Rollout batches; each has ``updates_per_rollout`` times ``minibatches`` optimizer steps."""
    budget: Budget | None = None
    """End the run before its last step, when it has spent tokens, verifications or seconds."""
    prompts_per_step: int = pydantic.Field(32, ge=1)
    """Tasks for each step, summed over all processes."""
    group_size: int = pydantic.Field(8, ge=2)
    """Responses to each prompt; a group of one has no baseline."""
    dynamic_sampling: DynamicSampling | None = None
    """Replace groups without signal, whose responses have equal rewards, by groups of further tasks. Without this table
    none is replaced."""
    reward: Literal["environment", "drawn"] = "environment"
    """``drawn``: train on scores that are drawn, the lowest or the highest with equal probability, whatever the
    response is; evaluations show the true ones. A control: what improves does not come from the reward."""
    updates_per_rollout: int = pydantic.Field(1, ge=1)
    """Passes over the rows of a step."""
    minibatches: int = pydantic.Field(1, ge=1)
    """Parts of each pass, with one optimizer step each; a group or a preference pair is never divided."""
    old_logps: Literal["engine", "recomputed"] = "engine"
    """The old policy's log-probs: those of the engine, or those of the policy itself before the step's first update."""
    correction: Literal["none", "token", "sequence"] = "none"
    """Weighs the gradient by pi_old/q, policy against engine, of each token or of each response; needs recomputed
    ``old_logps``."""
    correction_lower: float = pydantic.Field(0.0, ge=0, lt=1)
    """A weight of the correction below this becomes 0."""
    correction_upper: float = pydantic.Field(2.0, ge=1)
    """A weight of the correction above this is cut to it."""
    logprob_tolerance: float | None = pydantic.Field(None, gt=0)
    """Mean difference of a token's log-prob between engine and policy, in nats, that counts as rounding; by default
    what the engine declares, else 0.001 in fp32 and 0.1 in bf16. A single token may differ 30 times as much."""
    max_kl: float | None = pydantic.Field(None, gt=0)
    """Mean k3 estimate of the KL divergence to the old policy, in nats a token, above which a step makes no further
    updates; none by default."""
    micro_batch_size: int = pydantic.Field(256, ge=1)
    """Rows in one forward pass, at most; affects memory use, not results."""
    micro_batch_tokens: int | None = pydantic.Field(None, ge=1)
    """Tokens in one forward pass, padding included, at most; a longer row has a pass of its own. By default a power of
    two from 1024 to 16384 whose activations take a quarter of the device's memory, by an estimate from the model's
    size. Affects memory use and time, not results."""
    share_prompts: Literal["auto", "always", "never"] = "auto"
    """Whether the responses to a prompt share one copy of it in a forward pass: where that is estimated to take less
    time, wherever the model allows it (an error if it does not), or never. Affects time and memory, not results."""
    learning_rate: float = pydantic.Field(3e-4, gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = pydantic.Field(0.0, ge=0)
    """AdamW's weight decay."""
    adam_beta1: float = pydantic.Field(0.9, ge=0, lt=1)
    """AdamW's decay of the mean of the gradients."""
    adam_beta2: float = pydantic.Field(0.999, ge=0, lt=1)
    """AdamW's decay of the mean of the squared gradients."""
    adam_epsilon: float = pydantic.Field(1e-8, gt=0)
    """Added to the root of AdamW's mean squared gradient."""
    warmup_steps: int = pydantic.Field(10, ge=0)
    """Steps over which the learning rate rises linearly from zero; step 1 has zero and changes nothing."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up."""
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down."""
    precision: Literal["fp32", "bf16", "bf16_full"] = "fp32"
    """``bf16``: forward and backward pass under autocast, weights in fp32. ``bf16_full``: weights, gradients and
    AdamW's moments in bf16 too, an adapter in fp32. Log-probs and losses are fp32 in all of them."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping its activations: less memory, more time."""
    sharding: Literal["none", "fully_shard"] = "none"
    """``fully_shard``: every process holds its part of the weights, gradients and AdamW's moments, and gathers a layer
    for its passes, and all weights to sample or evaluate. ``none``: every process holds all of them."""
    checkpoint_every: int = pydantic.Field(100, ge=0)
    """Steps between checkpoints; 0 saves at the end only."""
    keep_checkpoints: int | None = pydantic.Field(None, ge=1)
    """Number of newest checkpoints to keep; by default 2, and 1 where one takes more than 500 MB."""
    evaluate_every: int = pydantic.Field(50, ge=0)
    """Steps between evaluations; 0 evaluates before and after only."""
    evaluate_tasks: int = pydantic.Field(256, ge=1)
    """Held-out tasks to evaluate on."""
    evaluate_skip: int = pydantic.Field(0, ge=0)
    """Held-out tasks before the first that is evaluated: the tasks from there on may serve for choices that the tasks
    before must not decide."""
    evaluate_samples: int = pydantic.Field(4, ge=1)
    """Sampled responses to each held-out task."""
    samples_per_step: int = pydantic.Field(8, ge=0)
    """Training responses written to samples.jsonl at each step."""
    samples_max_mb: float = pydantic.Field(1000.0, gt=0)
    """Megabytes of samples.jsonl from which on no more samples are kept, of steps and of evaluations; said once."""
    profile_steps: tuple[pydantic.PositiveInt, ...] = ()
    """Steps of which each process writes a torch trace into the folder ``profile`` of the run, tens of MB for a real
    model; such a step is slower."""
    process_deadline_s: float = pydantic.Field(1800.0, gt=0)
    """Seconds that a process waits for another one of the same run, the warm start included; then it ends."""
    max_unscored: float = pydantic.Field(0.5, gt=0, le=1)
    """The run stops when more than this share of a step's responses has no score."""
    events: dict[str, str] = pydantic.Field(default_factory=dict)
    """What the events of a run lead to where it is not the default: a table of the event's name and ``ignore``,
    ``info``, ``warn``, ``skip`` or ``stop``."""
    check_plugins: bool = True
    """Check the run's plugins from other distributions, and those passed from Python, for about two seconds before the
    run, with the quick part of their conformance kits; a failure stops the run before its first step."""

    @property
    def event_policies(self) -> dict[str, Policy]:
        """What each event leads to."""
        return event_policies(self.events)

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps of a step, if none is left out."""
        return self.updates_per_rollout * self.minibatches

    @pydantic.field_validator("events")
    @classmethod
    def _are_events(cls, events: dict[str, str]) -> dict[str, str]:
        try:
            event_policies(events)
        except fg.ConfigError as error:
            raise ValueError(str(error)) from None
        return events

    @pydantic.model_validator(mode="after")
    def _fits(self) -> TrainerOptions:
        if self.profile_steps and max(self.profile_steps) > self.steps:
            raise ValueError(f"profile_steps has step {max(self.profile_steps)}, and the run ends at step {self.steps}")
        if self.correction != "none" and self.old_logps != "recomputed":
            raise ValueError('correction compares the policy with the engine: set old_logps = "recomputed"')
        if self.max_kl is not None and self.updates_per_step == 1:
            raise ValueError("max_kl ends the updates of a step early: it needs updates_per_rollout or minibatches > 1")
        return self
