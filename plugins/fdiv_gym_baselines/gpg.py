"""GPG: group policy gradient (arXiv 2504.02546)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import fdiv_gym as fg
from fdiv_gym.objectives import Stream
from fdiv_gym_baselines.reinforce import Reinforce


class GPG(Reinforce):
    """The policy gradient itself, rescaled for the prompts that give none.

    L = -1/(sum_i |y_i|) sum_i sum_t alpha A_i log pi(y_it), A_i = r_i - mean over the responses of the prompt,
    alpha = N/(N - M): N responses in the step, M of them scored responses of prompts whose rewards are all equal.
    Source: arXiv 2504.02546; its variant that divides by the standard deviation is ``advantage = "group"``.
    """

    class Options(Reinforce.Options):
        """Options of gpg."""

        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("mean-centred")
        """A registered advantage, or a table with its name and options."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""
        rescale: bool = True
        """Multiply the advantages by alpha = N/(N - M)."""

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The rescaled advantage and the token weight of each response."""
        assert groups is not None
        prepared = super().prepare(groups, preferences)["rollouts"]
        alpha = rescaling(groups) if self.options.rescale else 1.0
        rows = {**prepared.rows, "advantage": alpha * prepared.rows["advantage"]}
        return {"rollouts": dataclasses.replace(prepared, rows=rows)}


def rescaling(groups: fg.GroupBatch) -> float:
    """N/(N - M); 1 if no prompt has a gradient."""
    count = groups.rewards.numel()
    idle = int((groups.scored & groups.all_equal()).sum())
    return count / (count - idle) if idle < count else 1.0
