"""Several updates of one rollout batch: their losses by hand, their differences, and their mini-batches."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from updates_harness import Recorder, judged_rollouts, make_updates, numbers_of, trained, weights_of

import fdiv_gym as fg
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.ratios import Ratios, quantile
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream

CLIPPED = {
    "grpo": {"clip_low": 0.2, "clip_high": 0.2},
    "dapo": {},
    "dr-grpo": {"aggregation": {"name": "constant-length", "length": 4}},
    "gspo": {},
    "cispo": {"clip_high": 0.1},
}
UNCLIPPED = {
    "reinforce": {},
    "rloo": {},
    "grpo without clip": {"clip_low": 1.0, "clip_high": 1e9},
    "dapo without clip": {"clip_low": 1.0, "clip_high": 1e9},
}
FOUR_BY_FOUR = {"updates_per_rollout": 4, "minibatches": 4, "learning_rate": 3e-4}


def grpo_by_hand(model, group, advantages, _):
    """Sum over a group of (1/|y|) sum_t -min(rho A, clip(rho, .8, 1.2) A)."""
    total = 0.0
    for (now, old), a in zip(numbers_of(model, group), advantages, strict=True):
        rho = np.exp(now - old)
        total -= np.minimum(rho * a, np.clip(rho, 0.8, 1.2) * a).mean()
    return total


def f_grpo_by_hand(model, group, advantages, reference):
    """The sum of -a/(1 + 1/beta) psi(v) for Jensen-Shannon: g = log 2 - log(1 + e^-v), f*(g) = log(1 + e^v) - log 2."""
    total = 0.0
    for (now, old), (ref, _), a in zip(numbers_of(model, group), numbers_of(reference, group), advantages, strict=True):
        v = 0.1 * (now - ref).sum() + 0.5 * (now - old).sum()
        psi = np.log(2) - np.log1p(np.exp(-v)) if a > 0 else np.log1p(np.exp(v)) - np.log(2)
        total += -a / (1 + 1 / 0.1) * psi
    return total


@pytest.mark.parametrize(
    ("objective", "by_hand"),
    [
        (fg.get_objective("grpo", beta=0.0, advantage="batch"), grpo_by_hand),
        (fg.get_objective("f-grpo", divergence="jensen_shannon", gamma=0.5, advantage="batch"), f_grpo_by_hand),
    ],
)
def test_losses_of_a_stale_policy_are_those_computed_by_hand(tiny, groups, objective, by_hand):
    """2 x 2 updates; the baseline is that of all sixteen groups, the denominators are those of a mini-batch."""
    model, reference, tokenizer = copy.deepcopy(tiny[0]), tiny[0], tiny[1]
    recorder = Recorder(model)
    updates = make_updates(
        objective, model, copy.deepcopy(reference), 3e-4, recorder, updates_per_rollout=2, minibatches=2
    )
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    line = updates.run(1, rows)
    rewards = np.array([g.rewards for g in groups], dtype=float)
    advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    place = {id(group): i for i, group in enumerate(groups)}
    parts = [part for update in range(2) for part in mini_batches(rows, 2, 0, "minibatches", 1, update, 0)]
    losses = [
        sum(by_hand(stale, g, advantages[place[id(g)]], reference) for g in part.groups) / (8 * 8)
        for part, stale in zip(parts, recorder.models, strict=True)
    ]
    assert line["updates/count"] == 4
    assert line["loss"] == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-6)
    assert np.ptp(losses) > 1e-3  # the updates differ, so that a mean over fewer of them would be another number


def test_ratio_metrics_are_those_computed_by_hand(tiny, groups):
    """They describe the forward passes before the step's last update, on its mini-batch."""
    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    recorder = Recorder(model)
    updates = make_updates(fg.get_objective("dapo"), model, None, 1e-3, recorder, updates_per_rollout=3, minibatches=2)
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    line = updates.run(1, rows)
    last = list(mini_batches(rows, 2, 0, "minibatches", 1, 2, 0))[-1]
    pairs = [pair for group in last.groups for pair in numbers_of(recorder.models[-1], group)]
    tokens = np.concatenate([now - old for now, old in pairs])
    responses = np.exp(np.array([(now - old).sum() for now, old in pairs]))
    assert line["ratio/kl_old"] == pytest.approx(np.mean(np.exp(tokens) - 1 - tokens), rel=1e-3)
    assert line["ratio/effective_sample_size"] == pytest.approx(responses.mean() ** 2 / (responses**2).mean(), rel=1e-3)
    for key, q in (("ratio/p01", 1), ("ratio/p50", 50), ("ratio/p99", 99)):
        assert line[key] == pytest.approx(np.exp(np.percentile(tokens, q, method="inverted_cdf")), rel=1e-3)
    assert line["engine/logprob_gap"] < 1e-4 < np.abs(tokens).max()  # measured before the first update
    assert Ratios().line() == {}
    assert float(quantile(torch.tensor([3.0, 1.0, 2.0]), 0.5)) == 2.0


def test_clipped_objectives_are_different_objectives(tiny_without_errors):
    """4 x 4 on one rollout batch at the default learning rate; the warm-up is over."""
    model, tokenizer, _ = tiny_without_errors
    groups = judged_rollouts(*tiny_without_errors, prompts=16, group_size=8)
    moved, lines = {}, {}
    for name, options in {**CLIPPED, **UNCLIPPED}.items():
        objective = fg.get_objective(name.split()[0], **options)
        moved[name], lines[name] = trained(objective, model, groups, tokenizer, **FOUR_BY_FOUR)
        again, _ = trained(objective, model, groups, tokenizer, **FOUR_BY_FOUR)
        assert float((moved[name] - again).norm()) == 0.0
        # A mini-batch whose tokens are all beyond the bounds has no gradient, and takes no optimizer step.
        assert lines[name]["updates/count"] in ((15, 16) if name in CLIPPED else (16,))
    for one, other in itertools.combinations(moved, 2):
        if one in CLIPPED:
            largest = max(float(moved[one].norm()), float(moved[other].norm()))
            assert float((moved[one] - moved[other]).norm()) > 0.1 * largest, (one, other)
    assert all(lines[name]["rollouts/clipped"] > 0 for name in CLIPPED)


def test_one_update_cannot_tell_two_clipping_ranges_apart(tiny, groups):
    """The control of the test above: at 1 x 1 the ratio is 1, and no clip binds."""
    model, tokenizer, _ = tiny
    narrow, line = trained(fg.get_objective("dapo", clip_high=0.01), model, groups, tokenizer)
    wide, _ = trained(fg.get_objective("dapo", clip_high=0.28), model, groups, tokenizer)
    assert torch.equal(narrow, wide)
    assert line["rollouts/clipped"] == 0.0
    assert line["ratio/kl_old"] < 1e-9


def test_groups_are_never_divided_and_every_pass_covers_all(tiny, groups):
    rows = StepRows({"rollouts": rollout_stream(groups[:7], tiny[1].pad_token_id)}, groups[:7])
    orders = []
    for update in range(2):
        parts = list(mini_batches(rows, 3, 0, "minibatches", 1, update, 0))
        assert sorted(len(part.groups) for part in parts) == [2, 2, 3]
        orders.append([id(group) for part in parts for group in part.groups])
        assert set(orders[-1]) == {id(group) for group in groups[:7]}
        for part in parts:
            whole = part.gathered().groups
            assert whole.sizes.tolist() == [8.0] * 8 * len(part.groups)
            assert whole.rewards.tolist() == [r for g in part.groups for r in g.rewards]
            expected = [len(t.token_ids) for g in part.groups for t in g.trajectories]
            assert part.streams["rollouts"].padded.attention.sum(-1).tolist() == expected
    assert orders[0] != orders[1]
    assert list(mini_batches(rows, 1, 0)) == [rows]


def preference_rows(groups, pad_token):
    """A pair from each group's first two responses, and a labelled single response from its third."""
    stream = rollout_stream([fg.TrajectoryGroup(g.task, g.trajectories[:3]) for g in groups], pad_token)
    units = [unit for i in range(0, 3 * len(groups), 3) for unit in ([i, i + 1], [i + 2])]
    stream.padded = type(stream.padded)(stream.padded.ids, stream.padded.attention, stream.padded.mask, None)
    return StepRows({"preferences": StreamBatch(stream.padded, units)}, chosen=[True, False, True] * len(groups))


class WithoutEffect(type(fg.get_objective("kto"))):
    """The loss has a derivative, which is 0."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return dataclasses.replace(output, loss=output.loss * 0.0)


def test_preferences_without_a_gradient_are_noticed_at_the_first_step(tiny, groups):
    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    for objective, step, expected in ((WithoutEffect(), 1, True), (WithoutEffect(), 2, False), (None, 1, False)):
        updates = make_updates(objective or fg.get_objective("kto"), model, copy.deepcopy(model))
        updates.run(step, preference_rows(groups, tokenizer.pad_token_id))
        found = updates.events.records(step)
        assert [event["name"] for event in found] == ["no_gradient"] * expected
        assert all("although this first step has preferences" in event["message"] for event in found)


@pytest.mark.parametrize("name", ["kldo", "bco"])
def test_preferences_are_divided_and_seen_by_the_current_policy(tiny, groups, name):
    """prepare gets the log-probs of the weights that the update starts from, on whole units."""
    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    rows = preference_rows(groups, tokenizer.pad_token_id)
    objective, seen = fg.get_objective(name), []
    prepare = objective.prepare

    def recorded(groups, preferences):
        seen.append((preferences, copy.deepcopy(model)))
        return prepare(groups, preferences)

    objective.prepare = recorded
    settings = {"updates_per_rollout": 2, "minibatches": 3}
    line = make_updates(objective, model, copy.deepcopy(model), 1e-3, **settings).run(1, rows)
    assert line["updates/count"] == len(seen) == 6
    parts = [part for update in range(2) for part in mini_batches(rows, 3, 0, "minibatches", 1, update, 0)]
    for (preferences, then), part in zip(seen, parts, strict=True):
        sizes = torch.bincount(preferences.unit)
        assert sizes.tolist() == [len(unit) for unit in part.streams["preferences"].units]
        assert 10 <= len(sizes) <= 11
        by_hand = []
        padded = part.streams["preferences"].padded
        for ids, attention, mask in zip(padded.ids, padded.attention, padded.mask, strict=True):
            length = int(attention.sum())
            with torch.no_grad():
                logps = torch.log_softmax(then(input_ids=ids[None, :length]).logits[0, :-1], -1)
            chosen = logps.gather(-1, ids[1:length, None])[:, 0]
            by_hand.append(float(chosen[mask[: length - 1]].sum()))
        assert preferences.policy_logps.tolist() == pytest.approx(by_hand, abs=1e-4)
    assert float((weights_of(seen[-1][1]) - weights_of(seen[0][1])).norm()) > 1e-3
