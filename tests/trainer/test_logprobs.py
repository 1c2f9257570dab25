"""Log-probs in chunks of the vocabulary against those from whole logits."""

import copy

import pytest
import torch

from fdiv_gym_accelerate import logprobs
from fdiv_gym_accelerate.logprobs import LogitRule, chunked_logps, head_of


def inputs(tokens=23, size=7, vocabulary=53, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, size, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(vocabulary, size, generator=generator, dtype=dtype).requires_grad_()
    bias = torch.randn(vocabulary, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    return hidden, weight, bias, targets


def whole(hidden, weight, bias, targets, rule):
    logits = rule.scale * torch.nn.functional.linear(hidden, weight, bias)
    if rule.cap is not None:
        logits = rule.cap * torch.tanh(logits / rule.cap)
    logps = torch.log_softmax(logits / rule.temperature, -1)
    return logps.gather(-1, targets[:, None]).squeeze(-1), -(logps.exp() * logps).sum(-1)


@pytest.fixture
def small_chunks(monkeypatch):
    """Eleven columns and nine tokens at a time, which divide neither the vocabulary nor the tokens."""
    set_chunks(monkeypatch, 99, 9, 11)


def set_chunks(monkeypatch, elements, tokens, columns):
    monkeypatch.setitem(logprobs.CHUNK_ELEMENTS, "cpu", elements)
    monkeypatch.setitem(logprobs.CHUNK_TOKENS, "cpu", tokens)
    monkeypatch.setattr(logprobs, "LEAST_COLUMNS", columns)


RULES = [LogitRule(), LogitRule(0.7), LogitRule(1.3, 0.25), LogitRule(0.7, 0.5, 3.0)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_gradients_and_entropy_are_those_of_whole_logits(small_chunks, rule, with_bias):
    hidden, weight, bias, targets = inputs()
    given = (hidden, weight, bias if with_bias else None)
    leaves = [x for x in given if x is not None]
    slopes = torch.linspace(-1, 2, len(targets), dtype=torch.float64)
    logps, entropy = chunked_logps(*given, targets, rule)
    expected, expected_entropy = whole(*given, targets, rule)
    torch.testing.assert_close(logps, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-10, atol=1e-10)
    assert not entropy.requires_grad
    for ours, theirs in zip(
        torch.autograd.grad((logps * slopes).sum(), leaves),
        torch.autograd.grad((expected * slopes).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_the_entropy_keeps_its_digits_over_a_large_vocabulary():
    """One product of 1 x V and V x 1 for each token sums in order on a CPU, and is five times as far off."""
    generator = torch.Generator().manual_seed(0)
    bias = 100 + 0.1 * torch.randn(50_000, generator=generator)
    hidden, weight = torch.zeros(3, 1), torch.zeros(50_000, 1)
    _, entropy = chunked_logps(hidden, weight, bias, torch.tensor([0, 1, 2]), LogitRule())
    exact = torch.distributions.Categorical(logits=bias.double()).entropy()
    assert float((entropy.double() - exact).abs().max()) < 5e-5


def test_finite_differences_confirm_the_gradient(small_chunks):
    hidden, weight, bias, targets = inputs(5, 3, 29)
    rule = LogitRule(0.9, 0.8, 4.0)
    assert torch.autograd.gradcheck(lambda *x: chunked_logps(*x, targets, rule)[0], (hidden, weight, bias))


def test_extreme_logits_stay_finite(small_chunks):
    hidden, weight, _, targets = inputs(dtype=torch.float32)
    logps, entropy = chunked_logps(hidden * 1e4, weight, None, targets, LogitRule())
    assert logps.isfinite().all()
    torch.testing.assert_close(entropy, torch.zeros_like(entropy), rtol=0, atol=1e-2)


def test_a_frozen_head_gets_no_gradient(small_chunks):
    hidden, weight, _, targets = inputs()
    frozen = weight.detach()
    logps, _ = chunked_logps(hidden, frozen, None, targets, LogitRule())
    logps.sum().backward()
    torch.testing.assert_close(
        hidden.grad,
        torch.autograd.grad(whole(hidden, frozen, None, targets, LogitRule())[0].sum(), hidden)[0],
    )
    assert frozen.grad is None


def test_autocast_gives_the_log_probs_of_autocast(small_chunks):
    hidden, weight, _, targets = inputs(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.nn.functional.linear(hidden, weight)
        assert logits.dtype == torch.bfloat16
        expected = torch.log_softmax(logits.float(), -1).gather(-1, targets[:, None]).squeeze(-1)
        logps, _ = chunked_logps(hidden, weight, None, targets, LogitRule())
    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps, expected, rtol=0, atol=1e-5)
    ours = torch.autograd.grad(logps.sum(), (hidden, weight))
    for mine, theirs in zip(ours, torch.autograd.grad(expected.sum(), (hidden, weight)), strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.01


def test_no_logits_of_all_tokens_are_ever_held(monkeypatch):
    """Two chunks of 4096 elements for 64 tokens and 2000 words, where whole logits have 128 000."""
    set_chunks(monkeypatch, 4096, 64, 8)
    hidden, weight, _, targets = inputs(64, 8, 2000)
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, torch.Tensor))
            return result

    with Sizes():
        logps, _ = chunked_logps(hidden, weight, None, targets, LogitRule())
        logps.sum().backward()
    assert max(sizes) == weight.numel()  # the gradient of the weights


def test_what_is_no_linear_head_is_told_apart(tiny):
    model = copy.deepcopy(tiny[0])
    assert head_of(model).projection is model.lm_head
    model.lm_head.register_forward_hook(lambda module, args, output: output * 2)
    assert "hooks" in head_of(model)
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert "is a Sequential and not a Linear" in head_of(model)
    assert "no decoder" in head_of(model.model)
