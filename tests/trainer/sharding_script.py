"""Two updates with whole weights on one process, with divided ones on two: run by test_sharding.py.

Saves the gradient of each update, the weights after both, and the metrics of every process.
"""

import copy
import gc
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from test_updates import preference_rows
from torch.distributed.tensor import DTensor
from updates_harness import judged_rollouts, make_updates, scored

import fdiv_gym as fg
from fdiv_gym.models import LoraOptions, add_adapter
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import build
from fdiv_gym_accelerate.activations import recompute_layers
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.reference import AdapterOff, Copy
from fdiv_gym_accelerate.sharding import full, is_sharded, local, shard, whole
from fdiv_gym_accelerate.streams import rollout_stream

#: an objective; silent: the second process has no rollout with a gradient; recomputed: gradient checkpointing;
#: rows: trajectories of one, two and three rows
CASES = (
    "f-grpo", "dapo", "f-hal", "f-grpo silent", "dapo silent", "f-hal silent", "f-grpo packed", "f-grpo recomputed",
    "f-grpo rows", "dapo rows silent", "f-grpo lora", "dapo lora silent", "f-hal lora", "f-grpo dora recomputed",
    "f-grpo bf16", "f-grpo lora bf16",
)  # fmt: skip
LORA = {"lora": LoraOptions(rank=4), "dora": LoraOptions(rank=4, dora=True, modules_to_save=["norm"])}


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


def in_rows(groups):
    """Each trajectory of a group as the end of one whose other rows are the trajectories before it, three at most."""
    return [
        replace(
            g, trajectories=tuple(behind(g.trajectories[max(0, i - 2) : i + 1]) for i in range(len(g.trajectories)))
        )
        for g in groups
    ]


def behind(parts):
    """One trajectory with these as its rows; the verdict is that of the last."""
    lengths = [len(part.token_ids) for part in parts]
    fields = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in ("token_ids", "logprobs", "loss_mask")
    }
    starts = tuple(sum(lengths[:k]) for k in range(len(parts)))
    return replace(parts[-1], **fields, turns=len(parts), row_starts=starts)


def policy_of(start, how):
    """The policy in fp64, or its frozen weights in bf16 as with ``bf16_full``, and its reference."""
    dtype = torch.bfloat16 if "bf16" in how else torch.float64
    model = copy.deepcopy(start).to(dtype)
    lora = next((options for key, options in LORA.items() if key in how), None)
    if lora is None:
        reference = Copy(copy.deepcopy(start).to(dtype).requires_grad_(False))
        with torch.no_grad():
            next(reference.module.parameters()).mul_(1.1)
    else:
        reference = AdapterOff(add_adapter(model, lora, seed=0))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:  # away from B = 0
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        model if "bf16" in how else model.double()
    if "recomputed" in how:
        recompute_layers(model)
    return model, reference


def sharded(module, accelerator):
    """Divide a module, and look at what a process holds then."""
    kinds = [parameter.requires_grad for parameter in module.parameters()]
    before = [weakref.ref(parameter) for parameter in module.parameters()]
    shard(module, accelerator)
    gc.collect()
    assert not any(parameter() is not None for parameter in before)  # nobody keeps the whole weights
    assert is_sharded(module)
    assert all(isinstance(parameter, DTensor) for parameter in module.parameters())
    assert kinds == [parameter.requires_grad for parameter in module.parameters()]
    held = sum(p.to_local().numel() for p in module.parameters())
    assert held < 0.51 * sum(p.numel() for p in module.parameters())


def updates_of(case, start, tokenizer, env):
    """Gradients of two updates, the weights after them, and the metrics of every process."""
    name, *how = case.split()
    state = PartialState()
    groups = judged_rollouts(start, tokenizer, env, prompts=9, group_size=4)
    if "silent" in how:
        groups = [scored(g, [1.0] * 4) if i % 2 else g for i, g in enumerate(groups)]
    if "rows" in how:
        groups = in_rows(groups)
    model, reference = policy_of(start, how)
    frozen = {name: weight.detach().clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    settings = {"updates_per_rollout": 2, "max_grad_norm": 0.004} | ({} if "packed" in how else {"micro_batch_size": 3})
    if state.num_processes > 1:
        accelerator = make_updates(fg.get_objective(name), model, reference).updater.accelerator
        for module in (model, *([reference.module] if isinstance(reference, Copy) else [])):
            sharded(module, accelerator)
    updates = make_updates(fg.get_objective(name), model, reference, 3e-3, **settings)
    if "packed" in how:
        updates.updater.passes.share_prompts = "always"
    gradients, passes = [], []
    updates.optimizer.register_step_pre_hook(lambda *_: gradients.append(flat(model, "grad")))
    norm = model.get_decoder().layers[0].input_layernorm
    norm.register_forward_hook(lambda *_: passes.append(1) if torch.is_grad_enabled() else None)
    rows = rows_of(name, groups, tokenizer)
    sums = [reference.checksum()]
    lines = gather_object([updates.run(1, own(rows, state))])
    assert all(isinstance(p, DTensor) for p in model.parameters()) == (state.num_processes > 1)
    assert not reference.tied(model)
    sums.append(reference.checksum())
    after = dict(model.named_parameters())
    assert frozen.keys() == {name for name, weight in after.items() if not weight.requires_grad}
    moved = [name for name, weight in frozen.items() if not torch.equal(full(after[name].detach()), weight)]
    with whole(model):
        assert not any(isinstance(parameter, DTensor) for parameter in model.parameters())
    weights = flat(model)
    with torch.no_grad():  # a weight of the reference that changes in the part of one process
        kept = next(model.get_decoder().layers[0].mlp.parameters()) if frozen else next(reference.module.parameters())
        local(kept).add_(float(state.process_index + 1 == state.num_processes))
    planted = gather_object([reference.checksum() != sums[1]])
    return {
        "gradients": gradients, "weights": weights, "lines": lines, "sums": sums, "frozen": len(frozen),
        "moved": moved, "planted": planted, "passes": sum(gather_object(passes)),
    }  # fmt: skip


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
