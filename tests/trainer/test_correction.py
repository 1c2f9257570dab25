"""Importance weights of the policy against the engine: weights, gradients and causes computed by hand."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from updates_harness import make_updates, numbers_of

import fdiv_gym as fg
from fdiv_gym_accelerate import causes
from fdiv_gym_accelerate.correction import importance_weights, weight_line, weight_sums, weighted
from fdiv_gym_accelerate.diagnosis import likely_cause
from fdiv_gym_accelerate.gap import Bound, Gap, bound_of
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.streams import rollout_stream
from fdiv_gym_accelerate.texts import body_of, text_fault

LOG_RATIO = torch.tensor([[0.0, 0.5, 1.0], [-0.4, -3.0, 9.0]])
MASK = torch.tensor([[True, True, True], [True, True, False]])


def test_token_weights_are_cut_above_and_masked_below():
    found = importance_weights(LOG_RATIO, MASK, "token", 0.5, 2.0)
    expected = [[1.0, math.exp(0.5), 2.0], [math.exp(-0.4), 0.0, 1.0]]
    assert torch.allclose(found, torch.tensor(expected))
    line = weight_line(weight_sums(found, MASK, 2.0))
    mean = (1 + math.exp(0.5) + 2 + math.exp(-0.4)) / 5
    assert line == pytest.approx({"correction/mean": mean, "correction/cut": 0.2, "correction/masked": 0.2})


def test_sequence_weights_are_products_over_the_response():
    found = importance_weights(LOG_RATIO, MASK, "sequence", 0.02, 4.0)
    both = math.exp(-3.4)
    assert torch.allclose(found, torch.tensor([[4.0, 4.0, 4.0], [both, both, 1.0]]))
    assert importance_weights(LOG_RATIO, MASK, "sequence", 0.05, 4.0)[1].tolist() == [0.0, 0.0, 1.0]
    far = importance_weights(torch.full((1, 2), 1e6), torch.ones(1, 2, dtype=torch.bool), "sequence", 0.0, 3.0)
    assert far.tolist() == [[3.0, 3.0]]


def test_a_weighted_token_keeps_its_value_and_has_the_weighted_gradient():
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    out = weighted(logps, torch.tensor([[0.5, 0.0]]))
    assert torch.equal(out, logps)
    (out.square().sum()).backward()
    assert logps.grad.tolist() == [[2 * -1.0 * 0.5, 0.0]]


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("settings", [{}, {"micro_batch_size": 3}])
def test_the_gradient_of_an_update_is_that_computed_by_hand(tiny, groups, level, settings):
    """REINFORCE with a baseline: -1/N sum_i A_i sum_t w_t grad log pi_t, from unpadded forward passes."""
    start, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    few = groups[:3]
    model = copy.deepcopy(start)
    options = {"correction": level, "correction_lower": 0.7, "correction_upper": 1.5, "old_logps": "recomputed"}
    updates = make_updates(fg.get_objective("rloo"), model, None, max_grad_norm=1e9, **options, **settings)
    taken = []
    updates.optimizer.register_step_pre_hook(lambda *_: taken.append([p.grad.clone() for p in model.parameters()]))
    line = updates.run(1, StepRows({"rollouts": rollout_stream(few, tokenizer.pad_token_id)}, few))
    by_hand, shares = gradient_by_hand(start, few, level, 0.7, 1.5)
    for found, expected in zip(taken[0], by_hand, strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert line["correction/masked"] == pytest.approx(shares[0])
    assert line["correction/cut"] == pytest.approx(shares[1])
    assert shares[0] > 0
    assert shares[1] > 0


def gradient_by_hand(model, groups, level, lower, upper):
    """The gradient, and the shares of tokens that are masked and cut."""
    model.zero_grad()
    weights = []
    rows = sum(len(g.trajectories) for g in groups)
    for group in groups:
        rewards = np.array(group.rewards)
        for i, ((now, old), t) in enumerate(zip(numbers_of(model, group), group.trajectories, strict=True)):
            advantage = rewards[i] - (rewards.sum() - rewards[i]) / (len(rewards) - 1)
            ratio = np.exp(now - old) if level == "token" else np.full(len(now), np.exp((now - old).sum()))
            w = np.where(ratio < lower, 0.0, np.minimum(ratio, upper))
            weights += list(w)
            logps = torch.log_softmax(model(input_ids=torch.tensor([t.token_ids])).logits[0, :-1].float(), -1)
            start = t.loss_mask.index(True)
            chosen = logps[start - 1 :].gather(-1, torch.tensor(t.token_ids[start:])[:, None])[:, 0]
            (-(advantage / rows) * (torch.tensor(w, dtype=torch.float32) * chosen).sum()).backward()
    shares = (np.mean(np.array(weights) == 0), np.mean(np.array(weights) >= upper))
    return [p.grad for p in model.parameters()], shares


def test_a_correction_needs_recomputed_log_probs():
    with pytest.raises(ValueError, match=r'set old_logps = "recomputed"'):
        TrainerOptions(correction="token")


def test_gaps_add_up_and_leave_out_what_is_not_finite():
    policy = torch.tensor([[-1.0, -2.0, math.nan], [-3.0, -math.inf, -1.0]])
    engine = torch.tensor([[-1.5, -2.0, -1.0], [-2.0, -1.0, -9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    gap = Gap.of(policy, engine, mask)
    assert (gap.tokens, gap.total, gap.largest) == (3, 1.5, 1.0)
    parts = [Gap.of(policy[i : i + 1], engine[i : i + 1], mask[i : i + 1]) for i in range(2)]
    assert Gap.merged(parts) == gap
    assert Gap.merged([]) == Gap()
    assert gap.exceeds(Bound(0.49, ""))
    assert not gap.exceeds(Bound(0.51, ""))
    assert Gap(100, 1.0, 0.9).exceeds(Bound(0.015, ""))  # one token alone: 30 times the bound of the mean


def test_bounds_come_from_option_engine_and_precision():
    engine = fg.Engine()
    assert bound_of(engine, "fp32", None).mean < bound_of(engine, "bf16", None).mean
    engine.logprob_tolerance = 0.2
    assert (bound_of(engine, "fp32", None).mean, bound_of(engine, "fp32", 0.3).mean) == (0.2, 0.3)
    for wrong in (0, -1.0, True, "0.1", math.inf):
        engine.logprob_tolerance = wrong
        with pytest.raises(fg.EngineError, match="logprob_tolerance of the engine must be a positive number"):
            bound_of(engine, "fp32", None)


def test_no_cause_is_found_in_noise():
    """Neither a constant nor a temperature nor an order explains differences that are drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(200, 20, generator=generator)
    chosen = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    p = logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
    q = (p + 0.3 * torch.randn(200, generator=generator)).clamp(max=0)
    rows_p, rows_q = list(p.split(5)), list(q.split(5))
    found = [
        causes.constant(p, q), causes.factor(p, q), causes.temperature(logits, chosen, q, 1.0),
        causes.truncation(logits, chosen, q), causes.shifted(rows_p, rows_q),
        causes.reordered(rows_p, rows_q, range(40)),
    ]  # fmt: skip
    assert min(cause.remaining for cause in found) > 0.3 * causes.distance(p, q)


def test_what_may_differ_between_two_ways_to_decode(tiny, groups):
    tokenizer, group = tiny[1], groups[0]

    def with_text(change):
        return [replace(group, trajectories=tuple(replace(t, text=change(t.text)) for t in group.trajectories))]

    assert text_fault(with_text(str), tokenizer) is None
    assert text_fault(with_text(lambda text: f" {text}\n\ufffd"), tokenizer) is None
    fault = text_fault(with_text(lambda text: text[:-1]), tokenizer)
    assert fault is not None
    assert fault.finding == "the texts end before their tokens do"
    turns = replace(
        group.trajectories[0], token_ids=(5, 6, 7, 8, 9, 10), logprobs=(0.0,) * 6, stop_reason="length", turns=2,
        loss_mask=(False, True, True, False, True, True),
    )  # fmt: skip
    assert body_of(turns) == [9, 10]
    assert body_of(replace(turns, stop_reason="eos")) == [9]
    assert body_of(replace(turns, loss_mask=(False,) * 6)) == []


def conversation(tokenizer, rows, texts, stop_reason="eos"):
    """A trajectory of rows of (text, whether it was sampled); an end token follows ``$``."""
    ids, mask, starts = [], [], []
    for row in rows:
        starts.append(len(ids))
        for text, sampled in row:
            end = [tokenizer.eos_token_id] if text.endswith("$") else []
            tokens = [*tokenizer.encode(text.removesuffix("$")), *end]
            ids += tokens
            mask += [sampled] * len(tokens)
    said = [message for text in texts for message in (fg.Message("assistant", text), fg.Message("user", "+"))]
    return fg.Trajectory(
        tuple(ids), (0.0,) * len(ids), tuple(mask), texts[-1], stop_reason, fg.Verdict.scored(0.0), len(texts),
        tuple(starts), fg.Transcript((fg.Message("user", "1"), *said[:-1]), 1),
    )  # fmt: skip


def test_every_turn_is_compared_in_every_row(tiny):
    tokenizer = tiny[1]
    rows = [
        [("1", False), ("12$", True), ("+", False), ("34", True)],  # the second ran out of tokens
        [("1", False), ("12", False), ("+", False), ("56$", True)],  # rendered anew
    ]

    def fault(rows, *texts):
        return text_fault([fg.TrajectoryGroup(fg.Task("1"), (conversation(tokenizer, rows, texts),))], tokenizer)

    assert body_of(conversation(tokenizer, rows, ["12", "34", "56"])) == tokenizer.encode("56")
    assert fault(rows, "12", "34", "56") is None
    found = fault(rows, "12", "3", "56")
    assert (found.count, found.responses, found.finding) == (1, 3, "the texts end before their tokens do")
    assert found.example.startswith("response 0, turn 2, has the text '3'")
    assert fault(rows, "34", "12", "56").finding == "the texts are those of other responses of the batch"
    # An end token that is not the tokenizer's own.
    other = [[("1", False), ("12<pad>", True), ("+", False), ("34$", True)]]
    assert fault(other, "12", "34") is None
    assert fault(other, "1", "34") is not None
    # Nothing between two responses: the end token divides them, and without one they are not compared.
    assert fault([[("1", False), ("12$", True), ("34$", True)]], "12", "34") is None
    assert fault([[("1", False), ("12$", True), ("34$", True)]], "12", "35") is not None
    assert fault([[("1", False), ("12", True), ("34$", True)]], "12", "35") is None


def test_swapped_texts_are_told_from_lost_ones(tiny, groups):
    """One of two responses is empty, so that one of the swapped texts is."""
    ids = tiny[1].encode("12")
    prompt = groups[0].trajectories[0].token_ids[:2]
    responses = [
        fg.Trajectory((*prompt, *body), (0.0,) * (2 + len(body)), (False,) * 2 + (True,) * len(body), text, "length")
        for body, text in ((ids, ""), ([tiny[1].eos_token_id], "12"))
    ]
    responses[1] = replace(responses[1], stop_reason="eos")
    found = text_fault([replace(groups[0], trajectories=tuple(responses))], tiny[1])
    assert found is not None
    assert found.finding == "the texts are those of other responses of the batch"
    lost = [replace(t, text="") for t in responses]
    found = text_fault([replace(groups[0], trajectories=tuple(lost))], tiny[1])
    assert found is not None
    assert found.finding == "the texts end before their tokens do"


def test_a_process_whose_rows_agree_looks_for_no_cause(tiny, groups):
    """The gap is another process's; an explanation that leaves nothing of no gap would win over its."""
    updates = make_updates(fg.get_objective("rloo"), copy.deepcopy(tiny[0]), None)
    stream = rollout_stream(groups[:2], tiny[1].pad_token_id)
    assert likely_cause(updates.updater, stream, Bound(1e-3, "")) is None
    assert stream.padded.old_logps is not None
    stream.padded.old_logps.sub_(0.5)
    found = likely_cause(updates.updater, stream, Bound(1e-3, ""))
    assert found is not None
    assert found.name == "constant"
