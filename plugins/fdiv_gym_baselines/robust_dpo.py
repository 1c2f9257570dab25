"""Robust DPO (arXiv 2403.00409)."""

from __future__ import annotations

import pydantic
from torch import Tensor
from torch.nn.functional import logsigmoid

from fdiv_gym_baselines.dpo import DPO


class RobustDPO(DPO):
    """dpo on labels of which a known share is wrong: the loss whose mean over the flips is the loss on clean labels.

    L = E [(1 - e) l(m) - e l(-m)]/(1 - 2 e), l(m) = -log sigmoid(m), m the margin of dpo, e the share of wrong labels.
    Source: "Provably Robust DPO: Aligning Language Models with Noisy Feedback", arXiv 2403.00409. The loss has no lower
    bound: every pair keeps the gradient -e/(1 - 2 e) on its margin.
    """

    class Options(DPO.Options):
        """Options of robust-dpo."""

        label_noise: float = pydantic.Field(0.1, ge=0, lt=0.5)
        """Share e of pairs whose labels are exchanged; 0 is dpo. The default is fdiv-gym's: set it to your data's."""

    def pair_loss(self, margin: Tensor) -> Tensor:
        """The unbiased combination of the losses of both labels."""
        noise: float = self.options.label_noise
        return (noise * logsigmoid(-margin) - (1 - noise) * logsigmoid(margin)) / (1 - 2 * noise)
