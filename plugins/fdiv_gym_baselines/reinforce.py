"""REINFORCE (Williams 1992), with the batch baseline of REINFORCE++ (arXiv 2501.03262)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import pydantic
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import CLIP_MEANINGS, surrogate
from fdiv_gym_baselines.on_policy import OnPolicy, exp

#: Aggregation that sums the tokens of a response: its log-prob as a whole.
SUM_OF_TOKENS: dict[str, Any] = {"name": "constant-length", "length": 1}


class Reinforce(OnPolicy):
    """L = -1/(P G) sum_i A_i log pi(y_i|x), A_i = (r_i - mean)/std over the whole step.

    The plain policy gradient, without ratio and clip: exact for one optimizer step for each batch of rollouts.
    Off the sampling policy, ``ratio`` corrects it: ``token`` replaces log pi of each token by its clipped
    surrogate -min(rho A, clip(rho) A), ``sequence`` that of the response by the surrogate of
    rho = pi(y_i)/pi_old(y_i), the product of the tokens' ratios. At the sampling policy all three have the same
    gradient. Source: Williams 1992 (Machine Learning 8); the baseline is that of arXiv 2501.03262.
    """

    class Options(OnPolicy.Options):
        """Options of reinforce."""

        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("batch")
        """A registered advantage, or a table with its name and options."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef(SUM_OF_TOKENS)
        """A registered aggregation, or a table with its name and options; the default sums the tokens."""
        ratio: Literal["none", "token", "sequence"] = "none"
        """Correction off the sampling policy: none, by the ratio of each token, or by that of the response."""
        clip_low: float = pydantic.Field(0.2, ge=0, le=1)
        """The ratio is clipped below at 1 - clip_low; needs a ratio."""
        clip_high: float = pydantic.Field(0.2, ge=0)
        """The ratio is clipped above at 1 + clip_high; needs a ratio."""

        @pydantic.model_validator(mode="after")
        def _clip_is_used(self) -> Self:
            fields = type(self).model_fields
            for name in ("clip_low", "clip_high"):
                if self.ratio == "none" and getattr(self, name) != fields[name].default:
                    raise ValueError(f"{name} clips the ratio, but ratio is 'none': set ratio to token or sequence")
            return self

    metric_meanings: ClassVar[Mapping[str, str]] = CLIP_MEANINGS

    def ratio(self, log_ratio: Tensor, batch: fg.MicroBatch) -> Tensor:
        """[b, T]: the log-ratio of the token, or that of the whole response at each of its tokens."""
        if self.options.ratio != "sequence":
            return log_ratio
        return log_ratio.sum(-1, keepdim=True).expand_as(log_ratio)

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-A log pi of each token, or the clipped surrogate; a response's surrogate is spread over its tokens."""
        if self.options.ratio == "none":
            return -advantages * batch.tokens(batch.logps), {}
        low, high = 1 - self.options.clip_low, 1 + self.options.clip_high
        losses, metrics = surrogate(exp(self.ratio(log_ratio, batch)), advantages, low, high, batch)
        if self.options.ratio == "sequence":
            losses = losses / batch.lengths.unsqueeze(-1)
        return losses, metrics
