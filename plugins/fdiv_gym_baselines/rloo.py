"""RLOO (arXiv 2402.14740, equation 10)."""

from __future__ import annotations

import fdiv_gym as fg
from fdiv_gym_baselines.reinforce import Reinforce


class RLOO(Reinforce):
    """L = -1/(P G) sum_i A_i log pi(y_i|x), A_i = r_i - mean of the prompt's other responses.

    Source: arXiv 2402.14740, equation 10. There the reward contains -beta log(pi/pi_ref); here the reward
    is the environment's, and the reference enters by the k3 term if ``beta`` is set. With
    ``ratio = "sequence"`` the loss is TRL's, -min(rho A, clip(rho) A) of the whole response; TRL subtracts
    beta log(pi_old/pi_ref) from the reward, which again is the environment's part here.
    """

    class Options(Reinforce.Options):
        """Options of rloo."""

        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("leave-one-out")
        """A registered advantage, or a table with its name and options."""
