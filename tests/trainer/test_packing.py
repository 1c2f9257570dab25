"""Shared prompts give the log-probs and the gradient of repeated ones, and only where a model allows it."""

import copy
import functools

import pytest
import torch
import transformers
from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym_accelerate import packing
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.packing import arrangement, packed, prompts_of, refusal_of
from fdiv_gym_accelerate.passes import Passes, check_sharing
from fdiv_gym_accelerate.policy import Packed, Row
from fdiv_gym_accelerate.streams import StreamBatch

SMALL = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip


def model_of(kind, attention="sdpa", dtype=torch.float64, **options):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL | options)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=dtype)
    with torch.no_grad():
        for weight in model.parameters():  # far from the small initial weights, so that attention matters
            weight.add_(0.2 * torch.randn(weight.shape, dtype=dtype))
    if dtype == torch.float64:
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm") and kind in ("llama", "qwen3"):
                module.forward = functools.partial(norm_in_fp64, module)
    return model.eval()


def norm_in_fp64(module, hidden):
    """The models' own norms compute in fp32, whatever their weights are."""
    return module.weight * hidden * (hidden.square().mean(-1, keepdim=True) + module.variance_epsilon).rsqrt()


def groups(count=3, size=4):
    """Rows of groups with prompts of 5 to 9 tokens and responses of 1 to 6; one row is cut off without response."""
    generator = torch.Generator().manual_seed(1)

    def draw(n):
        return torch.randint(61, (n,), generator=generator).tolist()

    rows = []
    for g in range(count):
        prompt = draw(5 + 2 * g)
        for k in range(size):
            response = draw(1 + (3 * g + 2 * k) % 6)
            # A conversation has tokens of the environment within the response.
            mask = [True] * len(response) if k else [i != 1 for i in range(len(response))]
            rows.append(Row([*prompt, *response], [False] * len(prompt) + mask, [0.0] * (len(prompt) + len(response))))
    rows.append(Row(draw(6), [False] * 6, [0.0] * 6))
    return StreamBatch.of(rows, [[i] for i in range(len(rows))], 0)


def gradient(model, stream, share, **options):
    passes = Passes(Accelerator(cpu=True), share_prompts=share, **options)
    model.zero_grad()
    slopes = torch.linspace(-1, 2, stream.padded.mask.numel(), dtype=torch.float64).view(stream.padded.mask.shape)
    found = torch.zeros(stream.padded.mask.shape, dtype=torch.float64)
    for index in passes.slices(model, stream):
        batch, _ = stream.take(index, torch.device("cpu"))
        logps = passes.scores(model, batch, 0.8).logps
        (logps * slopes[index, : logps.shape[1]]).sum().backward()
        found[index, : logps.shape[1]] = logps.detach().double()
    return found, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize(
    ("attention", "dtype", "bound"),
    [("sdpa", torch.float32, 3e-6), ("eager", torch.float32, 3e-6), ("sdpa", torch.float64, 1e-10)],
)
def test_shared_prompts_have_the_gradient_of_repeated_ones(kind, attention, dtype, bound):
    model, stream = model_of(kind, attention, dtype), groups()
    shapes = []
    model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    repeated, expected = gradient(model, stream, "never")
    assert shapes[-1][0] == 13
    shared, found = gradient(model, stream, "always")
    assert shapes[-1][0] < 13
    torch.testing.assert_close(shared, repeated, rtol=0, atol=3e-5 if dtype == torch.float32 else 1e-11)
    assert float((found - expected).norm() / expected.norm()) < bound


def test_a_mixture_of_experts_that_returns_its_router_loss_shares_prompts(monkeypatch):
    """Without log-probs in chunks, as with an adapter on the head, the model would compute the loss with the mask."""
    monkeypatch.setattr("fdiv_gym_accelerate.passes.head_of", lambda model: "no head")
    experts = {"num_local_experts": 4, "output_router_logits": True, "sliding_window": None}
    model, stream = model_of("mixtral", dtype=torch.float32, **experts), groups()
    _, expected = gradient(model, stream, "never")
    _, found = gradient(model, stream, "always")
    assert float((found - expected).norm() / expected.norm()) < 3e-6


@pytest.mark.parametrize("limits", [{"rows": 3}, {"tokens": 40}, {"tokens": 1}])
def test_any_micro_batches_give_the_same_sum(limits):
    model, stream = model_of("llama"), groups()
    _, expected = gradient(model, stream, "never")
    for share in ("never", "always"):
        _, found = gradient(model, stream, share, **limits)
        assert float((found - expected).norm() / expected.norm()) < 1e-10


def test_micro_batches_keep_to_their_limits_and_are_sorted():
    stream = groups()
    lengths = stream.padded.attention.sum(-1)
    for bundled in (False, True):
        slices = list(stream.slices(5, tokens=60, bundled=bundled))
        assert sorted(torch.cat(slices).tolist()) == list(range(13))
        assert all(len(i) <= 5 and len(i) * int(lengths[i].max()) <= 60 for i in slices)
    by_length = [int(lengths[i].max()) for i in stream.slices(5, tokens=60)]
    assert by_length == sorted(by_length)
    assert [i.tolist() for i in stream.slices(4, bundled=True)][1:3] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(list(stream.slices(256, tokens=10_000))) == 1


def test_a_response_that_sees_its_neighbour_would_change_the_gradient(monkeypatch):
    model, stream = model_of("llama"), groups()
    _, expected = gradient(model, stream, "never")
    plain = packing.packed

    def leaky(batch, prompts, parts):
        rows = plain(batch, prompts, parts)
        causal = torch.ones_like(rows.visible[0, 0]).tril()
        return Packed(rows.ids, rows.positions, causal.expand_as(rows.visible), rows.row, rows.column)

    monkeypatch.setattr("fdiv_gym_accelerate.passes.packed", leaky)
    events = EventLog({"plain_pass": "warn"}, lambda line: None)
    _, found = gradient(model, stream, "always", events=events)
    # The comparison on the first rows finds it, and the repeated prompts are used.
    assert float((found - expected).norm() / expected.norm()) < 1e-10
    (record,) = events.records(1)
    assert record["name"] == "plain_pass"
    assert "differ from those of repeated prompts by" in record["message"]
    monkeypatch.setattr("fdiv_gym_accelerate.passes.bound_of_passes", lambda model: fg_bound())
    _, unchecked = gradient(model, stream, "always")
    assert float((unchecked - expected).norm() / expected.norm()) > 1e-3


def fg_bound():
    from fdiv_gym_accelerate.gap import Bound

    return Bound(1e9, "the test")


def test_a_head_that_does_more_than_it_shows_is_found_by_its_values():
    class Odd(transformers.LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 1.5
            return output

    config = transformers.LlamaConfig(**SMALL)
    torch.manual_seed(0)
    model, stream = Odd(config).double().eval(), groups()
    events = EventLog({"plain_pass": "warn"}, lambda line: None)
    found = Passes(Accelerator(cpu=True), share_prompts="never", events=events).all_rows(model, stream, 1.0)
    logits = model(stream.padded.ids, attention_mask=stream.padded.attention).logits[:, :-1]
    expected = torch.log_softmax(logits, -1).gather(-1, stream.padded.ids[:, 1:, None]).squeeze(-1)
    mask = stream.padded.mask
    torch.testing.assert_close(found[mask], expected[mask].float().detach(), rtol=0, atol=1e-5)
    assert "differ from those of the model's own logits" in events.records(1)[0]["message"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gemma2", {"head_dim": 8, "attention": "eager", "final_logit_softcapping": 5.0}),
        ("granite", {"logits_scaling": 3.0}),
        ("cohere", {"logit_scale": 0.3}),
        ("llama", {"tie_word_embeddings": True}),
    ],
)
def test_heads_with_scales_caps_and_tied_weights_are_computed_in_chunks(kind, options):
    model, stream = model_of(kind, **options), groups()
    passes = Passes(Accelerator(cpu=True), share_prompts="never")
    _, found = gradient(model, stream, "never")
    passes.all_rows(model, stream, 0.8)
    assert passes._ways(model).head is not None
    model.zero_grad()
    slopes = torch.linspace(-1, 2, stream.padded.mask.numel(), dtype=torch.float64).view(stream.padded.mask.shape)
    logits = model(stream.padded.ids, attention_mask=stream.padded.attention).logits[:, :-1] / 0.8
    logps = torch.log_softmax(logits, -1).gather(-1, stream.padded.ids[:, 1:, None]).squeeze(-1)
    torch.where(stream.padded.mask, logps * slopes, 0.0).sum().backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float((found - expected).norm() / expected.norm()) < 1e-10


REFUSED = [
    ("mistral", {"sliding_window": 4}, "sliding_window"),
    ("gemma3_text", {"head_dim": 8, "sliding_window": 4}, "sliding_attention"),
    ("bloom", {"n_layer": 2, "n_head": 4}, "position_ids"),
    ("mamba", {}, "position_ids"),
    ("gpt2", {"n_layer": 1, "n_embd": 16, "n_head": 2}, "rotary"),
]


@pytest.mark.parametrize(("kind", "options", "why"), REFUSED)
def test_other_models_are_refused(kind, options, why):
    model, stream = model_of(kind, "eager", **options), groups(2, 3)
    assert why in refusal_of(model)
    with pytest.raises(fg.ConfigError, match=r'share_prompts = "always".*set "auto" or "never"'):
        check_sharing("always", model)
    passes = Passes(Accelerator(cpu=True))
    assert passes._ways(model).pair_cost is None
    passes.all_rows(model, stream, 1.0)


def test_mistral_without_a_window_is_allowed():
    assert refusal_of(model_of("mistral", sliding_window=None)) is None


def test_a_sliding_window_would_be_wrong_and_is_found_by_its_values(monkeypatch):
    """Without the allow-list the comparison still tells it, if the rows are longer than the window."""
    model, stream = model_of("mistral", sliding_window=4), groups()
    monkeypatch.setattr("fdiv_gym_accelerate.passes.refusal_of", lambda model: None)
    passes = Passes(Accelerator(cpu=True), share_prompts="always")
    passes.all_rows(model, stream, 1.0)
    assert passes._ways(model).pair_cost is None


def test_the_cost_model_shares_long_prompts_and_not_long_responses():
    """The three shapes measured on the 135 M model: 2.2, 2.9 and 0.9 times as fast."""
    pair = 2.2 * 4 * 30 * 9 * 64 / (2 * 106e6)

    def rows(prompt, response, size=8):
        return arrangement([tuple(range(prompt))] * size, [prompt + response] * size, pair)

    assert rows(45, 13) == [list(range(8))]
    assert rows(200, 32) == [list(range(8))]
    assert rows(64, 128) is None or max(len(part) for part in rows(64, 128)) < 8
    assert rows(10, 500) is None
    assert rows(4000, 90) == [[0], [1], [2], [3], [4], [5], [6], [7]] or rows(4000, 90) is None


def test_no_packed_row_is_longer_than_its_limit(monkeypatch):
    monkeypatch.setattr(packing, "LONGEST", 30)
    batch = groups().padded
    prompts, lengths = prompts_of(batch), batch.attention.sum(-1).tolist()
    parts = arrangement(prompts, lengths, 0.0, always=True)
    assert packed(batch, prompts, parts).ids.shape[1] <= 30
    assert sorted(i for part in parts for i in part) == list(range(13))
    monkeypatch.setattr(packing, "LONGEST", 10)
    assert arrangement(prompts, lengths, 0.0, always=True) is None


def test_the_embedded_model_shares_prompts(tiny):
    assert refusal_of(copy.deepcopy(tiny[0])) is None
