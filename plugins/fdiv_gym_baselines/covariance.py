"""Base of clip-cov and kl-cov: the tokens whose log-prob and advantage vary together (arXiv 2505.22617)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.errors import TrainerError
from fdiv_gym.objectives import Stream, spread
from fdiv_gym_baselines.on_policy import OnPolicy, token_mean


class Covariance(OnPolicy):
    """Selects, in ``prepare``, the tokens of high (A_i - mean A)(log pi_it - mean log pi).

    Means are over the response tokens of all scored responses that ``prepare`` gets: the step, or the mini-batch
    of an update. The release of the source takes them over a micro-batch, which would make the loss depend on
    its size. A token whose advantage is 0 is never selected. A subclass implements ``eligible``.
    """

    class Options(OnPolicy.Options):
        """Options of clip-cov and kl-cov."""

        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""
        share: float = pydantic.Field(2e-4, gt=0, le=1)
        """Share of the response tokens that are selected, rounded down, at least one token."""

    needs_token_logps = True

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The advantage, the token weight and the selected tokens of each response."""
        assert groups is not None
        prepared = super().prepare(groups, preferences)["rollouts"]
        rows = {**prepared.rows, "selected": self._selected(groups, prepared.rows["advantage"].unsqueeze(-1))}
        return {"rollouts": dataclasses.replace(prepared, rows=rows)}

    def eligible(self, covariance: Tensor, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """[N, L] bool: the tokens that may be selected.

        Args:
            covariance: [N, L] fp64, NaN where there is no scored response token.
            log_ratio: [N, L] fp64 log pi - log pi_old in nats, NaN beyond the response.
            advantages: [N, 1] fp64.
        """
        raise NotImplementedError

    def _selected(self, groups: fg.GroupBatch, advantages: Tensor) -> Tensor:
        """[N, L] bool: the eligible tokens of the highest covariances; equal ones are selected together."""
        if groups.policy_tokens is None or groups.old_tokens is None:
            raise TrainerError(
                "this objective needs policy_tokens and old_tokens of the whole step (needs_token_logps)"
            )
        logps = torch.where(groups.scored.unsqueeze(-1), groups.policy_tokens, torch.nan)
        present = ~torch.isnan(logps)
        count = int(present.sum())
        if not count:
            return present
        mean = torch.where(present, advantages, 0.0).sum() / count
        covariance = (advantages - mean) * (logps - torch.nanmean(logps))
        eligible = self.eligible(covariance, groups.policy_tokens - groups.old_tokens, advantages) & (advantages != 0)
        values = covariance[eligible]
        wanted = min(max(int(self.options.share * count), 1), values.numel())
        if not wanted:
            return eligible
        return eligible & (covariance >= values.topk(wanted).values[-1])


def selected_tokens(batch: fg.MicroBatch) -> tuple[Tensor, Tensor]:
    """[b, T] bool, the selected tokens of these rows, and their part of the share of response tokens."""
    selected = spread(batch.rows["selected"], batch.mask)
    return selected, token_mean(selected, batch)
