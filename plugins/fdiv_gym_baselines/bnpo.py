"""BNPO: beta normalisation policy optimisation (arXiv 2506.02864)."""

from __future__ import annotations

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import Clipped


class BNPO(Clipped):
    """The clipped surrogate, mean over the tokens of the step, with beta-normalised advantages.

    L = -1/(sum_i |y_i|) sum_i sum_t min[rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i],
    A_i = (r_i - p)/Beta(p; alpha, beta), p the mean reward of the prompt; see the advantage
    ``beta-normalised`` for alpha and beta. Source: arXiv 2506.02864 and its release. TRL's ``loss_type = "bnpo"``
    has the mean over tokens only: ``advantage = "group"`` gives it. Rewards lie between 0 and 1, or between
    the bounds that are set in the advantage.
    """

    class Options(Clipped.Options):
        """Options of bnpo."""

        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("beta-normalised")
        """A registered advantage, or a table with its name and options."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""
