"""A reward that is drawn: the control ``trainer.reward = "drawn"``, under which nothing can be learned from scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import fdiv_gym as fg
from fdiv_gym.rollouts import derive_seed


def with_drawn_rewards(
    groups: Sequence[fg.TrajectoryGroup], score_range: tuple[float, float], seed: int, *place: object
) -> list[fg.TrajectoryGroup]:
    """The groups with drawn scores: the lowest or the highest one, with equal probability.

    Components are drawn in the same way, each on its own. The draws depend on the seed, the place, the group and the
    number of the response in it, and on nothing else. A response without a score stays without one, so that
    the steps have as many rows as with the environment's reward.

    Args:
        groups: scored.
        score_range: of the environment.
        seed: of the run.
        place: step, process and round.
    """

    def with_own(group: fg.TrajectoryGroup, number: int) -> fg.TrajectoryGroup:
        rngs = (
            np.random.default_rng(derive_seed(seed, "drawn reward", *place, number, response))
            for response in range(len(group.trajectories))
        )
        pairs = zip(group.trajectories, rngs, strict=True)
        return replace(group, trajectories=tuple(_with_drawn_reward(t, score_range, rng) for t, rng in pairs))

    return [with_own(group, number) for number, group in enumerate(groups)]


def _with_drawn_reward(
    trajectory: fg.Trajectory, score_range: tuple[float, float], rng: np.random.Generator
) -> fg.Trajectory:
    verdict = trajectory.verdict
    if verdict is None or verdict.score is None:
        return trajectory
    score = score_range[rng.integers(2)]
    parts = {name: score_range[rng.integers(2)] for name in sorted(verdict.components)}
    detail = f"drawn; its score is {verdict.score:g}"
    return replace(trajectory, verdict=fg.Verdict(score, fg.Status.SCORED, parts, detail))
