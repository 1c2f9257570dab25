"""The exact judge and the summed score of benchmarks/gprl_loop.py."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.types import groups_of
from fdiv_gym_safety.zeal import Qualities, qualities

DIMENSIONS = [f"gprl/{i}" for i in range(3)]
TAU = 0.3


class ExactJudge(fg.Judge):
    """An exact preference model: each quality is a Bradley-Terry dimension, s_l(i > j) = q_il - q_jl."""

    async def judge(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[fg.Verdict]:
        """The components of the judge ``gpm``; the score is the mean win probability against the anchors."""
        verdicts: dict[int, fg.Verdict] = {}
        for members in groups_of(tasks):
            task = tasks[members[0]]
            own = torch.stack([_vector(qualities(task.answer, responses[i])) for i in members])
            anchors = torch.stack([_vector(qualities(task.answer, text)) for text in task.data["anchors"]])
            # The mean over the others is G/(G - 1) times the distance from the mean of all.
            group = (own - own.mean(0)) * len(own) / max(len(own) - 1, 1)
            anchored = own.unsqueeze(1) - anchors.unsqueeze(0)
            scores = torch.sigmoid(anchored.sum(-1) / TAU).mean(1)
            for row, i in enumerate(members):
                parts = {name: float(group[row, d]) for d, name in enumerate(DIMENSIONS)}
                parts |= {f"anchored/{d}": float(x) for d, x in enumerate(anchored[row].mean(0))}
                parts |= {f"lambda/{d}": 1.0 for d in range(len(DIMENSIONS))}
                verdicts[i] = fg.Verdict.scored(float(scores[row]), **parts)
        return [verdicts[i] for i in range(len(tasks))]


class SummedScore(fg.Advantage):
    """The advantage ``group`` of sum_l lambda_l s_l: GRPO on the score of the preference model."""

    def compute(self, groups: fg.GroupBatch) -> Tensor:
        """[N] fp64."""
        each = fg.get_advantage("group", eps=1e-8)
        return each.compute(dataclasses.replace(groups, rewards=torch.where(groups.scored, _summed(groups), torch.nan)))

    def compared(self, groups: fg.GroupBatch) -> list[Tensor]:
        """The summed score."""
        return [_summed(groups)]


def _summed(groups: fg.GroupBatch) -> Tensor:
    parts = groups.components
    return torch.stack([parts[name.replace("gprl", "lambda")] * parts[name] for name in DIMENSIONS]).sum(0)


def _vector(q: Qualities) -> Tensor:
    return torch.tensor([q.right, q.plain, q.keen], dtype=torch.float64)
