"""Ratios of the policy to the old policy in one update, from the forward passes that give its gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

import fdiv_gym as fg

QUANTILES = {"ratio/p01": 0.01, "ratio/p50": 0.5, "ratio/p99": 0.99}
#: Log-ratios are cut at this many nats, so that squares of ratios, and their sums, are finite in fp64.
LIMIT = 300.0


@dataclass
class Ratios:
    """Statistics of pi/pi_old over the rollouts' rows of one update.

    Args:
        sums: numbers that add up over micro-batches and processes: tokens and their k3 terms, responses, their
            ratios and the squares of these.
        log_ratios: of this process's tokens, in nats.
    """

    sums: dict[str, float] = field(default_factory=dict)
    log_ratios: list[Tensor] = field(default_factory=list)

    def add(self, batch: fg.MicroBatch) -> None:
        """Add a micro-batch; rows that were not sampled in this run have no ratio."""
        if batch.old_logps is None:
            return
        log_ratio = batch.tokens(batch.logps.detach().double() - batch.old_logps.double())
        tokens = log_ratio[batch.mask].clamp(-LIMIT, LIMIT)
        ratios = log_ratio.sum(-1).clamp(-LIMIT, LIMIT).exp()
        parts = {
            "tokens": float(tokens.numel()),
            "k3": float((torch.expm1(tokens) - tokens).sum()),
            "responses": float(ratios.numel()),
            "ratio": float(ratios.sum()),
            "squared": float(ratios.square().sum()),
        }
        self.sums = {key: self.sums.get(key, 0.0) + value for key, value in parts.items()}
        self.log_ratios.append(tokens.cpu())

    @property
    def kl(self) -> float | None:
        """Mean over tokens of rho - 1 - log rho, an estimate of KL(pi_old || pi) in nats; None without tokens."""
        tokens = self.sums.get("tokens", 0.0)
        return self.sums["k3"] / tokens if tokens else None

    def line(self) -> dict[str, float]:
        """The metrics; nothing without tokens."""
        kl = self.kl
        if kl is None:
            return {}
        share = self.sums["ratio"] ** 2 / (self.sums["responses"] * self.sums["squared"])
        line = {"ratio/kl_old": kl, "ratio/effective_sample_size": share}
        if self.log_ratios:
            tokens = torch.cat(self.log_ratios)
            line |= {key: float(quantile(tokens, q).exp()) for key, q in QUANTILES.items()}
        return line


def quantile(values: Tensor, q: float) -> Tensor:
    """The smallest value that at least a share ``q`` of the values does not exceed (torch.quantile takes 2**24)."""
    rank = max(1, -int(-q * values.numel() // 1))
    return values.kthvalue(rank).values
