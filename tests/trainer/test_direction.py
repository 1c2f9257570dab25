"""The direction of the reward: 1 for every objective of ours, anywhere, and -1 where a sign is wrong."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from accelerate import Accelerator
from updates_harness import judged_rollouts, scored, trained

import fdiv_gym as fg
from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer
from fdiv_gym_accelerate.direction import reflected, reward_direction
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.policy import Row
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream

ROLLOUTS = [e.name for e in fg.list_entries("objective") if "rollouts" in fg.get_objective(e.name).streams]
DIVERGENCES = [e.name for e in fg.list_entries("divergence") if e.distribution == "fdiv-gym"]


@pytest.fixture(scope="module")
def started():
    """Policy, tokenizer, and four groups of eight with drawn scores, one group without a score."""
    model, tokenizer = tiny_model(), tiny_tokenizer()
    groups = judged_rollouts(model, tokenizer, fg.make("math/Addition-v0", digits=1), 4, 8)
    return model, tokenizer, [*groups[:3], scored(groups[3], [None, 1.0, *[0.25] * 6])]


def rows_of(started, drift):
    """Rows of both streams with a reference whose weights differ by ``drift`` of their spread."""
    model, tokenizer, groups = started
    reference, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(drift * weight.std() * torch.randn(weight.shape, generator=generator))
    rollouts = rollout_stream(groups, tokenizer.pad_token_id)
    pairs = [Row(range(3, 9), [False, False, True, True, True, True]), Row(range(8, 3, -1), [False, *[True] * 4])]
    preferences = StreamBatch.of(pairs * 2, [[0, 1], [2, 3]], tokenizer.pad_token_id)
    for stream in (rollouts, preferences):
        stream.ref_logps = Passes(Accelerator(cpu=True)).all_rows(reference, stream, 1.0)
    return StepRows({"rollouts": rollouts, "preferences": preferences}, groups, [True, False] * 2)


def direction(objective, rows, micro_batch=5):
    streams = {name: rows.streams[name] for name in objective.streams}
    agreeing, pushed = reward_direction(objective, dataclasses.replace(rows, streams=streams), micro_batch)
    return agreeing / pushed


@pytest.mark.parametrize("drift", [0.0, 0.3, 1.0])
def test_every_registered_objective_is_right(started, drift):
    rows = rows_of(started, drift)
    assert {name: direction(fg.get_objective(name), rows) for name in ROLLOUTS} == {
        name: pytest.approx(1.0) for name in ROLLOUTS
    }
    assert {"f-hal", "f-grpo", "grpo", "kl-cov"} <= set(ROLLOUTS)
    for name in DIVERGENCES:
        for weighting in ("uniform", "softmax"):
            objective = fg.get_objective("f-grpo", divergence=name, weighting=weighting)
            assert direction(objective, rows) == pytest.approx(1.0), (name, weighting)


def test_a_large_penalty_does_not_hide_the_sign(started):
    """Alone, the penalty's pull on these rows is many times the reward's."""
    rows = rows_of(started, 1.0)
    objective = fg.get_objective("grpo", beta=50.0)
    assert direction(objective, rows) == pytest.approx(1.0)

    class Flipped(type(objective)):
        def prepare(self, groups, preferences):
            return super().prepare(dataclasses.replace(groups, rewards=-groups.rewards), preferences)

    assert direction(Flipped(beta=50.0), rows) == pytest.approx(-1.0)


def test_equal_groups_and_losses_without_gradient_are_not_measured(started):
    _, tokenizer, groups = started
    equal = [scored(group, [1.0] * 8) for group in groups]
    rows = StepRows({"rollouts": rollout_stream(equal, tokenizer.pad_token_id)}, equal)
    assert reward_direction(fg.get_objective("rloo"), rows, 64) == (0.0, 0.0)

    class Still(type(fg.get_objective("rloo"))):
        def loss(self, stream, batch):
            return dataclasses.replace(super().loss(stream, batch), loss=0.0 * batch.logps.sum())

    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    assert reward_direction(Still(), rows, 64) == (0.0, 0.0)


def test_rewards_are_reflected_within_their_group():
    rewards = torch.tensor([0.0, 1.0, 0.25, torch.nan, 3.0, 5.0], dtype=torch.float64)
    groups = fg.GroupBatch.of_equal_size(rewards, 3)
    assert torch.equal(reflected(groups).nan_to_num(-9), torch.tensor([1.0, 0.0, 0.75, -9, 5.0, 3.0]).double())


def test_every_objective_has_a_gradient_on_mixed_groups(started):
    model, tokenizer, groups = started
    for name in ROLLOUTS:
        objective = fg.get_objective(name)
        if objective.streams == ("rollouts",):
            _, line = trained(objective, model, groups, tokenizer)
            assert (line["updates/count"], line["grad_norm"] > 0) == (1, True), name
