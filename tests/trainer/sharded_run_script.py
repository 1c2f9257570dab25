"""Trains, resumes, or loads the newest checkpoint and saves what arrived: run by test_sharding.py."""

import shutil
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from conftest_trainer import tiny_config
from torch.distributed.tensor import DTensor

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.screen import make_screen
from fdiv_gym_accelerate.checkpoint import gathered_state
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.run import Run
from fdiv_gym_accelerate.sharding import whole
from fdiv_gym_accelerate.shown import SHOWN
from fdiv_gym_math.addition import Addition

MODEL = {"layers": 2, "heads": 1, "head_dim": 32, "warm_start_steps": 60, "warm_start_batch": 32}
KINDS = {
    "full": ({"reference_every": 2}, {}),
    "lora": ({"lora": {"rank": 4, "modules_to_save": ["norm"]}}, {"trainer__gradient_checkpointing": True}),
    "bf16": ({"lora": {"rank": 4, "rslora": True}}, {"trainer__precision": "bf16_full"}),
}
RESUMED = ("full", "lora")
LOGITS_OF = torch.tensor([[5, 9, 12, 3, 2], [7, 7, 13, 4, 1]])


def config_of(kind, steps):
    """A run of one kind; with two processes the second has no prompt in an evaluation."""
    model, changes = KINDS[kind]
    return tiny_config(
        model={"embedded": MODEL} | model, trainer__sharding="fully_shard", trainer__warmup_steps=0,
        trainer__steps=steps, trainer__prompts_per_step=8, trainer__learning_rate=3e-3,
        trainer__evaluate_tasks=1, trainer__schedule="constant", **changes,
    )  # fmt: skip


def train(folder: Path, steps: str) -> None:
    """One run of each kind."""
    for kind in KINDS:
        fg.train(config_of(kind, int(steps)), folder / kind)


def resume(folder: Path, steps: str) -> None:
    """Go on with runs after their next to last checkpoint, in a copy of their folder."""
    for kind in RESUMED:
        if PartialState().is_main_process:
            shutil.copytree(folder / kind, folder / "resumed" / kind)
            shutil.rmtree(RunFolder(folder / "resumed" / kind).checkpoints()[-1])
        PartialState().wait_for_everyone()
        fg.train(config_of(kind, int(steps)), folder / "resumed" / kind, resume=True)


def load(folder: Path, output: str) -> None:
    """Save what a process has after it resumed: its weights, the moments, the reference, and its logits."""
    found = {kind: _loaded(kind, folder / kind) for kind in KINDS}
    if PartialState().is_main_process:
        torch.save(found, output)


def _loaded(kind, folder):
    config = config_of(kind, 2)
    run = Run(config, config.trainer.build().options, RunFolder(folder), make_screen(SHOWN), resume=True)
    several = run.accelerator.num_processes > 1
    assert all(isinstance(p, DTensor) == several for module in run.policy.modules for p in module.parameters())
    state = gathered_state(run.policy, run.optimizer, keep=True)
    handle = run.policy.adapter
    weights = run.policy.model.state_dict() if handle is None else dict(handle.named_parameters())
    model = run.policy.model.eval()
    with whole(model), torch.no_grad():
        logits = model(input_ids=LOGITS_OF).logits.clone()
    found = {
        "step": run.step, "logits": logits,
        "weights": weights if state is None else state.weights,
        "optimizer": run.optimizer.state_dict() if state is None else state.optimizer,
        "reference": run.policy.reference.module.state_dict() if kind == "full" else None,
    }  # fmt: skip
    if state is not None:
        found["reference"] = state.reference
    run.close()
    return found


if __name__ == "__main__":
    # The small model is never right: without this every reward is equal and no weight moves.
    Addition.score = lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2))
    PartialState(cpu=True)
    close_at_exit()
    for what, folder, argument in zip(*[iter(sys.argv[1:])] * 3, strict=True):
        {"train": train, "resume": resume, "load": load}[what](Path(folder), argument)
