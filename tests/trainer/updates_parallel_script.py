"""Several updates on as many processes as there are; one process makes the mini-batches that two would make.

Run by test_parallel.py: saves the gradient of each update, its count and the metrics of every process.
"""

import copy
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from updates_harness import judged_rollouts, make_updates, scored

import fdiv_gym as fg
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import build
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.rollout_batch import BatchUpdates
from fdiv_gym_accelerate.streams import rollout_stream

#: name: objective, its options, whether the second process is without signal, settings of the trainer
CASES = {
    "f-grpo": ("f-grpo", {"gamma": 1.0, "advantage": "batch"}, False, {}),
    "dapo": ("dapo", {}, False, {"old_logps": "recomputed"}),
    "a process without signal": ("f-grpo", {}, True, {}),
    "corrected": (
        "dapo",
        {},
        False,
        {"old_logps": "recomputed", "correction": "sequence", "correction_lower": 0.75, "correction_upper": 1.2},
    ),
    "max_kl": ("grpo", {}, False, {"max_kl": 0.02}),
    "max_kl without signal": ("grpo", {"beta": 0.0}, True, {"max_kl": 0.01}),
}


class AsTwo(BatchUpdates):
    """One process with the mini-batches of two: each is the union of theirs."""

    def _parts(self, step, rows):
        for update in range(self.settings.updates_per_rollout):
            divided = [
                mini_batches(
                    own(rows, rank, 2), self.settings.minibatches, self.seed, "minibatches", step, update, rank
                )
                for rank in range(2)
            ]
            for parts in zip(*divided, strict=True):
                picked = [group for part in parts for group in part.groups]
                yield rows.part({"rollouts": [rows.groups.index(group) for group in picked]})


def own(rows, rank, processes):
    """The rows of one of several processes."""
    return rows.part({"rollouts": list(range(rank, len(rows.groups), processes))})


def updates_of(case, start, tokenizer, env):
    """The gradients of each update, and the metrics of every process."""
    name, options, silent, settings = CASES[case]
    groups = judged_rollouts(start, tokenizer, env, prompts=10, group_size=4)
    if case == "corrected":
        groups = [shifted(g, 0.02 * (i - 5)) for i, g in enumerate(groups)]
    if silent:
        groups = [scored(g, [1.0] * 4) if i % 2 else g for i, g in enumerate(groups)]
    model, reference = copy.deepcopy(start).double(), copy.deepcopy(start).double()
    settings = {"updates_per_rollout": 2, "minibatches": 3, "micro_batch_size": 3, "learning_rate": 3e-3} | settings
    updates = make_updates(fg.get_objective(name, **options), model, reference, **settings)
    gradients = []
    updates.optimizer.register_step_pre_hook(lambda *_: gradients.append(flat_gradient(model)))
    state = PartialState()
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    if state.num_processes == 1:
        updates = AsTwo(**vars(updates))
    else:
        rows = own(rows, state.process_index, state.num_processes)
    return gradients, gather_object([updates.run(1, rows)])


def shifted(group, offset):
    """The group with log-probs of the engine that are off by a constant."""
    trajectories = [
        replace(t, logprobs=tuple(p + offset * m for p, m in zip(t.logprobs, t.loss_mask, strict=True)))
        for t in group.trajectories
    ]
    return replace(group, trajectories=tuple(trajectories))


def disagreement(start, tokenizer, env):
    """Metrics and events of every process where the engine of the second process disagrees."""
    groups = judged_rollouts(start, tokenizer, env, prompts=4, group_size=4)
    groups = [shifted(g, -0.5) if i % 2 else g for i, g in enumerate(groups)]
    updates = make_updates(fg.get_objective("rloo"), copy.deepcopy(start), None, logprob_tolerance=1e-3)
    state = PartialState()
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    if state.num_processes > 1:
        rows = own(rows, state.process_index, state.num_processes)
    line = updates.run(1, rows)
    return gather_object([(line, updates.events.records(1))])


def flat_gradient(model):
    """All gradients as one vector; empty where an update is not taken."""
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(found).clone() if found else torch.empty(0)


def main(output: Path) -> None:
    state = PartialState(cpu=True)
    start, tokenizer = build(EmbeddedModelConfig(layers=1, heads=1))
    env = fg.make("math/Addition-v0", digits=1)
    result = {case: updates_of(case, start, tokenizer, env) for case in CASES}
    disagreed = disagreement(start, tokenizer, env)
    if state.is_main_process:
        torch.save({"processes": state.num_processes, "cases": result, "disagreement": disagreed}, output)
    close_at_exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
