"""The cache of the transformers engine: in place, rows that leave, tokens that prompts share."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

import fdiv_gym as fg
from fdiv_gym.testing.tiny import tiny_tokenizer
from fdiv_gym_transformers.cache import common_prefix, filled, padding_may_divide, repeated
from fdiv_gym_transformers.engine import by_inversion


def test_it_holds_what_the_concatenated_cache_holds():
    draw = torch.Generator().manual_seed(0)
    plain, ours = DynamicCache(), DynamicCache()
    prompt = [torch.randn(2, 3, 5, 4, generator=draw) for _ in range(2)]
    for cache in (plain, ours):
        cache.update(*prompt, 0)
    plain.batch_repeat_interleave(3)
    ours = repeated(ours, 3)
    rows = 6
    for token in range(150):  # more than one block
        if token in (3, 70):  # rows leave
            keep = filled([i in (0, 2) for i in range(rows)])
            rows = len(keep)
            for cache in (plain, ours):
                cache.batch_select_indices(torch.tensor(keep))
        new = [torch.randn(rows, 3, 1, 4, generator=draw) for _ in range(2)]
        expected, found = plain.update(*new, 0), ours.update(*new, 0)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert ours.get_seq_length() == 155


def test_the_last_rows_take_the_places_of_finished_ones():
    assert filled([False, True, False, True, False]) == [0, 4, 2]
    assert filled([True, True, False]) == [2]
    assert filled([True, False]) == [1]
    assert filled([False, False]) == [0, 1]
    assert filled([True]) == []


def test_shared_tokens():
    assert common_prefix([[*range(9), 1], [*range(9), 2, 3]]) == 9
    assert common_prefix([list(range(9)), list(range(12))]) == 8  # one token is left for each
    assert common_prefix([list(range(8)), list(range(12))]) == 0  # not worth a pass
    assert common_prefix([list(range(20))]) == 0
    assert common_prefix([[*range(9), 1], [*range(9), 2], [*range(8), 9, 9]]) == 8


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_prompts_that_share_tokens_have_the_logprobs_of_a_plain_pass(tiny, temperature):
    model, tokenizer, _ = tiny
    engine = fg.get_engine("transformers", max_new_tokens=6)
    engine.start(model, tokenizer)
    texts = ["Add up now: 1+2=", "Add up now: 12+3=", "Add up now: 1+2+3=", "Add up now: 4"]
    prompts = [tokenizer.encode(text) for text in texts]
    widths = []
    handle = model.register_forward_pre_hook(
        lambda m, a, k: widths.append(tuple(k["input_ids"].shape)), with_kwargs=True
    )
    groups = engine.generate(prompts, 4, fg.Sampling(6, temperature=temperature, seed=1))
    handle.remove()
    assert widths[:2] == [(1, 12), (4, 6)]
    for prompt, group in zip(prompts, groups, strict=True):
        for c in group:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt, *c.token_ids]])).logits[0, len(prompt) - 1 : -1]
            logps = torch.log_softmax(logits / (temperature or 1.0), -1)
            expected = logps.gather(-1, torch.tensor(c.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(c.logprobs), expected, atol=1e-5)


SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
MPT = {"d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2}
GPT_NEO = {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 4}
MIXTRAL = {"num_local_experts": 4, "output_router_logits": True, "sliding_window": None}


def model_of(kind, **options):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES | options))
    with torch.no_grad():
        for weight in model.parameters():  # far from the small initial weights, so that attention matters
            weight.add_(0.15 * torch.randn(weight.shape))
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("mpt", MPT), ("gpt_neo", GPT_NEO), ("mixtral", MIXTRAL), ("mistral", {"sliding_window": 4}), ("opt", {})],
)
def test_logprobs_are_those_of_a_plain_pass_whatever_counts_the_places(kind, options):
    """Padding behind shared tokens would stand within MPT's distances, GPT-Neo's window, and Mistral's."""
    model, engine = model_of(kind, **options), fg.get_engine("transformers", max_new_tokens=6)
    engine.start(model, tiny_tokenizer())
    prompts = [[*range(20, 30), *range(3, 3 + n)] for n in (1, 4, 12)]
    for prompt, group in zip(prompts, engine.generate(prompts, 3, fg.Sampling(6, seed=1)), strict=True):
        for c in group:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt, *c.token_ids]])).logits[0, len(prompt) - 1 : -1]
            expected = torch.log_softmax(logits, -1).gather(-1, torch.tensor(c.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(c.logprobs), expected, atol=1e-5)


def test_padding_divides_no_row_where_places_are_counted():
    for expected, kind, options in (
        (True, "llama", {}),
        (True, "mistral", {"sliding_window": None}),
        (False, "mistral", {"sliding_window": 4}),
        (False, "gpt_neo", GPT_NEO),
        (False, "mpt", MPT),
        (False, "falcon", {"alibi": True}),
    ):
        model = model_of(kind, **options)
        assert padding_may_divide(model, DynamicCache(config=model.config)) is expected, kind
        assert not padding_may_divide(model, DynamicCache())


@pytest.mark.parametrize(
    ("kind", "options"),
    [("mamba", {"state_size": 4}), ("lfm2", {"full_attn_idxs": [1]}), ("rwkv", {"attention_hidden_size": 32})],
)
def test_models_with_another_state_are_refused_at_the_start(kind, options):
    with pytest.raises(fg.EngineError, match=r"keeps a state of earlier tokens .* set engine\.name = \"vllm\""):
        fg.get_engine("transformers").start(model_of(kind, **options), tiny_tokenizer())


def test_draws_by_inversion_follow_a_large_distribution():
    logits = torch.full((40_000, 1000), -torch.inf)
    logits[:, 3], logits[:, 500], logits[:, 999] = 0.0, torch.tensor(0.5).log(), torch.tensor(0.5).log()
    chosen = by_inversion(logits, torch.Generator().manual_seed(0))
    shares = torch.bincount(chosen, minlength=1000) / len(logits)
    assert set(chosen.tolist()) == {3, 500, 999}
    assert torch.allclose(shares[[3, 500, 999]], torch.tensor([0.5, 0.25, 0.25]), atol=0.01)
