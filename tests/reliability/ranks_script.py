"""Saves and restores the state of two processes: run by test_totals.py."""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from fdiv_gym_accelerate.ranks import RankState


class Counted:
    """An environment with one counter."""

    def __init__(self, judged: int) -> None:
        self.judged = judged

    def counters(self) -> dict[str, float]:
        return {"judged": self.judged}


def main(folder: Path) -> None:
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    torch.manual_seed(rank)
    np.random.seed(rank)
    states = RankState(accelerator, Counted(10 + rank), print).gathered()
    drawn = (torch.rand(3).tolist(), np.random.rand(3).tolist())
    again = RankState(accelerator, Counted(1000), print)
    again.restore(states)
    restored = (torch.rand(3).tolist(), np.random.rand(3).tolist())
    record = {"drawn": drawn, "restored": restored, "counters": again.counters(), "states": len(states)}
    torch.save(record, folder / f"{rank}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
