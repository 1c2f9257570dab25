"""The law of the drift monitor: shares, their drift, multipliers, trust region; pure numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym_gprl.readings import Reading

Event = Literal["", "raised", "released"]


class LawOptions(fg.Options):
    """Constants of the law; their values are this project's, the source's are not published in what we have."""

    warmup: int = pydantic.Field(10, ge=1)
    """Steps whose mean is the start that the shares are relative to; the monitor acts after them."""
    smoothing: float = pydantic.Field(0.1, gt=0, le=1)
    """Weight of a step in the moving averages of variance, eigenvalue and level."""
    threshold: float = pydantic.Field(0.1, gt=0)
    """Drift in nats above which the monitor acts; at most -log of the smallest share at the start is reachable."""
    release: float = pydantic.Field(0.5, ge=0, le=1)
    """The monitor stops acting when the drift falls below this part of the threshold."""
    power: float = pydantic.Field(1.0, ge=0)
    """Power of the ratio of the shares in the multipliers; 0 leaves all of them 1."""
    lowest: float = pydantic.Field(0.25, gt=0, le=1)
    """Smallest multiplier."""
    highest: float = pydantic.Field(2.0, ge=1)
    """Largest multiplier; 1 lowers exploited dimensions and raises none."""
    tightening: float = pydantic.Field(2.0, ge=0)
    """Increase of the factor on the KL coefficient for each nat above the threshold; 0 leaves it 1."""
    relaxation: float = pydantic.Field(0.2, gt=0, le=1)
    """Part of the way to their targets that multipliers and factor move in a step."""
    saturation: float = pydantic.Field(1.0, gt=0)
    """Rise of a dimension's level, in standard deviations within a prompt at the start, from which a fall of its
    variance counts as saturation and not as neglect."""


@dataclass
class Dimension:
    """The state of one dimension; the averages are over steps."""

    start_variance: float = 0.0
    start_eigenvalue: float = 0.0
    start_level: float | None = None
    variance: float = 0.0
    eigenvalue: float = 0.0
    level: float | None = None
    held: float | None = None
    """Largest variance since the level rose; None while it has not risen."""
    multiplier: float = 1.0

    @property
    def relative_variance(self) -> float:
        """The variance, or what it is held at, over that at the start."""
        return max(self.variance, self.held or 0.0) / self.start_variance

    def risen(self, saturation: float) -> bool:
        """Whether the level is above that at the start by ``saturation`` standard deviations."""
        if self.level is None or self.start_level is None:
            return False
        return self.level - self.start_level > saturation * math.sqrt(self.start_variance)


@dataclass
class Law:
    """The state of the monitor, and its update; the same inputs give the same state, to the last bit.

    With v_l the variance of dimension l within prompts, averaged over the steps, and lambda_l its mean eigenvalue:

        alpha_l(t) = lambda_l(t) v_l(t)/v_l(0) / sum_j lambda_j(t) v_j(t)/v_j(0)
        D(t)       = sum_l alpha_l(t) log(alpha_l(t)/alpha_l(0))
        m_l        = (alpha_l(0)/alpha_l(t))^power, scaled so that sum lambda_l m_l is that of the eigenvalues
        kl_scale   = 1 + tightening (D(t) - threshold)

    m_l is held in [lowest, highest] before and after it is scaled. The last two are targets while the monitor acts,
    that is from D > threshold until D <= release threshold; otherwise their targets are 1. Both approach their targets
    exponentially. A dimension whose level has risen (see ``LawOptions.saturation``) keeps the largest variance that it
    had since: a saturated exploit loses its variance, and without this the shares would read that as neglect. Its
    multiplier is never above 1. A dimension without any variance at the start has no share and the multiplier 1.

    Args:
        options: the constants.
    """

    options: LawOptions
    seen: int = 0
    acting: bool = False
    drift: float = 0.0
    kl_scale: float = 1.0
    dimensions: dict[str, Dimension] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the start is known."""
        return self.seen >= self.options.warmup

    def observe(self, readings: Mapping[str, Reading]) -> Event:
        """Take in the readings of one step.

        Args:
            readings: those of all watched dimensions.

        Returns:
            ``raised`` where the monitor begins to act, ``released`` where it stops, else an empty string.

        Raises:
            ConfigError: the dimensions are others than before, or the threshold can never be reached.
        """
        if self.dimensions and set(readings) != set(self.dimensions):
            raise fg.ConfigError(
                f"drift-monitor: the step has the dimensions {', '.join(sorted(readings))}, the steps before had "
                f"{', '.join(sorted(self.dimensions))}: name what to watch in components"
            )
        starting = not self.ready
        self.seen += 1
        for name, reading in readings.items():
            one = self.dimensions.setdefault(name, Dimension())
            _average(one, reading, 1.0 / self.seen if starting else self.options.smoothing)
        if starting:
            if self.ready:
                self._begin()
            return ""
        for one in self._shared().values():
            self._hold(one)
        return self._act()

    def shares(self) -> dict[str, float]:
        """alpha(t) of the dimensions that have one; empty before the start is known."""
        return _normalised({n: d.eigenvalue * d.relative_variance for n, d in self._shared().items()})

    def start_shares(self) -> dict[str, float]:
        """alpha(0)."""
        return _normalised({n: d.start_eigenvalue for n, d in self._shared().items()})

    def multipliers(self) -> dict[str, float]:
        """m_l of every dimension."""
        return {name: one.multiplier for name, one in self.dimensions.items()}

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values; floats are exact in JSON."""
        return {
            "seen": self.seen, "acting": self.acting, "drift": self.drift, "kl_scale": self.kl_scale,
            "dimensions": {name: asdict(one) for name, one in self.dimensions.items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.seen, self.acting = int(state["seen"]), bool(state["acting"])
        self.drift, self.kl_scale = float(state["drift"]), float(state["kl_scale"])
        self.dimensions = {name: Dimension(**one) for name, one in state["dimensions"].items()}

    def _shared(self) -> dict[str, Dimension]:
        return {n: d for n, d in self.dimensions.items() if self.ready and d.start_variance > 0 and d.start_eigenvalue}

    def _begin(self) -> None:
        for one in self.dimensions.values():
            one.start_variance, one.start_eigenvalue, one.start_level = one.variance, one.eigenvalue, one.level
        shares = self.start_shares()
        largest = max((-math.log(share) for share in shares.values()), default=0.0)
        if len(shares) > 1 and self.options.threshold >= largest:
            raise fg.ConfigError(
                f"drift-monitor: the shares start at {', '.join(f'{n} {s:.3f}' for n, s in shares.items())}, so the "
                f"drift is at most {largest:.3f} nats: set threshold below it (it is {self.options.threshold:g})"
            )

    def _hold(self, one: Dimension) -> None:
        if one.risen(self.options.saturation):
            one.held = max(one.variance, one.held or 0.0)
        else:
            one.held = None

    def _act(self) -> Event:
        now, before = self.shares(), self.start_shares()
        self.drift = sum(share * math.log(share / before[name]) for name, share in now.items() if share > 0)
        was = self.acting
        limit = self.options.threshold * (self.options.release if was else 1.0)
        self.acting = self.drift > limit
        targets = self._targets(now, before) if self.acting else {}
        rate = self.options.relaxation
        for name, one in self.dimensions.items():
            one.multiplier += rate * (targets.get(name, 1.0) - one.multiplier)
        excess = max(0.0, self.drift - self.options.threshold) if self.acting else 0.0
        self.kl_scale += rate * (1.0 + self.options.tightening * excess - self.kl_scale)
        return "" if was == self.acting else "raised" if self.acting else "released"

    def _targets(self, now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
        """The multipliers for these shares."""
        low, high, shared = self.options.lowest, self.options.highest, self._shared()
        largest = {name: min(high, 1.0) if one.held is not None else high for name, one in shared.items()}
        # Logarithms, because a share may be as small as 0.
        logs = {n: self.options.power * (math.log(before[n]) - _log(now[n])) for n in now}
        free = {n: _clamped(math.exp(min(x, 700.0)), low, largest[n]) for n, x in logs.items()}
        total = sum(shared[n].eigenvalue for n in free)
        scale = total / sum(shared[n].eigenvalue * m for n, m in free.items())
        return {n: _clamped(scale * m, low, largest[n]) for n, m in free.items()}


def _average(one: Dimension, reading: Reading, rate: float) -> None:
    one.variance += rate * (reading.variance - one.variance)
    one.eigenvalue += rate * (reading.eigenvalue - one.eigenvalue)
    if reading.level is not None:
        one.level = reading.level if one.level is None else one.level + rate * (reading.level - one.level)


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total > 0 else {}


def _clamped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
