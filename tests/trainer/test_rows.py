"""Trajectories of several rows: each sampled token trains once, in the row in which the policy sampled it."""

import copy
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from planted_engines import BaseTwo, Hot, Late, Offset, Permuted
from rows_harness import TEMPLATES, hand_output, new_model, rollouts, row_logps, tokenizer_of, without_rows
from updates_harness import make_updates, weights_of

import fdiv_gym as fg
from fdiv_gym_accelerate.diagnosis import likely_cause
from fdiv_gym_accelerate.gap import Bound
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.policy import Row, pad, separated
from fdiv_gym_accelerate.reference import Copy
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater


@pytest.fixture(scope="module", params=TEMPLATES)
def drawn(request):
    """The kind of the template and groups that the real engine sampled."""
    return request.param, rollouts(request.param)


def moved(model, seed=1):
    """The model with other weights, away from the policy that sampled."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.03 * torch.randn(weight.shape))
    return model


def flat(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def gradient(objective, model, reference, groups, **options):
    """As the trainer computes it; with what it told."""
    model = copy.deepcopy(model)
    passes = Passes(Accelerator(cpu=True), **options)
    updater = Updater(objective, model, Copy(reference), passes.accelerator, passes=passes)
    stream = rollout_stream(groups, 0)
    updater.score_in_advance(stream)
    whole, own = whole_groups(groups, stream)
    told = updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
    return flat(model), told


def by_hand(objective, model, reference, groups):
    model = copy.deepcopy(model)
    output = hand_output(objective, model, reference, groups)
    output.loss.backward()
    return flat(model), float(output.value)


def difference(found, expected):
    return float((found - expected).norm() / expected.norm())


def trajectories_of(groups):
    return [t for group in groups for t in group.trajectories]


def test_rows_are_those_of_the_template(drawn):
    kind, groups = drawn
    rows = [len(t.row_starts) for t in trajectories_of(groups)]
    assert {t.turns for t in trajectories_of(groups)} == {1, 3}
    assert (max(rows) == 1) == (kind == "extends")
    assert min(rows) == 1
    for t in trajectories_of(groups):
        assert t.loss_mask.count(True) == sum(bool(p) for p in t.logprobs)
        for start in t.row_starts[1:]:  # each row is a whole prompt and what was sampled after it
            assert not t.loss_mask[start]
            assert tokenizer_of(kind).decode([t.token_ids[start]]) == "<|im_start|>"


def test_the_engine_s_log_probs_are_those_of_each_row(drawn):
    """The trainer's and those of separate passes, on the tokens as the engine sampled them."""
    _, groups = drawn
    model, stream = new_model(), rollout_stream(groups, 0)
    updater = Updater(fg.get_objective("rloo"), model, None, Accelerator(cpu=True))
    gap = updater.engine_gap(stream)
    assert 0 < gap.largest < 1e-4
    assert gap.tokens == sum(t.response_length for t in trajectories_of(groups))
    for i, t in enumerate(trajectories_of(groups)):
        with torch.no_grad():
            alone = row_logps(model, t)
        assert torch.allclose(stream.fresh_logps[i][stream.padded.mask[i]], alone, atol=1e-4)
        assert len(alone) == t.response_length == int(stream.lengths[i])
        assert float(alone.sum()) == pytest.approx(t.logprob, abs=1e-3)


OBJECTIVES = {
    "f-grpo": {"name": "f-grpo", "divergence": "jensen_shannon", "gamma": 0.5},
    "grpo": {"name": "grpo", "beta": 0.04},
}
WAYS = {
    "whole": {}, "rows alone": {"rows": 1}, "few tokens": {"tokens": 40},
    "prompts repeated": {"share_prompts": "never"}, "prompts shared": {"share_prompts": "always"},
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_that_of_separate_passes(drawn, name):
    kind, groups = drawn
    objective, model, reference = fg.get_objective(OBJECTIVES[name]), moved(new_model()), moved(new_model(), 2)
    expected, value = by_hand(objective, model, reference, groups)
    assert float(expected.norm()) > 1e-3
    ways = WAYS if (kind, name) == ("strips spaces", "f-grpo") else {"few tokens": WAYS["few tokens"]}
    for way, options in ways.items():
        found, told = gradient(objective, model, reference, groups, **options)
        assert difference(found, expected) < 2e-4, way
        assert told.loss == pytest.approx(value, rel=1e-3, abs=1e-6)
    planted, _ = gradient(objective, model, reference, without_rows(groups))
    assert (difference(planted, expected) > 0.05) == (kind != "extends")


def test_two_updates_per_rollout_are_those_of_separate_passes(drawn):
    """AdamW by hand: the second gradient is that of a policy that has moved, where the clip may bind."""
    _, groups = drawn
    objective = fg.get_objective("grpo", beta=0.0)
    start, model = new_model(), new_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(2):
        hand_output(objective, model, None, groups).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    for rows in (groups, without_rows(groups)):
        found = copy.deepcopy(start)
        updates = make_updates(
            objective, found, None, learning_rate=1e-2, tokenizer=tokenizer_of(drawn[0]), updates_per_rollout=2,
            max_grad_norm=1.0, micro_batch_size=3,
        )  # fmt: skip
        line = updates.run(1, StepRows({"rollouts": rollout_stream(rows, 0)}, rows))
        assert line["updates/count"] == 2
        error = difference(weights_of(found) - weights_of(start), weights_of(model) - weights_of(start))
        assert error < 0.02 if rows is groups else (error > 0.05) == (drawn[0] != "extends")


def test_a_trajectory_is_one_unit_and_one_response():
    groups = rollouts("strips spaces")
    stream = rollout_stream(groups, 0)
    assert len(stream.units) == sum(len(g.trajectories) for g in groups) == 12
    assert max(len(t.row_starts) for t in trajectories_of(groups)) == 3
    slices = list(stream.slices(1))
    assert sorted(int(i) for index in slices for i in index) == list(range(12))
    whole, _ = whole_groups(groups, stream)
    assert whole.lengths.tolist() == [t.response_length for t in trajectories_of(groups)]
    assert whole.old_logps.tolist() == pytest.approx([t.logprob for t in trajectories_of(groups)])


def test_rows_are_separated_by_hand():
    """Two rows [7 8 | 9] and [5 | 6 4], the last token of each sampled; and a trajectory of one row."""
    rows = [
        Row([7, 8, 9, 5, 6, 4], [False, False, True, False, False, True], [0, 0, -1.0, 0, 0, -2.0], (0, 3)),
        Row([1, 2], [False, True], [0, -3.0]),
    ]
    batch = pad(rows, 0, torch.device("cpu"))
    alone = separated(batch)
    assert alone.ids.tolist() == [[7, 8, 9], [5, 6, 4], [1, 2, 0]]
    assert alone.attention.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]
    assert alone.mask.tolist() == [[False, True], [False, True], [True, False]]
    assert batch.mask.tolist() == [[False, True, False, False, True], [True, False, False, False, False]]
    shorter = separated(batch.trimmed(4, torch.device("cpu")))
    assert shorter.ids.tolist() == [[7, 8, 9], [5, 0, 0], [1, 2, 0]]
    assert separated(pad(rows[1:], 0, torch.device("cpu"))).ids.tolist() == [[1, 2]]


def test_a_forward_pass_never_has_more_tokens_than_its_budget():
    groups, model, widths = rollouts("strips spaces"), new_model(), []
    model.model.register_forward_pre_hook(
        lambda _, args, given: widths.append(given["input_ids"].numel()), with_kwargs=True
    )
    passes = Passes(Accelerator(cpu=True), tokens=48, share_prompts="never")
    stream = rollout_stream(groups, 0)
    longest = max(
        b - a for t in trajectories_of(groups)
        for a, b in zip(t.row_starts, [*t.row_starts[1:], len(t.token_ids)], strict=True)
    )  # fmt: skip
    assert longest < 48 < int(stream.padded.attention.sum(-1).max())
    passes.all_rows(model, stream, 1.0)
    assert max(widths) <= 48
    assert len(widths) > len(stream.units)


def test_the_first_rows_of_a_group_share_their_prompt():
    groups, seen = rollouts("strips spaces"), {}
    for share in ("never", "always"):
        model, sizes = new_model(), []
        passes, stream = Passes(Accelerator(cpu=True), share_prompts=share), rollout_stream(groups, 0)
        passes.all_rows(model, stream, 1.0)  # compares the two ways once
        model.model.register_forward_pre_hook(
            lambda _, args, given, to=sizes: to.append(given["input_ids"].shape), with_kwargs=True
        )
        seen[share] = (passes.all_rows(model, stream, 1.0), sizes)
    assert torch.allclose(seen["never"][0], seen["always"][0], atol=1e-4)
    rows = sum(len(t.row_starts) for t in trajectories_of(groups))
    assert sum(shape[0] for shape in seen["never"][1]) == rows
    assert sum(shape[0] for shape in seen["always"][1]) <= rows - 3 * 2


@pytest.mark.slow
def test_lora_trains_on_every_row():
    from fdiv_gym.models import LoraOptions, add_adapter

    groups = rollouts("drops thinking")
    objective = fg.get_objective("rloo")
    found = []
    for way in ("trainer", "hand"):
        model = new_model()
        add_adapter(model, LoraOptions(rank=2, alpha=4), 0)
        if way == "trainer":
            passes = Passes(Accelerator(cpu=True), 2)
            stream = rollout_stream(groups, 0)
            whole, own = whole_groups(groups, stream)
            Updater(objective, model, None, passes.accelerator, passes=passes).accumulate(
                {"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own}
            )
        else:
            hand_output(objective, model, None, groups).loss.backward()
        found.append(flat(model))
    assert float(found[1].norm()) > 1e-4
    assert difference(*found) < 2e-4


def test_a_conversation_without_a_response_has_no_part():
    groups = rollouts("strips spaces", groups=1)
    empty = fg.Trajectory((3, 4), (0.0, 0.0), (False, False), "", "eos", fg.Verdict.unscorable("no room"), 0)
    with_it = replace(groups[0], trajectories=(*groups[0].trajectories, empty))
    stream = rollout_stream([with_it], 0)
    assert stream.lengths.tolist()[-1] == 0
    logps = Passes(Accelerator(cpu=True), 1).all_rows(new_model(), stream, 1.0)
    assert not logps[-1].any()


@pytest.mark.parametrize("rows", [1, 256])
def test_no_response_at_all_in_a_batch(rows):
    stream = StreamBatch.of([Row([3, 4, 5], [False] * 3, [0.0] * 3, (0, 2))] * 2, [[0], [1]], 0)
    assert not Passes(Accelerator(cpu=True), rows).all_rows(new_model(), stream, 1.0).any()


def test_episodes_without_room_for_a_response_have_one_token_each():
    # What run_episodes gives where no first prompt fits: the first token of each, and nothing sampled.
    stream = StreamBatch.of([Row([3], [False], [0.0])] * 4, [[i] for i in range(4)], 0)
    for share_prompts in ("auto", "always", "never"):
        found = Passes(Accelerator(cpu=True), share_prompts=share_prompts).all_rows(new_model(), stream, 1.0)
        assert found.shape == (4, 0)


FAULTS = {"constant": Offset, "temperature": Hot, "base": BaseTwo, "shifted": Late, "order": Permuted}


@pytest.mark.parametrize("cause", FAULTS)
def test_the_cause_of_an_engine_at_fault_is_found_in_several_rows(cause):
    groups = rollouts("strips spaces", FAULTS[cause], groups=6, size=6)
    assert max(len(t.row_starts) for t in trajectories_of(groups)) == 3
    updater = Updater(fg.get_objective("rloo"), new_model(), None, Accelerator(cpu=True))
    found = likely_cause(updater, rollout_stream(groups, 0), Bound(1e-3, "the test"))
    assert found is not None
    assert found.name == cause
