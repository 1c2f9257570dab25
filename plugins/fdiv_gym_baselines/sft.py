"""SFT: the likelihood of the chosen responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import fdiv_gym as fg
from fdiv_gym.objectives import Stream, mean_weights
from fdiv_gym_baselines.likelihood import likelihood_weights


class SFT(fg.Objective):
    """Supervised fine-tuning: L = -sum_i w_i sum_t log pi(y_it) over the chosen responses.

    With the aggregation ``token-mean`` it is the cross-entropy of a token. Rejected responses are not
    read. Source: the maximum-likelihood objective, e.g. arXiv 2203.02155, section 3.5.
    """

    class Options(fg.Options):
        """Options of sft."""

        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""

    streams = ("preferences",)
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "preferences/logp_chosen": "Mean log-prob of a whole chosen response under the policy, in nats, 0 or less.",
    }
    skips_inactive = True  # its denominators count chosen responses only, all of them active

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.aggregation = self.options.aggregation.build()

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The token weight of each chosen response."""
        assert preferences is not None
        chosen = preferences.chosen
        rows = {"weight": likelihood_weights(self.aggregation, preferences), "chosen": mean_weights(chosen)}
        return {"preferences": fg.Coefficients(rows, chosen)}

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """The weighted negative log-likelihood."""
        logps = batch.sequence_sum(batch.logps)
        mean_logp = (batch.rows["chosen"].double() * logps.detach().double()).sum()
        return fg.ObjectiveOutput(-(batch.row("weight") * logps).sum(), {"preferences/logp_chosen": mean_logp})
