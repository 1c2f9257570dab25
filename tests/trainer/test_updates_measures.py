"""Several updates of one rollout batch: what is measured on rows without gradient, and what the means cover."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from test_updates import preference_rows
from updates_harness import Recorder, make_updates, numbers_of, scored, trained, weights_of

import fdiv_gym as fg
from fdiv_gym.objectives import checked_advantages
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.streams import rollout_stream


def step_rows(groups, tokenizer):
    return StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)


def k3_and_share(model, groups):
    """Mean k3 over the tokens and effective sample size over the responses, of these groups."""
    pairs = [pair for group in groups for pair in numbers_of(model, group)]
    tokens = np.concatenate([now - old for now, old in pairs])
    ratios = np.exp([(now - old).sum() for now, old in pairs])
    return np.mean(np.exp(tokens) - 1 - tokens), ratios.mean() ** 2 / (ratios**2).mean()


def flat(groups):
    """The groups, each with one score for all its responses: no response has an advantage."""
    return [scored(group, [1.0] * len(group.trajectories)) for group in groups]


def moved(model):
    """The model with weights away from those that sampled."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


@pytest.mark.parametrize(("name", "options"), [("grpo", {"beta": 0.0}), ("f-grpo", {}), ("dapo", {})])
def test_ratios_cover_the_responses_without_advantage(tiny, groups, name, options):
    """Half of the groups have no advantage; micro-batches of three rows, so that each mini-batch has several."""
    mixed = [group if i % 2 else flat([group])[0] for i, group in enumerate(groups)]
    model = copy.deepcopy(tiny[0])
    recorder = Recorder(model)
    updates = make_updates(
        fg.get_objective(name, **options), model, copy.deepcopy(tiny[0]), 3e-3, recorder,
        updates_per_rollout=3, minibatches=2, micro_batch_size=3,
    )  # fmt: skip
    rows = step_rows(mixed, tiny[1])
    line = updates.run(1, rows)
    last = list(mini_batches(rows, 2, 0, "minibatches", 1, 2, 0))[-1]
    kl, share = k3_and_share(recorder.models[-1], last.groups)
    assert line["ratio/kl_old"] == pytest.approx(kl, rel=1e-3)
    assert line["ratio/effective_sample_size"] == pytest.approx(share, rel=1e-3)
    active = [group for group in last.groups if len(set(group.rewards)) > 1]
    assert 0 < len(active) < len(last.groups)
    assert abs(k3_and_share(recorder.models[-1], active)[0] / kl - 1) > 0.01


def hybrid_rows(groups, tokenizer, rollouts):
    """Rollouts, and preference rows of other groups."""
    preferences = preference_rows(groups, tokenizer.pad_token_id)
    streams = {"rollouts": rollout_stream(rollouts, tokenizer.pad_token_id), **preferences.streams}
    return StepRows(streams, rollouts, preferences.chosen)


def test_max_kl_sees_a_step_whose_rollouts_have_no_advantage(tiny, groups):
    """The preferences move the policy; the rollouts measure how far."""
    model = copy.deepcopy(tiny[0])
    recorder = Recorder(model)
    updates = make_updates(
        fg.get_objective("f-hal"), model, copy.deepcopy(tiny[0]), 3e-3, recorder,
        updates_per_rollout=4, minibatches=2, max_kl=1e-3,
    )  # fmt: skip
    rows = hybrid_rows(groups, tiny[1], flat(groups))
    line = updates.run(1, rows)
    parts = [part for update in range(4) for part in mini_batches(rows, 2, 0, "minibatches", 1, update, 0)]
    distances = [k3_and_share(m, p.groups)[0] for m, p in zip(recorder.models, parts, strict=False)]
    assert 0 < line["updates/count"] == len(distances) - 1 < 7
    assert line["updates/stopped_early"] == 1.0
    assert max(distances[:-1]) < 1e-3 < distances[-1] == pytest.approx(line["ratio/kl_old"], rel=1e-3)


def test_max_kl_without_a_response_token_makes_no_update(tiny, groups):
    """A distance that cannot be measured is not 0."""
    rows = hybrid_rows(groups, tiny[1], flat(groups))
    rows.streams["rollouts"].padded.mask[:] = False
    messages, model = [], copy.deepcopy(tiny[0])
    settings = {"minibatches": 2, "max_kl": 1e-3}
    line = make_updates(fg.get_objective("f-hal"), model, tiny[0], messages=messages, **settings).run(1, rows)
    assert (line["updates/count"], line["updates/stopped_early"]) == (0, 1.0)
    assert "step 1: 0 updates, because a mini-batch has no response token" in messages[0]
    only_preferences = fg.get_objective("f-hal", lam=0.0, lam_end=1.0)
    only_preferences.at_step(2, 2)
    rows = preference_rows(groups, tiny[1].pad_token_id)
    line = make_updates(only_preferences, model, tiny[0], **settings).run(2, rows)
    assert (line["updates/count"], line["updates/stopped_early"]) == (2, 0.0)


@pytest.mark.parametrize("active", [0, 1])
def test_means_cover_the_updates_that_were_taken(tiny, groups, active):
    """Of two mini-batches one has no signal, before or after the other."""
    two = [groups[0], *flat(groups[1:2])]
    model, objective = moved(tiny[0]), fg.get_objective("f-grpo")
    rows = step_rows(two, tiny[1])
    # The seed of the shuffle that puts the mini-batch with a signal at this place.
    step = next(
        s for s in range(1, 20) if next(iter(mini_batches(rows, 2, 0, "minibatches", s, 0, 0))).groups[0] is two[active]
    )
    recorder = Recorder(model)
    reference = copy.deepcopy(tiny[0])
    alone = make_updates(objective, copy.deepcopy(model), reference).run(step, step_rows(two[:1], tiny[1]))
    both = [abs(now - old).max() for group in two for now, old in numbers_of(model, group)]
    line = make_updates(objective, model, reference, 1e-3, recorder, minibatches=2).run(step, rows)
    assert line["updates/count"] == 1
    for key in ("loss", "grad_norm", "rollouts/log_ratio_positive"):
        assert line[key] == pytest.approx(alone[key], rel=1e-5), key
    assert line["engine/logprob_gap"] == pytest.approx(max(both), rel=1e-4)
    kl, _ = k3_and_share(recorder.models[-1], [two[1 - active]])
    assert line["ratio/kl_old"] == pytest.approx(kl, rel=1e-3)


def test_a_gradient_that_max_kl_drops_is_not_averaged_and_may_be_infinite(tiny, groups):
    class Explodes(type(fg.get_objective("rloo"))):
        calls = 0

        def loss(self, stream, batch):
            output = super().loss(stream, batch)
            self.calls += 1
            if self.calls == self.bad:  # the value 0, with a gradient that is not finite
                output = dataclasses.replace(output, loss=output.loss + (0 * batch.logps.sum()).sqrt())
            return output

    def run(bad, **more):
        model, objective = copy.deepcopy(tiny[0]), Explodes()
        objective.bad = bad
        recorder = Recorder(model)
        updates = make_updates(objective, model, None, 3e-4, recorder, updates_per_rollout=4, minibatches=4, **more)
        return updates.run(1, step_rows(groups, tiny[1])), recorder.models, model

    limited, path, _ = run(0, max_kl=5e-3)
    count = int(limited["updates/count"])
    assert 1 < count < 15
    again, _, final = run(count + 1, max_kl=5e-3)
    assert {key: again[key] for key in limited} == limited
    assert torch.equal(weights_of(final), weights_of(path[count]))
    unlimited, path, final = run(count + 1)
    assert unlimited["updates/count"] == count
    assert torch.equal(weights_of(final), weights_of(path[count]))


def test_prepare_may_not_ask_for_other_advantages_than_those_of_the_step(tiny, groups):
    """Rewards that prepare changes, or a second estimator, would otherwise have no effect at 2 x 1."""
    grpo = type(fg.get_objective("grpo"))

    class Shaped(grpo):
        def prepare(self, groups, preferences):
            rewards = groups.rewards - 0.5 * (torch.arange(groups.rewards.numel()) % 2)
            return super().prepare(dataclasses.replace(groups, rewards=rewards), preferences)

    class Two(grpo):
        def prepare(self, groups, preferences):
            checked_advantages(fg.get("advantage", "leave-one-out"), groups)
            return super().prepare(groups, preferences)

    for cls in (Shaped, Two):
        trained(cls(beta=0.0), tiny[0], groups, tiny[1])
        with pytest.raises(fg.PluginError, match=r"prepare asks for advantages other than those of the step.*compute"):
            trained(cls(beta=0.0), tiny[0], groups, tiny[1], updates_per_rollout=2)
    unscored = [scored(groups[0], [None, 1.0, *[0.0] * 6]), *groups[1:]]
    _, line = trained(grpo(beta=0.0), tiny[0], unscored, tiny[1], updates_per_rollout=2, minibatches=2)
    assert line["updates/count"] == 4
