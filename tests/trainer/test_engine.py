"""The transformers engine: what it samples, with which log-probs, at what cost."""

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.models.embedded import ALPHABET, character_tokenizer
from fdiv_gym_transformers.engine import draw, truncate

PROMPTS = ["1+2=", "9+9=", "3+", "7"]


@pytest.fixture
def engine(tiny):
    model, tokenizer, _ = tiny
    engine = fg.get_engine("transformers", max_new_tokens=6)
    engine.start(model, tokenizer)
    return engine


def fresh_logps(model, prompt, completion, temperature=1.0, top_p=1.0, top_k=0):
    """One unpadded forward pass without any cache: the reference."""
    ids = torch.tensor([[*prompt, *completion.token_ids]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
    logps = torch.log_softmax(truncate(logits / temperature, top_p, top_k), dim=-1)
    return logps.gather(-1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7}, {"temperature": 1.3, "top_p": 0.8}, {"top_k": 3}, {"top_k": 5, "top_p": 0.9}]
)
def test_logprobs_agree_with_a_fresh_forward_pass(tiny, options):
    model, tokenizer, _ = tiny
    engine = fg.get_engine("transformers", max_new_tokens=6, **options)
    engine.start(model, tokenizer)
    prompts = [tokenizer.encode(p) for p in PROMPTS]
    groups = engine.generate(prompts, 5, engine.sampling(3))
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = fresh_logps(model, prompt, completion, **options)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_tempered_logprobs_are_those_the_trainer_computes(tiny):
    from fdiv_gym_accelerate.policy import Row, pad, token_logps

    model, tokenizer, _ = tiny
    engine = fg.get_engine("transformers", max_new_tokens=6, temperature=0.7)
    engine.start(model, tokenizer)
    prompts = [tokenizer.encode(p) for p in PROMPTS]
    rows, sampled = [], []
    for prompt, group in zip(prompts, engine.generate(prompts, 3, engine.sampling(0)), strict=True):
        for c in group:
            rows.append(Row([*prompt, *c.token_ids], [False] * len(prompt) + [True] * len(c.token_ids)))
            sampled.append(sum(c.logprobs))
    batch = pad(rows, tokenizer.pad_token_id, torch.device("cpu"))
    with torch.no_grad():
        logps = token_logps(model, batch, 0.7)
    sums = torch.where(batch.mask, logps, 0.0).sum(-1)
    assert torch.allclose(sums, torch.tensor(sampled), atol=1e-4)


def test_each_prompt_is_prefilled_once_and_finished_rows_leave(tiny, engine):
    model, tokenizer, _ = tiny
    shapes = []
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    prompts = [tokenizer.encode(p) for p in PROMPTS]
    groups = engine.generate(prompts, 8, engine.sampling(1))
    handle.remove()
    lengths = [len(c.token_ids) for g in groups for c in g]
    assert shapes[0] == (4, 4)  # four prompts, not 32 rows
    assert [rows for rows, _ in shapes[1:]] == [sum(n > t for n in lengths) for t in range(1, max(lengths))]
    assert all(width == 1 for _, width in shapes[1:])


def test_same_seed_same_samples_other_seed_other_samples(tiny, engine):
    prompts = [tiny[1].encode(p) for p in PROMPTS]
    first = engine.generate(prompts, 4, engine.sampling(0))
    torch.rand(3)  # the global generator has no effect
    assert engine.generate(prompts, 4, engine.sampling(0)) == first
    assert engine.generate(prompts, 4, engine.sampling(1)) != first


def test_batching_changes_memory_not_the_distribution(tiny):
    model, tokenizer, _ = tiny
    prompts = [tokenizer.encode(p) for p in PROMPTS]
    greedy = []
    for rows in (1, 4, 512):
        engine = fg.get_engine("transformers", max_new_tokens=6, batch_rows=rows)
        engine.start(model, tokenizer)
        greedy.append([[c.token_ids for c in g] for g in engine.generate(prompts, 2, engine.sampling(0, greedy=True))])
    assert greedy[0] == greedy[1] == greedy[2]
    assert all(g[0] == g[1] for g in greedy[0])


@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_no_batch_has_more_rows_than_its_limit(tiny, rows):
    model, tokenizer, _ = tiny
    engine = fg.get_engine("transformers", max_new_tokens=3, batch_rows=rows)
    engine.start(model, tokenizer)
    counts = []
    handle = model.register_forward_pre_hook(lambda m, a, k: counts.append(len(k["input_ids"])), with_kwargs=True)
    prompts = [tokenizer.encode(p) for p in PROMPTS]
    groups = engine.generate(prompts, 4, engine.sampling(0))
    handle.remove()
    assert max(counts) <= rows
    assert [len(group) for group in groups] == [4] * 4
    for prompt, group in zip(prompts, groups, strict=True):
        for completion in group:
            expected = fresh_logps(model, prompt, completion)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_stop_reasons_and_text(tiny, engine):
    tokenizer = tiny[1]
    for group in engine.generate([tokenizer.encode("1+2=")], 40, engine.sampling(0)):
        for c in group:
            ended = c.token_ids[-1] == tokenizer.eos_token_id
            assert c.stop_reason == ("eos" if ended else "length")
            assert ended or len(c.token_ids) == 6
            assert c.text == "".join(tokenizer.convert_ids_to_tokens(list(c.token_ids[:-1] if ended else c.token_ids)))


def test_samples_follow_the_distribution():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2, 0.0]])).expand(20_000, 4)
    chosen, logps = draw(logits, fg.Sampling(1), torch.Generator().manual_seed(0))
    shares = torch.bincount(chosen, minlength=4) / 20_000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2, 0.0]), atol=0.015)
    assert torch.allclose(logps.exp(), torch.tensor([0.5, 0.3, 0.2, 0.0])[chosen], atol=1e-6)


def test_truncation_by_hand():
    logits = torch.log(torch.tensor([[0.4, 0.1, 0.3, 0.2]]))
    kept = lambda x: torch.isfinite(x)[0].tolist()  # noqa: E731
    assert kept(truncate(logits, 1.0, 2)) == [True, False, True, False]
    assert kept(truncate(logits, 0.69, 0)) == [True, False, True, False]
    assert kept(truncate(logits, 0.71, 0)) == [True, False, True, True]
    assert kept(truncate(logits, 0.01, 0)) == [True, False, False, False]


def test_weight_update_takes_effect(tiny):
    import copy

    model, tokenizer, _ = tiny
    served = copy.deepcopy(model)
    engine = fg.get_engine("transformers", max_new_tokens=4)
    engine.start(served, tokenizer)
    prompt = [tokenizer.encode("1+2=")]
    before = engine.generate(prompt, 1, engine.sampling(0, greedy=True))[0][0]
    changed = {name: tensor + 0.5 for name, tensor in model.state_dict().items()}
    engine.update_weights(changed.items())
    after = engine.generate(prompt, 1, engine.sampling(0, greedy=True))[0][0]
    assert torch.allclose(torch.tensor(after.logprobs), fresh_logps(served, prompt[0], after), atol=1e-4)
    assert before.logprobs != after.logprobs
    with pytest.raises(fg.EngineError, match="no weight 'nothing'"):
        engine.update_weights([("nothing", torch.zeros(1))])
    name = next(iter(changed))
    with pytest.raises(fg.EngineError, match="has shape"):
        engine.update_weights([(name, torch.zeros(1))])


def test_clear_errors(tiny, engine):
    with pytest.raises(fg.EngineError, match="prompt 1 is empty"):
        engine.generate([[5], []], 1, engine.sampling(0))
    with pytest.raises(fg.EngineError, match="context holds 256"):
        engine.generate([[5] * 255], 1, engine.sampling(0))
    with pytest.raises(fg.EngineError, match="no model yet"):
        fg.get_engine("transformers").generate([[5]], 1, engine.sampling(0))
    with pytest.raises(fg.ConfigError, match="'temperature'"):
        fg.get_engine("transformers", temperature=0.0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(("value", "tokens"), [("nan", 1), ("nan", 7), ("inf", 1), ("inf", 7), ("-inf", 7)])
def test_logits_that_are_not_finite_are_named(temperature, value, tokens):
    logits = torch.zeros(3, 7)
    logits[1, :tokens] = float(value)
    with pytest.raises(fg.EngineError, match="the logits of 1 of 3 rows are not finite: the weights are damaged"):
        draw(logits, fg.Sampling(1, temperature), torch.Generator().manual_seed(0))
    draw(torch.tensor([[0.0, -torch.inf]]), fg.Sampling(1), torch.Generator())  # a token may be impossible


def test_the_tokenizer_of_another_model_is_named(tiny, engine):
    size = tiny[0].config.vocab_size
    with pytest.raises(fg.EngineError, match=rf"prompt 1 has the token {size}, and the model knows {size} tokens"):
        engine.generate([[5], [6, size]], 1, engine.sampling(0))
    larger = character_tokenizer()
    larger.add_special_tokens({"eos_token": "<end>"})
    with pytest.raises(fg.EngineError, match=rf"end token has the number {size}, .* use the tokenizer of this model"):
        fg.get_engine("transformers").start(tiny[0], larger)


def test_character_tokenizer_round_trip():
    tokenizer = character_tokenizer()
    text = ALPHABET * 2
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode("é") == [tokenizer.unk_token_id]
