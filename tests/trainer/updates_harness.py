"""Several updates on one fixed rollout batch, for test_updates.py and the scripts that run on two processes."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.models.embedded import character_tokenizer
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym_accelerate.agreement import Agreement
from fdiv_gym_accelerate.callbacks import Callbacks
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import Bound
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.reference import Copy, Reference
from fdiv_gym_accelerate.rollout_batch import BatchUpdates
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.streams import rollout_stream
from fdiv_gym_accelerate.update import Updater


def judged_rollouts(model, tokenizer, env, prompts, group_size):
    """Rollouts of the model; their scores are drawn by a fixed seed, since a tiny model is never right."""
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    tasks = env.task_list("train")[:prompts]
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), tasks, group_size, engine.sampling(0))
    scores = iter(torch.randint(2, (prompts * group_size,), generator=torch.Generator().manual_seed(0)).tolist())
    return [scored(group, [float(next(scores)) for _ in group.trajectories]) for group in groups]


def scored(group, scores):
    """The group with these scores; None leaves a response without one."""
    verdicts = [fg.Verdict.unscorable("?") if s is None else fg.Verdict.scored(s) for s in scores]
    trajectories = [replace(t, verdict=v) for t, v in zip(group.trajectories, verdicts, strict=True)]
    return replace(group, trajectories=tuple(trajectories))


def make_updates(
    objective, model, reference, learning_rate=1e-3, observer=None, messages=None, tokenizer=None, **settings
):
    """The trainer's own class, with AdamW at a constant learning rate: the warm-up is over.

    ``reference`` is a model of its own, or any reference of the trainer.
    """
    accelerator = Accelerator(cpu=True)
    options = TrainerOptions(**settings)
    frozen = reference if reference is None or isinstance(reference, Reference) else Copy(reference)
    updater = Updater(objective, model, frozen, accelerator, micro_batch_size=options.micro_batch_size)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    told = [] if messages is None else messages
    callbacks = Callbacks([] if observer is None else [observer], told.append)
    events = EventLog(options.event_policies, told.append, several=accelerator.num_processes > 1)
    bound = Bound(options.logprob_tolerance or math.inf, "the test")  # most tests begin with a policy that has moved
    agreement = Agreement(updater, tokenizer or character_tokenizer(), bound, options, events)
    return BatchUpdates(updater, optimizer, options, 0, callbacks, told.append, events, agreement)


def trained(objective, start, groups, tokenizer, reference=None, dtype=torch.float32, **settings):
    """The change of the weights [n] by one step on ``groups``, and the step's metrics; ``start`` is not changed."""
    model = copy.deepcopy(start).to(dtype)
    reference = copy.deepcopy(start if reference is None else reference).to(dtype)
    before = weights_of(model)
    updates = make_updates(objective, model, reference, tokenizer=tokenizer, **settings)
    line = updates.run(1, StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups))
    return weights_of(model) - before, line


def weights_of(model):
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


class Recorder(fg.Callback):
    """Keeps the weights before each update."""

    fatal = True

    def __init__(self, model):
        super().__init__()
        self.model, self.models = model, []

    def after_advantages(self, step, coefficients):
        self.models.append(copy.deepcopy(self.model))


def numbers_of(model, group):
    """Per response of a group: numpy token log-probs of an unpadded forward pass, and those at sampling time."""
    result = []
    for trajectory in group.trajectories:
        ids = torch.tensor([trajectory.token_ids])
        with torch.no_grad():
            logps = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
        places = [i for i, m in enumerate(trajectory.loss_mask) if m]
        now = np.array([float(logps[i - 1, trajectory.token_ids[i]]) for i in places])
        result.append((now, np.array([trajectory.logprobs[i] for i in places])))
    return result
