"""Several updates of one rollout batch: what each update gets, and the size of its gradient."""

import copy
from types import SimpleNamespace

import accelerate.utils
import numpy as np
import pytest
import torch
from test_updates import preference_rows
from updates_harness import Recorder, make_updates, numbers_of

import fdiv_gym as fg
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.ratios import Ratios
from fdiv_gym_accelerate.streams import rollout_stream
from fdiv_gym_accelerate.update import Gradients, Updater


def step_rows(groups, tokenizer):
    return StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)


def test_recomputed_log_probs_are_those_before_the_first_update(tiny, groups):
    """The losses of four stale policies by hand; the start has left the policy that sampled."""
    model = copy.deepcopy(tiny[0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    start, recorder, rows = copy.deepcopy(model), Recorder(model), step_rows(groups, tiny[1])
    settings = {"updates_per_rollout": 2, "minibatches": 2, "old_logps": "recomputed"}
    updates = make_updates(
        fg.get_objective("grpo", beta=0.0, advantage="batch"), model, None, 1e-3, recorder, **settings
    )
    line = updates.run(1, rows)
    rewards = np.array([g.rewards for g in groups], dtype=float)
    advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    place = {id(group): i for i, group in enumerate(groups)}
    parts = [part for update in range(2) for part in mini_batches(rows, 2, 0, "minibatches", 1, update, 0)]
    losses = []
    for part, stale in zip(parts, recorder.models, strict=True):
        total = 0.0
        for group in part.groups:
            pairs = zip(numbers_of(stale, group), numbers_of(start, group), strict=True)
            for ((now, _), (old, _)), a in zip(pairs, advantages[place[id(group)]], strict=True):
                rho = np.exp(now - old)
                total -= np.minimum(rho * a, np.clip(rho, 0.8, 1.2) * a).mean()
        losses.append(total / (8 * 8))
    assert line["loss"] == pytest.approx(np.mean(losses), rel=1e-3, abs=1e-5)
    ratios = [
        now - old
        for g in parts[-1].groups
        for (now, _), (old, _) in zip(numbers_of(recorder.models[-1], g), numbers_of(start, g), strict=True)
    ]
    tokens = np.concatenate(ratios)
    assert line["ratio/kl_old"] == pytest.approx(np.mean(np.exp(tokens) - 1 - tokens), rel=1e-3)
    assert line["ratio/kl_old"] > 1e-4


def test_the_gradient_of_every_update_is_clipped(tiny, groups):
    model = copy.deepcopy(tiny[0])
    settings = {"updates_per_rollout": 2, "minibatches": 2, "max_grad_norm": 0.01}
    updates, norms = make_updates(fg.get_objective("rloo"), model, None, **settings), []
    updates.optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            float(sum(p.grad.pow(2).sum() for p in model.parameters() if p.grad is not None)) ** 0.5
        )
    )
    line = updates.run(1, step_rows(groups, tiny[1]))
    assert line["grad_norm"] > 0.1
    assert norms == pytest.approx([0.01] * 4, rel=1e-3)


def test_objectives_that_select_tokens_see_the_current_policy_in_every_pass(tiny, groups):
    model = copy.deepcopy(tiny[0])
    objective, recorder, seen = fg.get_objective("clip-cov"), Recorder(model), []
    prepare = objective.prepare

    def recorded(groups, preferences):
        seen.append(groups)
        return prepare(groups, preferences)

    objective.prepare = recorded
    for minibatches in (1, 2):
        seen.clear()
        recorder.models.clear()
        rows = step_rows(groups, tiny[1])
        settings = {"updates_per_rollout": 2, "minibatches": minibatches}
        make_updates(objective, model, None, 1e-3, recorder, **settings).run(1, rows)
        parts = [p for u in range(2) for p in mini_batches(rows, minibatches, 0, "minibatches", 1, u, 0)]
        for whole, then, part in zip(seen, recorder.models, parts, strict=True):
            pairs = [pair for group in part.groups for pair in numbers_of(then, group)]
            for i, (now, _) in enumerate(pairs):
                assert whole.policy_tokens[i, : len(now)].tolist() == pytest.approx(now.tolist(), abs=1e-4)
        first, last = (numbers_of(m, groups[0])[0][0] for m in (recorder.models[0], recorder.models[-1]))
        assert np.abs(first - last).max() > 1e-2


def test_each_mini_batch_of_f_hal_has_its_own_rollouts_and_preferences(tiny, groups):
    preferences = preference_rows(groups, tiny[1].pad_token_id)
    streams = {**step_rows(groups, tiny[1]).streams, **preferences.streams}
    rows, objective, seen = StepRows(streams, groups, preferences.chosen), fg.get_objective("f-hal"), []
    prepare = objective.prepare

    def recorded(whole, pairs):
        seen.append((whole, pairs))
        return prepare(whole, pairs)

    objective.prepare = recorded
    model = copy.deepcopy(tiny[0])
    line = make_updates(objective, model, tiny[0], updates_per_rollout=2, minibatches=2).run(1, rows)
    assert line["updates/count"] == len(seen) == 4
    for whole, pairs in seen:
        assert whole.count == 8
        assert int(pairs.unit.max()) + 1 == 16  # of 32 units: 16 pairs and 16 single responses
    for one, two in (seen[:2], seen[2:]):
        lengths = [n for _, pairs in (one, two) for n in pairs.lengths.tolist()]
        assert sorted(lengths) == sorted(streams["preferences"].lengths.tolist())
        chosen = sum(int(pairs.chosen.sum()) for _, pairs in (one, two))
        assert chosen == sum(preferences.chosen)


def test_the_shuffle_depends_on_the_step_and_the_pass(tiny, groups):
    objective, rows = fg.get_objective("dapo"), step_rows(groups, tiny[1])
    updates = make_updates(objective, copy.deepcopy(tiny[0]), None, updates_per_rollout=2, minibatches=4)

    def orders(step):
        parts = list(updates._parts(step, rows))
        passes = parts[:4], parts[4:]
        return [tuple(rows.groups.index(group) for part in half for group in part.groups) for half in passes]

    assert len({*orders(1), *orders(2)}) == 4
    assert orders(1) == orders(1)


def test_ratios_are_summed_over_processes(tiny, monkeypatch):
    """Another process with 30 tokens: every process compares max_kl with the same number."""
    other = {"tokens": 30.0, "k3": 6.0, "responses": 5.0, "ratio": 6.0, "squared": 8.0}
    monkeypatch.setattr(accelerate.utils, "gather_object", lambda own: [*own, other if own[0] else {}])
    two = SimpleNamespace(num_processes=2, reduce=lambda gradient, reduction: gradient)
    own = Ratios({"tokens": 10.0, "k3": 1.0, "responses": 3.0, "ratio": 3.0, "squared": 3.5})
    result = Gradients(ratios=own)
    Updater(fg.get_objective("dapo"), copy.deepcopy(tiny[0]), None, two)._reduce(result)
    assert result.ratios.kl == pytest.approx(7 / 40)
    assert result.ratios.line()["ratio/effective_sample_size"] == pytest.approx(9**2 / (8 * 11.5))


def test_preferences_keep_their_labels_in_a_mini_batch(tiny, groups):
    """Which rows are chosen is found again by their token ids."""
    rows = preference_rows(groups, tiny[1].pad_token_id)
    whole = rows.streams["preferences"].padded
    labels = {}
    for ids, chosen in zip(whole.ids.tolist(), rows.chosen, strict=True):
        labels.setdefault(tuple(ids), set()).add(chosen)
    known, orders = 0, set()
    for part in mini_batches(rows, 3, 0, "minibatches", 1, 0, 0):
        gathered = part.gathered().preferences
        padded = part.streams["preferences"].padded
        for ids, chosen in zip(padded.ids.tolist(), gathered.chosen.tolist(), strict=True):
            assert chosen in labels[tuple(ids)]
            known += len(labels[tuple(ids)]) == 1
        orders.add(tuple(gathered.chosen.tolist()))
        for unit in part.streams["preferences"].units:
            assert gathered.chosen[unit].tolist() == ([True, False] if len(unit) == 2 else [True])
    assert known > 20
    assert len(orders) > 1
