"""f-GRPO (arXiv 2602.05946, definition of the on-policy objective)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence
from fdiv_gym.objectives.advantages.base import Advantage, checked_advantages
from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch
from fdiv_gym.objectives.importance import importance_weights, share_truncated, weighted_change
from fdiv_gym.objectives.penalty import PENALTY_METRICS, Penalty, PenaltyOptions
from fdiv_gym.objectives.terms import branch_sum, link_option, mean_weights, share_beyond, side_means
from fdiv_gym.registry.reference import PluginRef


class FGRPO(Objective):
    """f-GRPO: on-policy alignment by an f-divergence of the above- and below-average responses.

    L = E_x (1/G) sum_i -a_i/(1 + 1/beta) psi(v_i), with psi = w_i g(v_i) where a_i > 0 and
    w_i f*(g(v_i)) where a_i < 0, v = beta (log pi - log pi_ref) + gamma (log pi - log pi_old).
    Responses with a_i = 0 are skipped. Source: arXiv 2602.05946; the authors' released trainer uses
    gamma = 1, the paper gamma = 0.

    ``penalty`` adds c D_f(pi || pi_ref) for any registered divergence, see ``Penalty``; it is ours. beta in v is the
    scale of the implicit reward and no coefficient of it: ``kl_scale`` multiplies c alone.
    """

    class Options(PenaltyOptions):
        """Options of f-grpo."""

        divergence: PluginRef[Divergence] = PluginRef("pearson")
        """A registered divergence, or a table with its name and options."""
        link: str = ""
        """The divergence's link; empty means its default."""
        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward beta (log pi - log pi_ref)."""
        gamma: float = pydantic.Field(0.0, ge=0)
        """Weight of the proximal term log pi - log pi_old inside v."""
        weighting: Literal["uniform", "softmax", "length_normalised"] = "uniform"
        """Importance weights in the group: none, softmax(+-r - log pi_old), or the latter per token."""
        advantage: PluginRef[Advantage] = PluginRef("group")
        """A registered advantage, or a table with its name and options."""
        importance: Literal["none", "token", "sequence"] = "none"
        """Weight of the gradient by pi/pi_old, for several updates per rollout: of each token, or of the response."""
        importance_cap: float = pydantic.Field(2.0, ge=1)
        """Larger importance weights are truncated to this; there is no lower bound."""

        @pydantic.model_validator(mode="after")
        def _corrects_once(self) -> FGRPO.Options:
            if self.importance != "none" and self.weighting != "uniform":
                raise ValueError(
                    f"importance = {self.importance!r} and weighting = {self.weighting!r} both weight the responses by "
                    'their sampling policy: set one of them to its default ("none", "uniform")'
                )
            cap, default = self.importance_cap, type(self).model_fields["importance_cap"].default
            if self.importance == "none" and cap != default:
                raise ValueError(
                    f"importance_cap = {cap} truncates importance weights, and importance = 'none' has none: "
                    "remove importance_cap, or set importance"
                )
            return self

    streams = ("rollouts",)
    needs_reference = True
    skips_inactive = True
    advantage: Advantage
    metric_meanings: ClassVar[Mapping[str, str]] = PENALTY_METRICS

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.divergence = self.options.divergence.build(**link_option(self.options.link))
        self.advantage = self.options.advantage.build()
        # The weights are held constant: the gradient is not that of the loss, which depends on the policy through them.
        self.exact_gradient = self.options.importance == "none"
        self.needs_recomputed_logps = self.options.importance != "none"
        self.penalty = Penalty.of(self.options)
        if self.penalty is not None:
            # Every sampled response has a gradient, with or without an advantage.
            self.has_penalty, self.skips_inactive, self.needs_scores = True, False, False
            self.exact_gradient = self.exact_gradient and self.penalty.truncation is None

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """Coefficient -a_i w_i / ((1 + 1/beta) G P) of each response."""
        assert groups is not None
        advantages = checked_advantages(self.advantage, groups)
        weights = group_weights(groups, advantages, self.options.weighting)
        scale = on_policy_scale(self.options.beta)
        active = advantages != 0
        rows = {
            "coefficient": torch.where(active, -advantages * weights * scale * groups.shares, 0.0),
            "every": mean_weights(active),
            "positive": mean_weights(advantages > 0),
            "negative": mean_weights(advantages < 0),
        }
        metrics = {} if self.options.weighting == "uniform" else weight_metrics(groups, weights, advantages)
        if self.penalty is not None:
            rows["share"], active = groups.shares, torch.ones_like(active)
        return {"rollouts": Coefficients(rows, active, metrics)}

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """Sum of coefficient times branch over the active rows, and the penalty."""
        assert batch.ref_logps is not None
        log_ratio = batch.log_ratio(batch.ref_logps).sum(-1)
        v = self.options.beta * log_ratio
        if self.options.gamma > 0:
            assert batch.old_logps is not None
            v = v + self.options.gamma * batch.log_ratio(batch.old_logps).sum(-1)
        metrics = side_means(stream, batch, log_ratio, ("positive", "negative"))
        metrics |= share_beyond(stream, batch, v, self.divergence)
        coefficient = batch.row("coefficient")
        if self.options.importance == "sequence":
            weights = importance_weights(batch, "sequence", self.options.importance_cap)
            coefficient = coefficient * weights
            metrics |= share_truncated(stream, batch, "sequence", self.options.importance_cap)
        elif self.options.importance == "token":
            weights = importance_weights(batch, "token", self.options.importance_cap)
            v = v.detach() + (self.options.beta + self.options.gamma) * weighted_change(batch, weights)
            metrics |= share_truncated(stream, batch, "token", self.options.importance_cap)
        loss = branch_sum(self.divergence, v, coefficient)
        if self.penalty is None:
            return ObjectiveOutput(loss, metrics)
        surrogate, value, more = self.penalty.loss(batch, batch.rows["share"].double(), self.kl_scale)
        return ObjectiveOutput(loss + surrogate, {**metrics, **more}, loss.detach() + value)


def on_policy_scale(beta: float) -> float:
    """1/(1 + 1/beta), the factor of the on-policy stream."""
    return 1.0 / (1.0 + 1.0 / beta)


def group_weights(groups: GroupBatch, advantages: Tensor, weighting: str) -> Tensor:
    """Importance weights [N] in fp64.

    ``uniform`` is 1. ``softmax`` is G softmax_j(+-r_j - log pi_old_j) over the whole group, with + for
    responses of positive advantage. ``length_normalised`` divides log pi_old by the number of tokens:
    raw sequence log-probs differ by tens of nats and put nearly all weight on one response.
    """
    if weighting == "uniform":
        return torch.ones_like(advantages)
    logps = groups.old_logps
    if weighting == "length_normalised":
        logps = logps / groups.lengths.clamp(min=1)
    signs = torch.where(advantages > 0, 1.0, -1.0)
    weights = torch.zeros_like(advantages)
    for sign in (1.0, -1.0):
        scores = sign * groups.rewards - logps
        shifted = torch.exp(scores - groups.maximum(scores))
        share = shifted / groups.sum(shifted)
        weights = torch.where(signs == sign, groups.sum(torch.ones_like(share)) * share, weights)
    return torch.where(groups.scored, weights, 0.0)


def weight_metrics(groups: GroupBatch, weights: Tensor, advantages: Tensor) -> dict[str, float]:
    """Mean effective sample size over mixed groups (1 to G) and the share of weight on the positive branch."""
    active = advantages != 0
    if not bool(active.any()):
        return {}
    kept = torch.where(active, weights, 0.0)
    total = groups.sum(kept)
    effective = total**2 / groups.sum(kept**2)
    positive = groups.sum(torch.where(advantages > 0, kept, 0.0)) / total
    return {
        "weights/effective_sample_size": float(effective[active].mean()),
        "weights/positive_share": float(positive[active].mean()),
    }
