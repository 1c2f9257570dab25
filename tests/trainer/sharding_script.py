"""Two updates with whole weights on one process, with divided ones on two: run by test_sharding.py.

Saves the gradient of each update, the weights after both, and the metrics of every process.
"""

import copy
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from test_updates import preference_rows
from torch.distributed.tensor import DTensor
from updates_harness import judged_rollouts, make_updates, scored

import fdiv_gym as fg
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import build
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.sharding import full, is_sharded, shard, whole
from fdiv_gym_accelerate.streams import rollout_stream

CASES = ("f-grpo", "dapo", "f-hal", "dapo silent", "f-hal silent", "f-grpo packed")


def rows_of(name, groups, tokenizer):
    """The rows of all processes: of f-hal the preferences of other groups too."""
    pad = tokenizer.pad_token_id
    if not name.startswith("f-hal"):
        return StepRows({"rollouts": rollout_stream(groups, pad)}, groups)
    preferences = preference_rows(groups[6:], pad)
    streams = {"rollouts": rollout_stream(groups[:6], pad), **preferences.streams}
    return StepRows(streams, groups[:6], preferences.chosen)


def own(rows, state):
    """The rows of one process."""
    count, process = state.num_processes, state.process_index
    return rows.part({name: list(range(process, rows.count(name), count)) for name in rows.streams})


def updates_of(case, start, tokenizer, env):
    """Gradients of two updates, the weights after them, and the metrics of every process."""
    name, *how = case.split()
    state = PartialState()
    groups = judged_rollouts(start, tokenizer, env, prompts=9, group_size=4)
    if "silent" in how:  # the second process has no rollout with a gradient
        groups = [scored(g, [1.0] * 4) if i % 2 else g for i, g in enumerate(groups)]
    model, reference = copy.deepcopy(start).double(), copy.deepcopy(start).double()
    with torch.no_grad():
        next(reference.parameters()).mul_(1.1)
    settings = {"updates_per_rollout": 2, "max_grad_norm": 0.01} | ({} if "packed" in how else {"micro_batch_size": 3})
    if state.num_processes > 1:
        accelerator = make_updates(fg.get_objective(name), model, reference).updater.accelerator
        for module in (model, reference):
            shard(module, accelerator)
            assert is_sharded(module)
            assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
            held = sum(p.to_local().numel() for p in module.parameters())
            assert held < 0.51 * sum(p.numel() for p in module.parameters())
    updates = make_updates(fg.get_objective(name), model, reference, 3e-3, **settings)
    if "packed" in how:
        updates.updater.passes.share_prompts = "always"
    gradients = []
    updates.optimizer.register_step_pre_hook(lambda *_: gradients.append(flat(model, "grad")))
    rows = rows_of(name, groups, tokenizer)
    lines = gather_object([updates.run(1, own(rows, state))])
    assert all(isinstance(p, DTensor) for p in model.parameters()) == (state.num_processes > 1)
    assert not updates.updater.reference.tied(model)
    sums = (updates.updater.reference.checksum(), float(flat(reference).sum()))
    with whole(model):
        assert not any(isinstance(parameter, DTensor) for parameter in model.parameters())
    return {"gradients": gradients, "weights": flat(model), "lines": lines, "sums": sums}


def flat(model, what="data"):
    """All weights, or all gradients, as one vector."""
    values = [p.detach() if what == "data" else p.grad for p in model.parameters()]
    return torch.cat([full(value).flatten() for value in values if value is not None]).clone()


def main(output: Path) -> None:
    state = PartialState(cpu=True)
    close_at_exit()
    start, tokenizer = build(EmbeddedModelConfig(layers=2, heads=1))
    env = fg.make("math/Addition-v0", digits=1)
    cases = {case: updates_of(case, start, tokenizer, env) for case in CASES}
    if state.is_main_process:
        torch.save({"processes": state.num_processes, "cases": cases}, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
