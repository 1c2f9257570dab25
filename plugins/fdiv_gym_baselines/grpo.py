"""GRPO (arXiv 2402.03300, equation 3)."""

from __future__ import annotations

import pydantic

from fdiv_gym_baselines.clipped import Clipped


class GRPO(Clipped):
    """Group relative policy optimisation.

    L = -(1/G) sum_i (1/|y_i|) sum_t { min[rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i] - beta k3_it },
    A_i = (r_i - mean)/std over the responses of the prompt. Source: arXiv 2402.03300, equations 3 and 4.
    """

    class Options(Clipped.Options):
        """Options of grpo."""

        beta: float = pydantic.Field(0.04, ge=0)
        """Coefficient of the k3 term to the reference; 0 needs no reference."""
