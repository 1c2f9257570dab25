"""A run with dynamic sampling on as many processes as there are: run by test_parallel.py."""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from events_harness import run

import fdiv_gym as fg

TRAINED, ROUNDS = [], []


class Dull(fg.TextEnv):
    """Every second task has equal scores; every other response to the others is right, whatever it is."""

    def tasks(self, split):
        return [fg.Task(prompt=a + b, answer="") for a in "abcdefghij" for b in ("kl" if split == "train" else "mn")]

    def score_batch(self, tasks, responses):
        return [fg.Verdict.scored(float(i % 2 and task.prompt[1] == "k")) for i, task in enumerate(tasks)]


class Sees(fg.Callback):
    """The prompts of each step that this process trained on, and of each round that it drew."""

    fatal = True

    def after_rollouts(self, step, groups):
        ROUNDS.append((step, len(groups)))

    def after_verdicts(self, step, groups):
        TRAINED.append((step, [g.task.prompt for g in groups]))


def main(output: Path, sharding: str) -> None:
    state = PartialState(cpu=True)
    (folder,) = broadcast_object_list([str(output.with_suffix(""))])
    found = run(
        Path(folder), 6, env=Dull, callbacks=[Sees], dynamic_sampling={"budget": 5}, prompts_per_step=5, group_size=4,
        check_plugins=False, sharding=sharding,
    )  # fmt: skip
    assert not found.error, found.error
    trained, rounds = gather_object([TRAINED]), gather_object([ROUNDS])
    if state.is_main_process:
        saved = {"processes": state.num_processes, "lines": found.lines, "trained": trained, "rounds": rounds}
        torch.save(saved, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
