"""The engine vllm in this process, against the real package: make test-vllm."""

import copy
from dataclasses import replace

import pytest

import fdiv_gym as fg

pytestmark = pytest.mark.vllm
PROMPTS = ["the quick brown fox", "a", "one two three four five six seven"]


def ids(tokenizer, prompts=PROMPTS):
    return [tokenizer.encode(p) for p in prompts]


def fresh_logps(model, prompt, completion, sampling):
    """One unpadded forward pass without any cache, and truncation written by hand."""
    import torch

    tokens = torch.tensor([[*prompt, *completion.token_ids]])
    with torch.no_grad():
        logits = model(input_ids=tokens).logits[0, len(prompt) - 1 : -1].double()
    logits = logits / (sampling.temperature or 1.0)
    if sampling.top_k:
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[:, -1:], -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        mass = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.scatter(-1, places, ordered.masked_fill(mass >= sampling.top_p, -torch.inf))
    logps = torch.log_softmax(logits, -1)
    return logps.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]


def gap(model, tokenizer, groups, sampling, prompts=PROMPTS):
    import torch

    return max(
        float((fresh_logps(model, prompt, c, sampling) - torch.tensor(c.logprobs).double()).abs().max())
        for prompt, group in zip(ids(tokenizer, prompts), groups, strict=True)
        for c in group
    )


def moved(model, scale=0.3, seed=5):
    """A copy of the model with other weights."""
    import torch

    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(scale * parameter.std() * torch.randn(parameter.shape, generator=generator))
    return other


def test_it_passes_the_conformance_kit(model, tokenizer):
    from fdiv_gym.testing import check_engine

    report = check_engine(fg.get_engine("vllm", cache_mb=32), model, tokenizer, tolerance=2e-5)
    assert report.ok, str(report)


def test_sampled_logprobs_are_those_of_a_forward_pass(started, model, tokenizer):
    engine = started()
    for options in (
        {}, {"temperature": 0.7}, {"temperature": 1.6, "top_p": 0.8}, {"top_k": 3}, {"top_k": 8, "top_p": 0.7},
        {"temperature": 0.0},
    ):  # fmt: skip
        sampling = replace(engine.sampling(3), **options)
        assert gap(model, tokenizer, engine.generate(ids(tokenizer), 6, sampling), sampling) < 2e-5, options


def test_ends_texts_and_refusals(started, model, tokenizer):
    engine = started()
    prompts = ids(tokenizer)
    completions = [c for group in engine.generate(prompts, 40, engine.sampling(0)) for c in group]
    assert {c.stop_reason for c in completions} == {"eos", "length"}
    for c in completions:
        ended = c.token_ids[-1] == tokenizer.eos_token_id
        assert c.stop_reason == ("eos" if ended else "length")
        assert tokenizer.eos_token_id not in c.token_ids[:-1]
        assert ended or len(c.token_ids) == 12
        assert c.text == tokenizer.decode(c.token_ids[:-1] if ended else c.token_ids)
    with pytest.raises(fg.EngineError, match="prompt 1 is empty"):
        engine.generate([prompts[0], []], 1, engine.sampling(0))
    with pytest.raises(fg.EngineError, match=r"prompt 0 has 501 tokens .* the context holds 512"):
        engine.generate([[5] * 501], 1, engine.sampling(0))
    assert engine.generate([[5] * 500], 1, engine.sampling(0))
    with pytest.raises(fg.EngineError, match=r"0\.01 at least"):
        engine.generate(prompts, 1, replace(engine.sampling(0), temperature=0.001))


def test_further_end_tokens_of_the_generation_config(started, model, tokenizer):
    letter = tokenizer.encode("e")[0]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, letter]
    engine = started()
    completions = [c for group in engine.generate(ids(tokenizer), 20, engine.sampling(0)) for c in group]
    assert any(c.token_ids[-1] == letter and c.stop_reason == "eos" for c in completions)
    assert all(letter not in c.token_ids[:-1] for c in completions)


def test_seeds(started, tokenizer):
    engine = started()
    prompts = ids(tokenizer)
    first = engine.generate(prompts, 5, engine.sampling(7))
    assert [[c.token_ids for c in g] for g in engine.generate(prompts, 5, engine.sampling(7))] == [
        [c.token_ids for c in g] for g in first
    ]
    assert engine.generate(prompts, 5, engine.sampling(8)) != first
    twice = engine.generate([prompts[0], prompts[0]], 5, engine.sampling(7))
    assert not {c.token_ids for c in twice[0]} & {c.token_ids for c in twice[1]}  # draws of their own


def test_a_sync_changes_what_is_sampled(started, model, tokenizer):
    engine, other = started(), moved(model)
    sampling = engine.sampling(1)
    assert gap(model, tokenizer, engine.generate(ids(tokenizer), 4, sampling), sampling) < 2e-5
    engine.update_weights(other.state_dict().items())
    groups = engine.generate(ids(tokenizer), 4, sampling)
    assert gap(other, tokenizer, groups, sampling) < 2e-5
    assert gap(model, tokenizer, groups, sampling) > 0.1
    engine.update_weights((n, w) for n, w in model.state_dict().items() if n != "lm_head.weight")  # a tied weight
    assert gap(model, tokenizer, engine.generate(ids(tokenizer), 4, sampling), sampling) < 2e-5


def test_a_small_update_arrives_too(started, model):
    engine = started()
    other = moved(model, scale=1e-6)
    before = engine._backend.score(engine._probe.tokens)
    engine.update_weights(other.state_dict().items())
    after = engine._backend.score(engine._probe.tokens)
    assert before != after
    assert before["vLLM"] == pytest.approx(after["vLLM"], abs=1e-4)


def test_an_incomplete_sync_is_refused(started, model):
    engine = started()
    weights = dict(model.state_dict())
    del weights["model.norm.weight"]
    with pytest.raises(fg.EngineError, match=r"1 of \d+ weights are missing, e\.g\. 'model\.norm\.weight'"):
        engine.update_weights(weights.items())


def test_a_sync_that_did_not_arrive_is_caught_by_the_probe(started, model, monkeypatch):
    engine = started()
    monkeypatch.setattr(type(engine._backend), "load", lambda self, weights: list(weights))
    engine.update_weights(model.state_dict().items())  # nothing changed, so nothing can be missing
    with pytest.raises(fg.EngineError, match="the sync did not arrive, and it samples stale weights"):
        engine.update_weights(moved(model, 1e-4).state_dict().items())


def test_without_the_reset_a_long_prompt_is_answered_from_old_weights(started, model, tokenizer, monkeypatch):
    """The fault that the reset prevents, and what the log-probs show of it; the probe does not use the cache."""
    engine, other = started(), moved(model)
    prompts = ["the quick brown fox jumps over the lazy dog " * 8]
    sampling = engine.sampling(1)
    engine.generate(ids(tokenizer, prompts), 2, sampling)
    with monkeypatch.context() as patch:
        patch.setattr(type(engine._backend), "reset_prefix_cache", lambda self: None)
        engine.update_weights(other.state_dict().items())
    assert gap(other, tokenizer, engine.generate(ids(tokenizer, prompts), 2, sampling), sampling, prompts) > 0.01
    engine.update_weights(other.state_dict().items())
    assert gap(other, tokenizer, engine.generate(ids(tokenizer, prompts), 2, sampling), sampling, prompts) < 2e-5


def test_what_a_cpu_has_not_is_refused(started):
    with pytest.raises(fg.EngineError, match=r"engine\.sleep releases the memory of a GPU"):
        started(sleep=True)


def test_half_precision_declares_its_tolerance(started, model, tokenizer):
    engine = started(dtype="bfloat16")
    sampling = engine.sampling(1)
    assert 1e-4 < gap(model, tokenizer, engine.generate(ids(tokenizer), 4, sampling), sampling) < 1.0
    assert engine.logprob_tolerance == 0.1
