"""Precision, gradient checkpointing, attention and the size of checkpoints."""

from __future__ import annotations

import copy

import pytest
import torch
from accelerate import Accelerator
from events_harness import run

import fdiv_gym as fg
from fdiv_gym.models import LoraOptions, ModelConfig, add_adapter, initial_model
from fdiv_gym.testing.tiny import save_tiny_model
from fdiv_gym_accelerate import parts as parts_module
from fdiv_gym_accelerate.activations import recompute_layers
from fdiv_gym_accelerate.checkpoint import LARGE, check_room, checkpoints_kept, room_needed
from fdiv_gym_accelerate.reference import Copy
from fdiv_gym_accelerate.streams import rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater

IDS = torch.tensor([[5, 9, 21, 33, 2], [7, 7, 30, 4, 1]])


@pytest.fixture
def parts_of(monkeypatch):
    """The parts of the test's runs, after their last step."""
    found = []
    close = parts_module.Parts.close
    monkeypatch.setattr(parts_module.Parts, "close", lambda self: (found.append(self), close(self))[1])
    return found


def test_bf16_full_keeps_weights_gradients_and_moments_in_bf16(tmp_path, parts_of, monkeypatch):
    seen = set()
    accumulate = Updater.accumulate

    def watch(self, *args, **kwargs):
        result = accumulate(self, *args, **kwargs)
        seen.update(("gradient", p.grad.dtype) for p in self.model.parameters() if p.grad is not None)
        return result

    monkeypatch.setattr(Updater, "accumulate", watch)
    found = run(tmp_path, 2, objective="f-grpo", precision="bf16_full", learning_rate=1e-2)
    assert not found.error
    policy, optimizer = parts_of[0].policy, parts_of[0].optimizer
    assert {p.dtype for p in policy.model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in policy.reference.module.parameters()} == {torch.bfloat16}
    assert seen == {("gradient", torch.bfloat16)}
    assert {state["exp_avg"].dtype for state in optimizer.state.values()} == {torch.bfloat16}
    assert not found.names & {"reference_tied", "nonfinite"}


def test_with_an_adapter_only_the_base_is_in_bf16(tmp_path, parts_of):
    found = run(tmp_path, 2, objective="f-grpo", precision="bf16_full", model={"lora": {"rank": 4}}, learning_rate=1e-2)
    assert not found.error
    model = parts_of[0].policy.model
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert all(line["grad_norm"] > 0 for line in found.lines)


def test_log_probs_of_a_bf16_model_are_computed_in_fp32(tiny, groups):
    """To the rounding of the model's own activations, and not to that of a sum in bf16."""
    model = copy.deepcopy(tiny[0]).to(torch.bfloat16)
    stream = rollout_stream(groups, tiny[1].pad_token_id)
    logps = Updater(fg.get_objective("dapo"), model, None, Accelerator(cpu=True)).token_logps(stream)
    assert logps.dtype == torch.float32
    with torch.no_grad():
        logits = model(input_ids=stream.padded.ids, attention_mask=stream.padded.attention).logits[:, :-1]
    expected = logits.double().log_softmax(-1).gather(-1, stream.padded.ids[:, 1:, None]).squeeze(-1)
    difference = (logps.double() - expected)[stream.padded.mask].abs()
    assert float(difference.max()) < 0.05
    rounded = logits.log_softmax(-1).gather(-1, stream.padded.ids[:, 1:, None]).squeeze(-1)
    assert rounded.dtype == torch.bfloat16  # planted: what a sum in bf16 would give
    assert float(difference.mean()) < float((rounded.double() - expected)[stream.padded.mask].abs().mean())


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_changes_no_gradient(tiny, groups, lora):
    gradients, calls = [], []
    for recomputed in (False, True):
        model = copy.deepcopy(tiny[0])
        if lora:
            add_adapter(model, LoraOptions(rank=4), 0)
        if recomputed:
            assert recompute_layers(model) == 1
            model = copy.deepcopy(model)  # the copy's layers are its own
        count = []
        model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        objective = fg.get_objective("f-grpo")
        updater = Updater(objective, model, Copy(tiny[0]), Accelerator(cpu=True))
        stream = rollout_stream(groups, tiny[1].pad_token_id)
        updater.score_in_advance(stream)
        whole, own = whole_groups(groups, stream)
        updater.accumulate({"rollouts": stream}, objective.prepare(whole, None), {"rollouts": own})
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        calls.append(len(count))
    assert calls[1] == calls[0] + 1  # the one micro-batch with a gradient is computed twice, in evaluation mode too
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-6


def test_gradient_checkpointing_by_option(tmp_path, parts_of):
    plain = run(tmp_path / "a", 2, objective="f-grpo", learning_rate=1e-2)
    less = run(tmp_path / "b", 2, objective="f-grpo", learning_rate=1e-2, gradient_checkpointing=True)
    assert less.lines[1]["grad_norm"] == pytest.approx(plain.lines[1]["grad_norm"], rel=1e-5)
    with pytest.raises(fg.ConfigError, match="transformers has none for Linear"):
        recompute_layers(torch.nn.Linear(1, 1))


def test_the_attention_implementation_is_an_option(tmp_path):
    save_tiny_model(tmp_path / "tiny")
    models = {
        name: initial_model(ModelConfig(attention=name), str(tmp_path / "tiny")).eval() for name in ("eager", "sdpa")
    }
    assert {name: model.config._attn_implementation for name, model in models.items()} == {
        "eager": "eager", "sdpa": "sdpa",
    }  # fmt: skip
    with torch.no_grad():
        assert torch.allclose(models["eager"](IDS).logits, models["sdpa"](IDS).logits, atol=1e-5)
    if not torch.cuda.is_available():
        with pytest.raises(fg.TrainerError, match="cannot load a model"):
            initial_model(ModelConfig(attention="flash_attention_2"), str(tmp_path / "tiny"))


def test_large_checkpoints_are_kept_once_and_their_size_is_said(tiny, monkeypatch, tmp_path):
    assert [checkpoints_kept(keep, size) for keep, size in [(None, LARGE), (None, LARGE + 1), (3, LARGE + 1)]] == [
        2,
        1,
        3,
    ]
    model = copy.deepcopy(tiny[0])
    trained = sum(p.numel() for p in model.parameters())
    assert room_needed(model) == trained * 12 + 10_000_000
    assert room_needed(model, moves=True) == trained * 16 + 10_000_000  # a moving reference is stored too
    add_adapter(model, LoraOptions(rank=4), 0)
    adapted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert room_needed(model) == adapted * 12 + 10_000_000 < trained * 12 + 10_000_000
    said = []
    folder = type("Folder", (), {"path": tmp_path})
    check_room(folder, model, None, said.append)
    assert said == []
    monkeypatch.setattr("fdiv_gym_accelerate.checkpoint.LARGE", 1000)
    check_room(folder, model, None, said.append)
    assert said == [
        "a checkpoint takes about 0.0 GB (weights and optimizer); the newest is kept, and one more while it is written"
    ]
