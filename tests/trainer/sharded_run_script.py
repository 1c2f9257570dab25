"""Trains for two steps, or loads the newest checkpoint and saves what arrived: run by test_sharding.py."""

import sys
from pathlib import Path

import torch
from conftest_trainer import tiny_config
from torch.distributed.tensor import DTensor

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.checkpoint import gathered_state
from fdiv_gym_accelerate.run import Run
from fdiv_gym_accelerate.screen import make_screen

MODEL = {"layers": 2, "heads": 1, "head_dim": 32, "warm_start_steps": 60, "warm_start_batch": 32}


def main(what: str, folder: Path, output: Path | None = None) -> None:
    config = tiny_config(
        model={"embedded": MODEL}, trainer__sharding="fully_shard", trainer__warmup_steps=0, trainer__steps=2,
        trainer__prompts_per_step=32, trainer__group_size=8, trainer__learning_rate=3e-3,
    )  # fmt: skip
    if what == "train":
        fg.train(config, folder)
        return
    run = Run(config, config.trainer.build().options, RunFolder(folder), make_screen(), resume=True)
    several = run.accelerator.num_processes > 1
    assert all(isinstance(p, DTensor) == several for module in run.policy.modules for p in module.parameters())
    state = gathered_state(run.policy, run.optimizer, keep=True)
    weights = run.policy.model.state_dict() if state is None else state.weights
    moments = run.optimizer.state_dict() if state is None else state.optimizer
    if output is not None and run.accelerator.is_main_process:
        found = {"step": run.step, "weights": weights, "optimizer": moments, "schedule": run.schedule.state_dict()}
        torch.save(found, output)
    run.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
