"""The gradient of a step: closed form at the reference, and the same under any split."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.registry import check_output
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.reference import Copy
from fdiv_gym_accelerate.streams import rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater

LINKS = [
    ("kl", "calibrated", True), ("kl", "fgan", False), ("reverse_kl", "", True), ("pearson", "", True),
    ("hellinger", "", True), ("jensen_shannon", "", True), ("total_variation", "", True),
]  # fmt: skip


@pytest.fixture(scope="module")
def rollouts(tiny):
    model, tokenizer, env = tiny
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(model, tokenizer)
    groups = run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:12], 5, engine.sampling(0))
    # The tiny model is never right: scores of our own make the groups mixed.
    return [scored_by_hand(group, i) for i, group in enumerate(groups)]


def scored_by_hand(group, i):
    trajectories = [
        replace(t, verdict=fg.Verdict.scored(float((i + k) % 3 == 0))) for k, t in enumerate(group.trajectories)
    ]
    return replace(group, trajectories=tuple(trajectories))


def gradient(objective, model, reference, groups, tokenizer, micro_batch_size):
    """The flat gradient and what `accumulate` reported."""
    accelerator, exact = Accelerator(cpu=True), next(model.parameters()).dtype == torch.float64
    # The model's norms compute in fp32 also in fp64 weights: to compare to 1e-12, each row is computed on its own.
    passes = Passes(accelerator, micro_batch_size, share_prompts="never" if exact else "auto")
    updater = Updater(objective, model, Copy(reference), accelerator, passes=passes)
    stream = rollout_stream(groups, tokenizer.pad_token_id)
    updater.score_in_advance(stream)
    if next(model.parameters()).dtype == torch.float64:
        stream.ref_logps = stream.ref_logps.double()
    whole, own = whole_groups(groups, stream)
    model.zero_grad()
    told = updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return flat.clone(), told


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("divergence", ["pearson", "jensen_shannon"])
def test_micro_batches_change_nothing(tiny, rollouts, dtype, bound, divergence):
    model, tokenizer, _ = tiny
    policy, reference = copy.deepcopy(model).to(dtype), copy.deepcopy(model).to(dtype)
    with torch.no_grad():  # away from the reference, so that the branches differ
        generator = torch.Generator().manual_seed(0)
        for p in policy.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator).to(dtype))
    objective = fg.get_objective("f-grpo", divergence=divergence, gamma=0.5, weighting="softmax")
    full, told = gradient(objective, policy, reference, rollouts, tokenizer, 10_000)
    assert float(full.norm()) > 0
    for size in (1, 3, 7):
        split, told_split = gradient(objective, policy, reference, rollouts, tokenizer, size)
        assert float((split - full).norm() / full.norm()) < bound
        assert math.isclose(told.loss, told_split.loss, rel_tol=max(bound, 1e-12) * 100)


@pytest.mark.parametrize(("divergence", "link", "equal"), LINKS)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_gradient_at_the_reference_is_the_closed_form(tiny, rollouts, divergence, link, equal, gamma):
    """(beta + gamma) g'(0)/(1 + 1/beta) times the gradient of -mean(a log pi), for calibrated links."""
    model, tokenizer, _ = tiny
    policy, reference = copy.deepcopy(model).double(), copy.deepcopy(model).double()
    beta = 0.1
    objective = fg.get_objective("f-grpo", divergence=divergence, link=link, beta=beta, gamma=gamma)
    actual, told = gradient(objective, policy, reference, rollouts, tokenizer, 16)
    assert told.gap.largest < 1e-4  # pi_old = pi_ref = pi

    stream = rollout_stream(rollouts, tokenizer.pad_token_id)
    rewards = torch.tensor([r for g in rollouts for r in g.rewards], dtype=torch.float64)
    advantages = fg.functional.group_advantages(rewards, 5)
    from fdiv_gym_accelerate.policy import token_logps

    policy.zero_grad()
    logps = torch.where(stream.padded.mask, token_logps(policy, stream.padded, 1.0), 0.0).sum(-1)
    (-(advantages * logps).mean()).backward()
    plain = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    slope = 0.5 if divergence in ("jensen_shannon", "total_variation") else 1.0
    expected = (beta + gamma) * slope / (1 + 1 / beta) * plain
    error = float((actual - expected).norm() / expected.norm())
    # Old log-probs were sampled in fp32; with gamma they enter v, hence the bound.
    assert (error < 1e-5) == equal
    if not equal:
        assert error > 0.05


def test_all_equal_groups_cost_no_forward_pass_and_give_no_gradient(tiny, rollouts):
    model, tokenizer, _ = tiny
    same = [
        replace(g, trajectories=tuple(replace(t, verdict=fg.Verdict.scored(0.1)) for t in g.trajectories))
        for g in rollouts
    ]
    policy = copy.deepcopy(model)
    calls = []
    policy.register_forward_pre_hook(lambda *_: calls.append(1))
    objective = fg.get_objective("f-grpo")
    updater = Updater(objective, policy, Copy(model), Accelerator(cpu=True))
    stream = rollout_stream(same, tokenizer.pad_token_id)
    updater.score_in_advance(stream)
    whole, own = whole_groups(same, stream)
    told = updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
    assert (told.loss, calls) == (0.0, [])


def test_unscored_responses_take_no_part(tiny, rollouts):
    """Making one response unscorable gives the gradient of its group with that response left out of the baseline."""
    model, tokenizer, _ = tiny
    group = next(g for g in rollouts if len(set(g.rewards)) > 1)
    first = replace(group.trajectories[0], verdict=fg.Verdict.unscorable("?"))
    changed = replace(group, trajectories=(first, *group.trajectories[1:]))
    rewards = torch.tensor([math.nan, *group.rewards[1:]], dtype=torch.float64)
    advantages = fg.functional.group_advantages(rewards, 5)
    scored = rewards[1:]
    by_hand = (scored - scored.mean()) / (scored.std(correction=0) + 1e-6)
    assert advantages[0] == 0
    assert torch.allclose(advantages[1:], by_hand if scored.min() < scored.max() else torch.zeros(4).double())
    policy = copy.deepcopy(model).double()
    objective = fg.get_objective("f-grpo")
    flat, _ = gradient(objective, policy, copy.deepcopy(model).double(), [changed], tokenizer, 2)
    assert torch.isfinite(flat).all()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.tensor(1.0), "must return an ObjectiveOutput, got Tensor"),
        (fg.ObjectiveOutput(torch.ones(2, requires_grad=True)), r"scalar loss, got \(2,\)"),
        (fg.ObjectiveOutput(0.5), "scalar loss, got float"),
        (fg.ObjectiveOutput(torch.tensor(math.nan, requires_grad=True)), "returned the loss nan"),
        (fg.ObjectiveOutput(torch.tensor(1.0)), "without gradient"),
    ],
)
def test_a_broken_objective_is_named(output, message):
    with pytest.raises(fg.PluginError, match="objective 'f-grpo' .*" + message):
        check_output(fg.get_objective("f-grpo"), output)
