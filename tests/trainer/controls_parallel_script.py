"""A run whose callback reads the whole step and sets controls, on one or more processes: run by test_parallel.py."""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from events_harness import run

import fdiv_gym as fg

SEEN = []


class Controls(fg.Callback):
    """Keeps what every process gets; the last digit of a mean decides the scale."""

    fatal = True

    def before_updates(self, step, groups, controls):
        mean = float(groups.rewards.mean())
        SEEN.append((step, groups.rewards.tolist(), groups.index.tolist(), controls.kl_scale))
        controls.kl_scale = 1 + mean


def main(output: Path) -> None:
    state = PartialState(cpu=True)
    (folder,) = broadcast_object_list([str(output.with_suffix(""))])
    found = run(
        Path(folder), 3, objective={"name": "grpo", "beta": 0.1}, callbacks=[Controls], prompts_per_step=3,
        check_plugins=False,
    )  # fmt: skip
    assert not found.error, found.error
    seen = gather_object([SEEN])
    if state.is_main_process:
        torch.save({"processes": state.num_processes, "seen": seen}, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
