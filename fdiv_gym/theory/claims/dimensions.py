"""Claims on preferences of several dimensions (GPRL): scores, advantages, and the monitor of their drift.

The parts are obtained by their registered names, and the group scores are computed here in numpy.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdiv_gym.objectives.advantages.base import differing, get_advantage
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.runs.callback import Callback, get_callback
from fdiv_gym.runs.controls import Controls
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS

GPM, GPRL = "arXiv 2410.02197", "arXiv 2605.18721"
#: Exponents of the scales at which scores are checked, to the ends of fp32 and of fp64.
SCALES = {torch.float32: (-120, -60, 0, 60, 120), torch.float64: (-1000, -500, 0, 500, 1000)}
MONITOR: dict[str, Any] = {"warmup": 2, "smoothing": 0.5, "relaxation": 0.5, "threshold": 0.05}


def _scores(a: Tensor, b: Tensor) -> Tensor:
    """The scores of the judge gpm."""
    (entry,) = (entry for entry in list_entries("judge") if entry.name == "gpm")
    found: Tensor = entry.load().scores(a, b)
    return found


def _gap_at_any_scale(alone: bool) -> float:
    """The largest |s(a, b) + s(b, a)|, or |s(a, a)|, over the scales of either side; NaN counts as infinite."""
    worst = 0.0
    for dtype, exponents in SCALES.items():
        a, b = torch.randn(2, 64, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
        for left in exponents:
            for right in (left,) if alone else exponents:
                one, other = a * 2.0**left, b * 2.0**right
                if alone:
                    wrong = _scores(one, one) != 0
                else:
                    forward, backward = _scores(one, other), _scores(other, one)
                    wrong = (forward != -backward) | forward.isnan()
                worst = max(worst, float(wrong.double().mean()))
    return worst


def scores_are_skew_symmetric() -> Claim:
    """s_l(a, b) = -s_l(b, a) exactly, from one end of fp32 and fp64 to the other."""
    return Claim("gpm: share of s(a, b) other than -s(b, a)", GPM, _gap_at_any_scale(False), 0.0,
                 detail="64 pairs, 25 scales from 2^-120 and 2^-1000 to 2^120 and 2^1000")  # fmt: skip


def nothing_is_preferred_to_itself() -> Claim:
    """s_l(a, a) = 0 exactly, at any scale."""
    return Claim("gpm: share of s(a, a) other than 0", GPM, _gap_at_any_scale(True), 0.0, detail="64 responses")


def group_scores_add_up_to_nothing() -> Claim:
    """The mean scores against the others of a group add up to 0: their mean says nothing of progress."""
    e = torch.randn(9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = _scores(e.unsqueeze(1), e.unsqueeze(0)).sum(1) / 8
    gap = float(found.sum(0).abs().max() / found.abs().max())
    return Claim("gprl: sum of a group's scores over the largest", GPRL, gap, 1e-14, detail="9 responses")


def _groups(embeddings: np.ndarray[Any, Any], eigenvalues: Any, scale: Any = 1.0) -> GroupBatch:
    """One prompt; embeddings [G, k, 2], eigenvalues [k], and a factor of each dimension's scores."""
    x, y = embeddings[..., 0], embeddings[..., 1]
    scores = (x[:, None] * y[None] - y[:, None] * x[None]).sum(1) / (len(x) - 1) * scale
    groups = GroupBatch.of_equal_size(torch.full((len(x),), 0.5).double(), len(x))
    parts = {f"gprl/{d}": torch.from_numpy(column.copy()) for d, column in enumerate(scores.T)}
    parts |= {f"lambda/{d}": torch.full((len(x),), float(v)).double() for d, v in enumerate(eigenvalues)}
    return GroupBatch(groups.rewards, groups.index, groups.old_logps, groups.lengths, parts)


def _advantages(embeddings: np.ndarray[Any, Any], eigenvalues: Any, scale: Any = 1.0) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = get_advantage("gprl").compute(_groups(embeddings, eigenvalues, scale)).numpy()
    return found


DRAWN = np.random.default_rng(0).normal(size=(8, 3, 2))
EIGENVALUES = (1.5, 0.2, 0.7)


def one_pinned_dimension_is_grpo_on_the_logit() -> Claim:
    """With k = 1 and the second coordinate 1 the advantages are those of grpo on the reward u."""
    logits = DRAWN[:, 0, 0]
    pinned = np.stack([logits, np.ones(8)], -1)[:, None]
    expected = (logits - logits.mean()) / logits.std()
    gap = float(np.abs(_advantages(pinned, [1.0]) - expected).max())
    return Claim("gprl, k = 1 pinned: minus grpo on the logit", GPRL, gap, 1e-6, detail="8 responses, eps 1e-8")


def responses_permute() -> Claim:
    """Another order of the responses gives the same advantages in that order."""
    order = np.random.default_rng(1).permutation(8)
    gap = float(np.abs(_advantages(DRAWN[order], EIGENVALUES) - _advantages(DRAWN, EIGENVALUES)[order]).max())
    return Claim("gprl: advantages in another order", OURS, gap, 1e-12, detail="8 responses, k = 3")


def scale_of_a_dimension_does_not_matter() -> Claim:
    """The scores of one dimension times 1000, or over 1000, leave the advantages as they are."""
    before = _advantages(DRAWN, EIGENVALUES)
    gap = max(float(np.abs(_advantages(DRAWN, EIGENVALUES, [1, s, 1]) - before).max()) for s in (1e3, 1e-3))
    return Claim("gprl: one dimension times 1000, or over it", GPRL, gap, 1e-3, detail="no monitor")


def eigenvalues_matter() -> Claim:
    """An eigenvalue times 1000 makes its dimension the only one that counts."""
    z = DRAWN[..., 0].T[1][:, None] * DRAWN[..., 1].T[1] - DRAWN[..., 1].T[1][:, None] * DRAWN[..., 0].T[1]
    alone = (z.sum(1) / z.sum(1).std()) * 0.2
    found = _advantages(DRAWN, (1.5, 200.0, 0.7)) / 1000
    return Claim("gprl: eigenvalue times 1000: its dimension alone", GPRL, float(np.abs(found - alone).max()), 0.01,
                 detail="advantages over 1000")  # fmt: skip


def a_cycle_has_advantages() -> Claim:
    """Where A beats B, B beats C and C beats A by the same score, scalars are equal and dimensions are not.

    Dimension 0 orders the three by u, dimension 1 holds (cycle - order)/2, with eigenvalues 1 and 2. So every win rate
    is 1/2, and z_1 = -z_0 gives A = -z_0.
    """
    u = np.array([0.5, 0.0, -1.0])
    order = u[:, None] - u[None]
    cycle = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    embeddings = np.stack([_plane(order), _plane((cycle - order) / 2)], 1)
    groups = _groups(embeddings, (1.0, 2.0))
    wins = 1 / (1 + np.exp(-cycle / 0.1))
    unequal = np.ptp((wins.sum(1) - 0.5) / 2) > 1e-15
    blind = bool(groups.all_equal().all()) and not bool(differing(groups, get_advantage("gprl")).all())
    z = (u - u.mean()) / u.std()
    gap = float(np.abs(_advantages(embeddings, (1.0, 2.0)) + z).max())
    return Claim("gprl: advantages in a cycle of equal win rates", OURS, math.nan if unequal or blind else gap, 1e-6,
                 detail="3 responses, minus those by hand")  # fmt: skip


def advantages_depend_on_the_basis() -> Claim:
    """Another basis of the embedding's planes leaves every preference as it is, and not the advantages.

    With equal eigenvalues, preferences are the same under every symplectic map of the embeddings, here a rotation of
    two planes into each other. So pairs alone do not tell what a dimension stands for.
    """
    cos, sin = math.cos(0.7), math.sin(0.7)
    turned = DRAWN.copy()
    turned[:, 0] = cos * DRAWN[:, 0] + sin * DRAWN[:, 1]
    turned[:, 1] = cos * DRAWN[:, 1] - sin * DRAWN[:, 0]
    before, after = (torch.from_numpy(e.reshape(8, 6)) for e in (DRAWN, turned))
    gap = float((_preferences(after) - _preferences(before)).abs().max())
    moved = float(np.abs(_advantages(turned, (1.0, 1.0, 1.0)) - _advantages(DRAWN, (1.0, 1.0, 1.0))).max())
    return Claim("gprl: preferences in another basis of the planes", OURS, gap if moved > 0.1 else math.nan, 1e-12,
                 detail=f"8 responses, k = 3; their advantages differ by up to {moved:.2f}")  # fmt: skip


def _preferences(embeddings: Tensor) -> Tensor:
    """[G, G] s(i > j) with all eigenvalues 1."""
    return _scores(embeddings.unsqueeze(1), embeddings.unsqueeze(0)).sum(-1)


def _plane(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Three points [3, 2] whose determinants are the skew-symmetric ``scores`` [3, 3]."""
    return np.array([[1.0, 0.0], [scores[1, 2] / scores[0, 2], scores[0, 1]], [0.0, scores[0, 2]]])


def _watched(monitor: Callback, steps: Any, first: int = 1) -> tuple[dict[str, float], float]:
    """Multipliers and factor of the KL coefficient after steps of (spread, level) of dimension 0."""
    objective = get_objective("gprl")
    for step, (spread, level) in enumerate(steps, start=first):
        groups = _groups(DRAWN, (1.0, 1.0, 1.0), [spread, 1.0, 1.0])
        parts = {f"anchored/{d}": groups.components[f"gprl/{d}"] + level * (d == 0) for d in range(3)}
        whole = GroupBatch(
            groups.rewards, groups.index, groups.old_logps, groups.lengths, {**groups.components, **parts}
        )
        monitor.before_updates(step, whole, Controls(objective))
    assert objective.advantage is not None
    return objective.advantage.multipliers, objective.kl_scale


#: Spread and level of an exploited dimension: the spread grows while some responses exploit it, and ends when all do.
EXPLOIT = ((1, 0), (1, 0), (2, 1), (3, 4), (2, 7), (0.5, 9), (0.05, 9), (0.05, 9), (0.05, 9))


def exploited_dimensions_are_lowered() -> Claim:
    """While the share of a dimension has risen its multiplier is below the others' and the KL coefficient larger."""
    found, scale = _watched(get_callback("drift-monitor", **MONITOR), EXPLOIT[:4])
    ratio = found["gprl/0"] / min(found["gprl/1"], found["gprl/2"])
    return Claim("drift-monitor: exploited dimension over others", OURS, ratio if scale > 1 else math.nan, 0.9,
                 detail=f"spread times 3, KL coefficient times {scale:.2f}")  # fmt: skip


def saturated_exploits_are_not_fed() -> Claim:
    """A dimension whose level has risen keeps its low multiplier when its variance is gone."""
    found, _ = _watched(get_callback("drift-monitor", **MONITOR), EXPLOIT)
    return Claim("drift-monitor: multiplier of a saturated exploit", OURS, found["gprl/0"], 0.9,
                 detail="variance at 1/400 of its start, level 9 above it")  # fmt: skip


def a_resumed_monitor_is_the_same() -> Claim:
    """A monitor that is restored from a checkpoint sets what one that ran through sets, to the last bit."""
    worst = 0.0
    whole = get_callback("drift-monitor", **MONITOR)
    expected = _watched(whole, EXPLOIT)
    for cut in (1, 3, 6):
        first, second = (get_callback("drift-monitor", **MONITOR) for _ in range(2))
        _watched(first, EXPLOIT[:cut])
        second.load_state_dict(json.loads(json.dumps(dict(first.state_dict()))))
        same = _watched(second, EXPLOIT[cut:], cut + 1) == expected and second.state_dict() == whole.state_dict()
        worst = max(worst, 0.0 if same else 1.0)
    return Claim("drift-monitor: resumed runs that differ", OURS, worst, 0.0, detail="cut after 1, 3 and 6 of 9 steps")


CLAIMS = (
    scores_are_skew_symmetric,
    nothing_is_preferred_to_itself,
    group_scores_add_up_to_nothing,
    one_pinned_dimension_is_grpo_on_the_logit,
    responses_permute,
    scale_of_a_dimension_does_not_matter,
    eigenvalues_matter,
    a_cycle_has_advantages,
    advantages_depend_on_the_basis,
    exploited_dimensions_are_lowered,
    saturated_exploits_are_not_fed,
    a_resumed_monitor_is_the_same,
)
