"""LoRA: the adapter trains, the weights of the model do not, and the reference is exactly the initial model."""

from __future__ import annotations

import copy
import gc
import re

import pytest
import torch
from events_harness import run
from transformers import PreTrainedModel

import fdiv_gym as fg
from fdiv_gym.models import LoraOptions, add_adapter, merged_weights
from fdiv_gym_accelerate import parts as parts_module
from fdiv_gym_accelerate.reference import AdapterOff
from fdiv_gym_transformers.engine import TransformersEngine

LORA = {"rank": 4, "alpha": 8}
IDS = torch.tensor([[5, 9, 21, 33, 2], [7, 7, 30, 4, 1]])
VARIANTS = [{}, {"rslora": True}, {"dora": True}, {"modules_to_save": ["norm"]}, {"targets": ["q_proj", "down_proj"]}]


def adapted(tiny, seed=0, noise=0.05, **options):
    """A copy of the tiny model with an adapter that is away from zero, and peft's handle."""
    model = copy.deepcopy(tiny[0])
    handle = add_adapter(model, LoraOptions(rank=4, alpha=8, **options), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
    return model, handle


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def watched(monkeypatch, watch):
    """``watch`` gets the policy of a run before its first step."""
    load = parts_module.load_policy

    def loaded(*args, **kwargs):
        policy = load(*args, **kwargs)
        watch(policy)
        return policy

    monkeypatch.setattr(parts_module, "load_policy", loaded)


@pytest.mark.parametrize("options", VARIANTS)
def test_merged_weights_are_those_of_peft_and_change_nothing_in_place(tiny, options):
    model, handle = adapted(tiny, **options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = logits(model)
    plain = copy.deepcopy(tiny[0])
    plain.load_state_dict(dict(merged_weights(model)))
    assert float((logits(plain) - expected).abs().max()) < 1e-5
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    by_peft = copy.deepcopy(handle).merge_and_unload().state_dict()
    for name, tensor in plain.state_dict().items():
        assert torch.allclose(tensor, by_peft[name], atol=1e-6), name


def test_without_adapter_the_weights_are_the_models_own(tiny):
    assert all(torch.equal(tensor, tiny[0].state_dict()[name]) for name, tensor in merged_weights(tiny[0]))


@pytest.mark.parametrize("options", VARIANTS)
def test_the_reference_is_exactly_the_initial_model(tiny, options):
    model, handle = adapted(tiny, **options)
    reference, base = AdapterOff(handle), logits(tiny[0])
    assert not torch.equal(logits(model), base)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    with reference.model() as module:
        assert torch.equal(logits(module), base)
    assert trained == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert reference.tied(model) == []
    before = reference.checksum()
    handle.merge_adapter()  # planted: merged in place and taken out again
    assert len(reference.tied(model)) > 0
    handle.unmerge_adapter()
    with reference.model() as module:
        assert (not torch.equal(logits(module), base)) == (reference.checksum() != before)


def test_the_gradient_is_that_of_a_parametrisation_by_hand(tiny):
    """Autograd through W + s B A put into the plain model, parameter by parameter."""
    model, _ = adapted(tiny)
    model(input_ids=IDS, labels=IDS).loss.backward()
    plain = copy.deepcopy(tiny[0]).requires_grad_(False)
    leaves = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    weights = {
        name: tensor + 2.0 * leaves[f"{stem}.lora_B.default.weight"] @ leaves[f"{stem}.lora_A.default.weight"]
        for name, tensor in plain.named_parameters()
        if f"{(stem := name.removesuffix('.weight'))}.lora_A.default.weight" in leaves
    }
    assert len(weights) == 7
    torch.func.functional_call(plain, weights, kwargs={"input_ids": IDS, "labels": IDS}).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(parameter.grad, leaves[name].grad, atol=1e-7, rtol=1e-4), name
        else:
            assert parameter.grad is None


def test_the_initial_weights_come_from_the_seed_alone(tiny):
    first, second, third = (adapted(tiny, seed, noise=0.0)[0].state_dict() for seed in (3, 3, 4))
    state = torch.get_rng_state()
    adapted(tiny, 5)
    assert torch.equal(state, torch.get_rng_state())
    drawn = [name for name in first if "lora_A" in name]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], third[name]) for name in drawn)
    assert all(not tensor.any() for name, tensor in first.items() if "lora_B" in name)


def test_a_run_trains_the_adapter_alone(monkeypatch, tmp_path):
    """The reference is bit-equal after the steps."""
    seen = {}

    def watch(policy):
        seen["policy"], seen["before"] = policy, copy.deepcopy(policy.model.state_dict())
        with policy.reference.model() as module:
            seen["logits"] = logits(module)

    watched(monkeypatch, watch)
    found = run(tmp_path, 3, objective="f-grpo", model={"lora": LORA}, learning_rate=1e-2)
    after = seen["policy"].model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], seen["before"][name])}
    assert {name.split(".")[-3] for name in changed} == {"lora_A", "lora_B"}
    with seen["policy"].reference.model() as module:
        assert torch.equal(logits(module), seen["logits"])
    assert not found.names & {"reference_tied", "engine_gap", "nonfinite"}
    assert not found.error


def test_the_first_update_changes_b_alone(monkeypatch, tmp_path):
    """With B = 0 the gradient of A is zero."""
    seen = {}

    def watch(policy):
        seen["model"], seen["before"] = policy.model, copy.deepcopy(policy.model.state_dict())

    watched(monkeypatch, watch)
    run(tmp_path, 1, objective="f-grpo", model={"lora": LORA})
    after = seen["model"].state_dict()
    changed = {name for name in after if not torch.equal(after[name], seen["before"][name])}
    assert {name.split(".")[-3] for name in changed} == {"lora_B"}


def test_an_adapter_merged_in_place_is_noticed(monkeypatch, tmp_path):
    policies = []

    class Merges(fg.Callback):
        def after_step(self, step, metrics):
            if step == 1:
                policies[0].adapter.merge_adapter()
                policies[0].adapter.unmerge_adapter()

    watched(monkeypatch, policies.append)
    found = run(tmp_path, 2, objective="f-grpo", callbacks=[Merges], model={"lora": LORA}, learning_rate=1e-2)
    assert found.at("reference_tied") == [2]
    assert "the reference's weights changed" in found.first("reference_tied")["message"]


@pytest.mark.slow
def test_a_run_holds_the_model_once(tmp_path):
    """With an adapter one model is alive, without one the copy that is the reference is a second."""
    counts, known = [], set()

    class Count(fg.Callback):
        def after_step(self, step, metrics):
            gc.collect()
            counts.append(sum(issubclass(type(m), PreTrainedModel) and id(m) not in known for m in gc.get_objects()))

    known |= {id(found) for found in gc.get_objects() if issubclass(type(found), PreTrainedModel)}
    run(tmp_path / "adapter", 1, objective="f-grpo", callbacks=[Count], model={"lora": LORA})
    run(tmp_path / "copy", 1, objective="f-grpo", callbacks=[Count])
    # Each is a causal model and the transformer in it.
    assert counts == [2, 4]


def test_an_engine_of_its_own_gets_one_plain_model(monkeypatch, tmp_path):
    """It samples as the policy does: the check of log-probs against the policy finds nothing."""

    class Separate(TransformersEngine):
        merged_weights = True

        def start(self, model, tokenizer):
            plain = type(model)(model.config)
            plain.load_state_dict(dict(merged_weights(model)))
            super().start(plain.eval(), tokenizer)

    found = run(
        tmp_path, 3, objective="f-grpo", model={"lora": LORA}, engine=Separate, learning_rate=1e-2,
        logprob_tolerance=1e-5,
    )  # fmt: skip
    assert not found.names
    assert not found.error

    class Stale(Separate):
        def update_weights(self, weights):
            super().update_weights((name, tensor) for name, tensor in weights if "mlp" not in name)

    planted = run(
        tmp_path / "stale", 3, objective="f-grpo", model={"lora": LORA}, engine=Stale, learning_rate=1e-2,
        logprob_tolerance=1e-5,
    )  # fmt: skip
    assert planted.error


def test_tied_embeddings_are_not_trained_as_modules(tiny):
    with pytest.raises(fg.ConfigError, match="'embed_tokens', whose weight is also that of lm_head"):
        adapted(tiny, modules_to_save=["embed_tokens"])
    with pytest.raises(fg.ConfigError, match="'lm_head', the output layer"):
        adapted(tiny, targets=["lm_head"])
    untied = copy.deepcopy(tiny[0])
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.detach().clone())
    untied.config.tie_word_embeddings = False
    model, _ = adapted([untied], modules_to_save=["embed_tokens"])
    plain = copy.deepcopy(untied)
    plain.load_state_dict(dict(merged_weights(model)))
    assert not torch.equal(plain.model.embed_tokens.weight, untied.model.embed_tokens.weight)
    assert float((logits(plain) - logits(model)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["q_porj"]}, "the model has no module 'q_porj'; it has .*q_proj"),
        ({"targets": ["input_layernorm"]}, "Target module .*RMSNorm.* is not supported"),
        ({"targets": "q_proj|.*"}, "targets"),
        ({"targets": ["(q|k)_proj"]}, "should match pattern"),
        ({"rnak": 4}, "unknown option 'lora.rnak' .*rank"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, options, message):
    assert re.search(message, run(tmp_path, 1, model={"lora": {**LORA, **options}}).error)
    assert not (tmp_path / "run").exists()
