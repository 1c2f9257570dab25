"""Objectives that select tokens get the log-probs of the whole step's tokens."""

import copy
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym_accelerate.streams import rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater


def test_prepare_gets_each_responses_tokens_in_order(tiny):
    model, tokenizer, env = tiny
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:4], 3, engine.sampling(0))
    updater = Updater(fg.get_objective("kl-cov"), model, None, Accelerator(cpu=True), micro_batch_size=5)
    stream = rollout_stream(groups, tokenizer.pad_token_id)
    updater.score_policy(stream)
    whole, _ = whole_groups(groups, stream)
    trajectories = [t for group in groups for t in group.trajectories]
    assert whole.policy_tokens.shape == (12, max(sum(t.loss_mask) for t in trajectories))
    for row, trajectory in enumerate(trajectories):
        sampled = [x for x, kept in zip(trajectory.logprobs, trajectory.loss_mask, strict=True) if kept]
        count = len(sampled)
        torch.testing.assert_close(whole.old_tokens[row, :count], torch.tensor(sampled).double(), rtol=0, atol=1e-6)
        # The policy is the one that sampled.
        torch.testing.assert_close(whole.policy_tokens[row, :count], whole.old_tokens[row, :count], rtol=0, atol=1e-4)
        assert bool(whole.policy_tokens[row, count:].isnan().all())
        assert bool(whole.old_tokens[row, count:].isnan().all())


def test_other_objectives_do_not_cost_the_pass(tiny):
    model, tokenizer, env = tiny
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:2], 2, engine.sampling(0))
    stream = rollout_stream(groups, tokenizer.pad_token_id)
    Updater(fg.get_objective("dapo"), model, None, Accelerator(cpu=True)).score_policy(stream)
    whole, _ = whole_groups(groups, stream)
    assert stream.policy_tokens is None
    assert whole.policy_tokens is None
    assert whole.old_tokens is None


@pytest.mark.parametrize(("name", "options"), [("clip-cov", {"covariance_low": 0.0}), ("kl-cov", {})])
def test_the_gradient_does_not_depend_on_the_micro_batch(tiny, name, options):
    model, tokenizer, env = tiny
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:4], 3, engine.sampling(0))
    groups = [replace(g, trajectories=tuple(scored(t, i) for i, t in enumerate(g.trajectories))) for g in groups]
    policy, gradients = copy.deepcopy(model), []
    with torch.no_grad():  # away from the sampling policy, so that the penalty has a gradient
        generator = torch.Generator().manual_seed(0)
        for p in policy.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))
    for size, share in ((100, 0.3), (1, 0.3), (100, 1e-6)):
        objective = fg.get_objective(name, share=share, **options)
        updater = Updater(objective, policy, None, Accelerator(cpu=True), micro_batch_size=size)
        stream = rollout_stream(groups, tokenizer.pad_token_id)
        updater.score_policy(stream)
        whole, own = whole_groups(groups, stream)
        policy.zero_grad()
        updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    together, split, fewer = gradients
    assert float((split - together).norm() / together.norm()) < 1e-5
    assert float((fewer - together).norm() / together.norm()) > 1e-2


def scored(trajectory, i):
    return replace(trajectory, verdict=fg.Verdict.scored(float(i == 0)))
