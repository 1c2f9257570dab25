"""Computes one step's gradient on as many processes as there are, and saves it: run by test_parallel.py."""

import atexit
import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym.models import LoraOptions, add_adapter
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import build
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.reference import AdapterOff, Copy
from fdiv_gym_accelerate.streams import rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater


def main(output: Path, objective_name: str, *options: str) -> None:
    atexit.register(no_thread_of_gloo_is_left)  # called after the handlers that are registered later
    accelerator = Accelerator(cpu=True)
    close_at_exit()
    model, tokenizer = build(EmbeddedModelConfig(layers=1, heads=1))
    reference, _ = build(EmbeddedModelConfig(layers=1, heads=1, seed=1))
    env = fg.make("math/Addition-v0", digits=1)
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:6], 3, engine.sampling(0))
    scores = iter(torch.rand(18, generator=torch.Generator().manual_seed(0)).tolist())
    judged = [fg.TrajectoryGroup(g.task, tuple(replaced(t, next(scores)) for t in g.trajectories)) for g in groups]
    own_groups = judged[accelerator.process_index :: accelerator.num_processes]
    objective = fg.get_objective(objective_name)
    kept = adapter_off(model) if "lora" in options else Copy(reference)
    # Two processes pack other rows than one: to compare sums to 1e-6, each row has its own prompt.
    passes = Passes(accelerator, 2, share_prompts="never")
    updater = Updater(objective, model, kept, accelerator, passes=passes)
    stream = rollout_stream(own_groups, tokenizer.pad_token_id)
    updater.score_in_advance(stream)
    updater.score_policy(stream)
    whole, own = whole_groups(own_groups, stream)
    told = updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    if accelerator.is_main_process:
        torch.save({"gradient": gradient, "loss": told.loss, "processes": accelerator.num_processes}, output)


def adapter_off(model):
    """The reference of a model that gets an adapter here, away from zero."""
    handle = add_adapter(model, LoraOptions(rank=4), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return AdapterOff(handle)


def no_thread_of_gloo_is_left():
    """Such a thread aborts the interpreter now and then while it ends."""
    left = [Path(f"/proc/self/task/{thread}/comm").read_text() for thread in os.listdir("/proc/self/task")]
    if any("gloo" in name for name in left):
        print("threads left:", left, file=sys.stderr, flush=True)
        os._exit(3)


def replaced(trajectory, score):
    from dataclasses import replace

    return replace(trajectory, verdict=fg.Verdict.scored(score))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
