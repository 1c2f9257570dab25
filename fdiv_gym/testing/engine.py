"""The conformance kit for rollout engines."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fdiv_gym.errors import EngineError, MissingExtraError
from fdiv_gym.registry.guard import check_completions, label_of
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.testing.report import CannotCheckError, Report
from fdiv_gym.testing.text_engine import check_text_engine
from fdiv_gym.testing.tiny import CONTEXT, tiny_model, tiny_tokenizer
from fdiv_gym.types.trajectory import Completion, Sampling

PROMPTS = ("a", "the quick", "one two three four")
SAMPLING = Sampling(max_new_tokens=6, seed=11)
DRAWS = 2048


@dataclass
class _Bench:
    """An engine, a copy of its model, and the tolerance of its log-probs."""

    engine: Engine
    model: Any
    tokenizer: Any
    tolerance: float

    def generate(self, n: int, sampling: Sampling, prompts: Sequence[str] = PROMPTS) -> list[list[Completion]]:
        ids = [self.tokenizer.encode(p) for p in prompts]
        return check_completions(self.engine, self.engine.generate(ids, n, sampling), len(ids), n)

    def gap(self, prompt: str, completion: Completion, sampling: Sampling) -> float:
        """Largest difference between a reported log-prob and a plain forward pass, in nats."""
        start = list(self.tokenizer.encode(prompt))
        ids = torch.tensor([[*start, *completion.token_ids]])
        with torch.no_grad():
            logits = self.model(input_ids=ids).logits[0, len(start) - 1 : -1].double()
        expected = log_probs(logits, sampling).gather(-1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1)
        return float((expected - torch.tensor(completion.logprobs, dtype=torch.float64)).abs().max())


def check_engine(engine: Engine, model: Any = None, tokenizer: Any = None, *, tolerance: float = 1e-3) -> Report:
    """Check an engine that is not yet started against its contract.

    Args:
        engine: an instance; it is started here and left closed.
        model: a transformers model; a tiny random one if None. For a ``TextEngine``, the name of a model, by default
            the only one that there is.
        tokenizer: its tokenizer.
        tolerance: allowed difference of log-probs, in nats; engines in half precision need more.

    Returns:
        A report with one entry for each check.

    Raises:
        CannotCheckError: the engine needs a package that is not installed, or a text engine options to reach a model.
    """
    if isinstance(engine, TextEngine):
        return check_text_engine(engine, "embedded" if model is None else model)
    report = Report(label_of(engine))
    model = tiny_model() if model is None else model
    tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
    bench = _Bench(engine, copy.deepcopy(model).eval(), tokenizer, tolerance)
    with report.section("start"):
        try:
            engine.start(model, tokenizer)
        except MissingExtraError as error:
            raise CannotCheckError(str(error)) from None
    if not report.ok:
        return report
    checks: dict[str, Callable[[_Bench, Report], None]] = {
        "samples": _samples,
        "stop-reason": _stop_reasons,
        "log-probs": _log_probs,
        "greedy": _greedy,
        "seed": _seeds,
        "distribution": _distribution,
        "refusals": _refusals,
        "weights": _weights,
    }
    for name, check in checks.items():
        with report.section(name):
            check(bench, report)
    with report.section("close"):
        engine.close()
        engine.close()
    return report


def log_probs(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log-probs [T, V] of the distribution that the sampling draws from."""
    if sampling.temperature == 0:
        return torch.log_softmax(logits, -1)
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits = torch.where(logits < least, -math.inf, logits)
    return torch.log_softmax(logits, -1)


def _samples(bench: _Bench, report: Report) -> None:
    for n in (1, 5):
        bench.generate(n, SAMPLING)
    for prompt, group in zip(PROMPTS, bench.generate(4, SAMPLING), strict=True):
        for completion in group:
            eos = bench.tokenizer.eos_token_id
            body = [t for i, t in enumerate(completion.token_ids) if t != eos or i < len(completion.token_ids) - 1]
            # Other special tokens are kept, so that a verifier gets them.
            expected = bench.tokenizer.decode(body, skip_special_tokens=False)
            report.check(
                "samples", completion.text == expected,
                f"prompt {prompt!r}: text is {completion.text!r}, but its tokens decode to {expected!r}",
            )  # fmt: skip


def _stop_reasons(bench: _Bench, report: Report) -> None:
    eos, limit = bench.tokenizer.eos_token_id, SAMPLING.max_new_tokens
    for completion in (c for group in bench.generate(16, SAMPLING) for c in group):
        tokens = completion.token_ids
        report.check("stop-reason", len(tokens) >= 1, "a completion has no token, not even the end token")
        report.check("stop-reason", len(tokens) <= limit, f"{len(tokens)} tokens, max_new_tokens is {limit}")
        report.check("stop-reason", eos not in tokens[:-1], "a completion continues after its end token")
        ended = bool(tokens) and tokens[-1] == eos
        expected = "eos" if ended else "length"
        report.check(
            "stop-reason", completion.stop_reason == expected,
            f"stop_reason is {completion.stop_reason!r} for {len(tokens)} tokens "
            f"{'with' if ended else 'without'} the end token, expected {expected!r}",
        )  # fmt: skip
        if not ended:
            report.check("stop-reason", len(tokens) == limit, f"stopped at {len(tokens)} tokens without the end token")


def _log_probs(bench: _Bench, report: Report) -> None:
    for sampling in (SAMPLING, replace(SAMPLING, temperature=0.7), replace(SAMPLING, top_k=5)):
        groups = bench.generate(3, sampling)
        gap = max(bench.gap(p, c, sampling) for p, group in zip(PROMPTS, groups, strict=True) for c in group)
        report.check(
            "log-probs", gap <= bench.tolerance,
            f"temperature {sampling.temperature}, top_k {sampling.top_k}: log-probs are up to {gap:.3g} nats away from "
            f"a forward pass, allowed {bench.tolerance:g}",
        )  # fmt: skip


def _greedy(bench: _Bench, report: Report) -> None:
    greedy = replace(SAMPLING, temperature=0.0)
    for prompt, group in zip(PROMPTS, bench.generate(2, greedy), strict=True):
        report.check("greedy", group[0].token_ids == group[1].token_ids, "two greedy completions of a prompt differ")
        ids = list(bench.tokenizer.encode(prompt))
        with torch.no_grad():
            best = int(bench.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        report.check("greedy", group[0].token_ids[0] == best, f"prompt {prompt!r}: not the most likely token first")


def _seeds(bench: _Bench, report: Report) -> None:
    def tokens(seed: int) -> list[tuple[int, ...]]:
        return [c.token_ids for g in bench.generate(8, replace(SAMPLING, seed=seed)) for c in g]

    report.check("seed", tokens(1) == tokens(1), "seed 1 twice produced different completions")
    report.check("seed", tokens(1) != tokens(2), "seeds 1 and 2 produced the same completions")
    first = [c.token_ids for c in bench.generate(8, SAMPLING)[0]]
    report.check("seed", len(set(first)) > 1, "all samples of a prompt are equal: n is not n independent draws")


def _distribution(bench: _Bench, report: Report) -> None:
    """The mean log-prob of many draws is minus the entropy, within five standard errors."""
    sampling = replace(SAMPLING, max_new_tokens=1)
    drawn = torch.tensor([c.logprobs[0] for c in bench.generate(DRAWS, sampling, PROMPTS[:1])[0]], dtype=torch.float64)
    with torch.no_grad():
        ids = torch.tensor([bench.tokenizer.encode(PROMPTS[0])])
        logps = torch.log_softmax(bench.model(input_ids=ids).logits[0, -1].double(), -1)
    expected = float((logps.exp() * logps).sum())
    spread = float(((logps.exp() * logps**2).sum() - expected**2).sqrt()) / math.sqrt(DRAWS)
    mean = float(drawn.mean())
    report.check(
        "distribution", abs(mean - expected) <= 5 * spread + bench.tolerance,
        f"the mean log-prob of {DRAWS} draws is {mean:.3f}, expected {expected:.3f} +- {spread:.3f}: "
        "the tokens are not drawn from the distribution of their log-probs",
    )  # fmt: skip


def _refusals(bench: _Bench, report: Report) -> None:
    limit = int(getattr(bench.model.config, "max_position_embeddings", CONTEXT))
    some = bench.tokenizer.encode(PROMPTS[0])
    for what, prompt in (("an empty prompt", []), ("a prompt that fills the context", [some[0]] * limit)):
        try:
            bench.engine.generate([prompt], 1, SAMPLING)
        except EngineError:
            continue
        report.fail("refusals", f"{what} was accepted, expected an EngineError")
    name, tensor = next(iter(bench.model.state_dict().items()))
    for what, weights in (("an unknown name", {"no.such.weight": tensor}), ("a wrong shape", {name: tensor[:1]})):
        try:
            bench.engine.update_weights(weights.items())
        except EngineError:
            continue
        report.fail("refusals", f"a weight of {what} was accepted, expected an EngineError")


def _weights(bench: _Bench, report: Report) -> None:
    """After an update the log-probs are those of the new weights, and differ from those of the old."""
    fresh = copy.deepcopy(bench.model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    old = bench.model
    bench.engine.update_weights(fresh.state_dict().items())
    groups = bench.generate(4, SAMPLING)
    gaps = {}
    for which, model in (("new", fresh), ("old", old)):
        bench.model = model
        gaps[which] = max(bench.gap(p, c, SAMPLING) for p, group in zip(PROMPTS, groups, strict=True) for c in group)
    bench.model = fresh
    report.check(
        "weights", gaps["new"] <= bench.tolerance,
        f"after update_weights the log-probs are {gaps['new']:.3g} nats away from the new weights "
        f"and {gaps['old']:.3g} from the old",
    )  # fmt: skip
    report.metrics["log-prob gap after a weight update, nats"] = gaps["new"]
