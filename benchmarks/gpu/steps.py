"""Gradients of a 0.5 B model: seconds, peak memory and precision, ours against a plain pass, and sampling."""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from logprob_memory import peak_resident

import fdiv_gym as fg
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.policy import Padded, TokenScores, token_scores
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream, whole_groups
from fdiv_gym_accelerate.update import Updater


@dataclass(frozen=True)
class Sizes:
    """The model and the rows of a step.

    Args:
        vocabulary: tokens.
        hidden: width; each head has 64 of it (16 in the rehearsal).
        layers: of the model.
        heads: of attention.
        key_value_heads: of attention.
        inner: width of the MLP.
        prompts: of a step.
        group: responses to a prompt.
        prompt_tokens: of each prompt.
        response_tokens: of each response.
        repeats: timed gradients; one more before them is not timed.
    """

    vocabulary: int = 151_936
    hidden: int = 896
    layers: int = 24
    heads: int = 14
    key_value_heads: int = 2
    inner: int = 4864
    prompts: int = 4
    group: int = 8
    prompt_tokens: int = 192
    response_tokens: int = 64
    repeats: int = 5


TINY = Sizes(2048, 64, 2, 4, 2, 128, 2, 4, 24, 8, 2)


def qwen(sizes: Sizes, device: str) -> Any:
    """A model of the shape of Qwen2.5-0.5B with random weights in fp32."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=sizes.vocabulary, hidden_size=sizes.hidden, intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads, num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=None, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return Qwen2ForCausalLM(config).float().eval()


def groups_of(sizes: Sizes) -> list[fg.TrajectoryGroup]:
    """Random prompts and responses with random scores; no group has equal ones."""
    draw = random.Random(0)
    length = sizes.prompt_tokens + sizes.response_tokens
    mask = (False,) * sizes.prompt_tokens + (True,) * sizes.response_tokens
    groups = []
    for _ in range(sizes.prompts):
        prompt = [draw.randrange(2, sizes.vocabulary) for _ in range(sizes.prompt_tokens)]
        rows = []
        for _ in range(sizes.group):
            response = [draw.randrange(2, sizes.vocabulary) for _ in range(sizes.response_tokens)]
            logps = (0.0,) * sizes.prompt_tokens + (-math.log(sizes.vocabulary),) * sizes.response_tokens
            score = fg.Verdict.scored(draw.random())
            assert len(logps) == length
            rows.append(fg.Trajectory(tuple(prompt + response), logps, mask, "", "length", score))
        groups.append(fg.TrajectoryGroup(fg.Task(prompt="", answer=""), tuple(rows)))
    return groups


class PlainPasses(Passes):
    """What most code does: the logits of all tokens of all rows, each row with its own prompt."""

    def scores(self, model: Any, batch: Padded, temperature: float) -> TokenScores:
        """Log-probs from whole logits [b, T, V] in fp32."""
        with self.accelerator.autocast():
            logits = model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits[:, :-1]
        logps = (logits.float() / temperature).log_softmax(-1)
        return TokenScores(logps.gather(-1, batch.ids[:, 1:, None]).squeeze(-1) * batch.mask, None)


class WholeLogits(Passes):
    """Shared prompts, and the logits of all their tokens."""

    def _compare_head(self, model: Any, batch: Padded, temperature: float, ways: Any) -> None:
        ways.head_compared = True


def passes_of(way: str, accelerator: Accelerator, rows: int, tokens: int) -> Passes:
    """The forward passes of a way, all rows in one."""
    if way == "plain":
        return PlainPasses(accelerator, rows, tokens, "never")
    if way == "chunks":
        return Passes(accelerator, rows, tokens, "never")
    if way == "shared prompts":
        return WholeLogits(accelerator, rows, tokens, "always")
    return Passes(accelerator, rows, tokens, "always")


WAYS = ("plain", "chunks", "shared prompts", "chunks and shared prompts")


def accelerator_of(precision: str) -> Accelerator:
    """An accelerator of its own precision; accelerate keeps that of the first one in a process."""
    AcceleratorState._reset_state()
    cpu = not torch.cuda.is_available()
    return Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=cpu)


class Meter:
    """Seconds, and the growth of the peak of memory, in a block."""

    def __enter__(self) -> Meter:
        gc.collect()
        self.cuda = torch.cuda.is_available()
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.before = float(torch.cuda.memory_allocated())
        else:
            with open("/proc/self/statm", encoding="ascii") as file:
                self.before = float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cuda:
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.begun
        peak = float(torch.cuda.max_memory_allocated()) if self.cuda else peak_resident()
        self.peak_mb = (peak - self.before) / 2**20


def gradient_of(updater: Updater, groups: list[fg.TrajectoryGroup]) -> None:
    """The gradient of a step, left in ``.grad``."""
    stream = rollout_stream(groups, 0)
    whole, own = whole_groups(groups, stream)
    coefficients = updater.objective.prepare(whole, None)
    updater.accumulate({"rollouts": stream}, coefficients, {"rollouts": own})


def gradient_norm(model: Any) -> float:
    """Of all parameters."""
    return math.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in model.parameters() if p.grad is not None))


def timed_way(model: Any, groups: list[fg.TrajectoryGroup], way: str, precision: str, sizes: Sizes) -> dict[str, Any]:
    """Seconds of a gradient and an AdamW step, peak memory beyond weights, moments and gradient, and the norm."""
    accelerator = accelerator_of(precision)
    rows = sizes.prompts * sizes.group
    tokens = rows * (sizes.prompt_tokens + sizes.response_tokens)
    objective = fg.get_objective("grpo", beta=0.0)
    updater = Updater(objective, model, None, accelerator, passes=passes_of(way, accelerator, rows, tokens))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)  # the weights stay the same
    gradient_of(updater, groups)  # kernels, comparisons of the first rows, moments
    optimizer.step()
    seconds, peaks, norm = [], [], 0.0
    for _ in range(sizes.repeats):
        optimizer.zero_grad(set_to_none=False)
        with Meter() as meter:
            gradient_of(updater, groups)
            optimizer.step()
        seconds.append(meter.seconds)
        peaks.append(meter.peak_mb)
        norm = gradient_norm(model)
    optimizer.zero_grad()
    middle = statistics.median(seconds)
    return {
        "way": way, "precision": precision, "seconds": middle, "tokens_per_second": tokens / middle,
        "peak_mb": max(peaks), "grad_norm": norm, "rows": rows, "tokens": tokens,
    }  # fmt: skip


def steps(sizes: Sizes, device: str, precisions: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each way in each precision; a way without enough memory has ``out_of_memory`` instead of figures."""
    groups, model, rows = groups_of(sizes), qwen(sizes, device), []
    for precision in precisions:
        for way in WAYS:
            try:
                rows.append(timed_way(model, groups, way, precision, sizes))
            except (torch.OutOfMemoryError, fg.FdivGymError) as error:
                if not isinstance(error, torch.OutOfMemoryError) and not isinstance(
                    error.__cause__, torch.OutOfMemoryError
                ):
                    raise
                rows.append({"way": way, "precision": precision, "out_of_memory": True})
                model.zero_grad()
    return rows


def token_logps(model: Any, stream: StreamBatch, scores: Callable[[Any, Padded], TokenScores]) -> torch.Tensor:
    """The log-probs of all response tokens of a stream, row by row."""
    device = next(model.parameters()).device
    parts = []
    with torch.no_grad():
        for row in range(len(stream.padded.ids)):
            batch, _ = stream.take(torch.tensor([row]), device)
            parts.append(scores(model, batch).logps[batch.mask].double().cpu())
    return torch.cat(parts)


def precisions(sizes: Sizes, device: str) -> dict[str, dict[str, float]]:
    """Differences to the plain fp32 log-probs, in nats a token: chunks, bf16 by autocast, and bf16 weights."""
    model, stream = qwen(sizes, device), rollout_stream(groups_of(sizes), 0)

    def plain(model: Any, batch: Padded) -> TokenScores:
        return token_scores(model, batch, 1.0)

    exact = token_logps(model, stream, plain)
    found = {}
    for name, precision in {"fp32 in chunks": "fp32", "bf16 by autocast": "bf16", "bf16 weights": "bf16_full"}.items():
        accelerator = accelerator_of(precision)
        passes = Passes(accelerator, share_prompts="never")
        if precision == "bf16_full":
            model = model.to(torch.bfloat16)
        gap = (token_logps(model, stream, lambda m, b, passes=passes: passes.scores(m, b, 1.0)) - exact).abs()
        found[name] = {"mean": float(gap.mean()), "largest": float(gap.max()), "tokens": float(len(gap))}
    return found


def sampling(sizes: Sizes, device: str) -> dict[str, float]:
    """Response tokens a second of the engine ``transformers``, in bf16; responses end at their limit only."""
    from fdiv_gym.models.embedded import character_tokenizer

    model = qwen(sizes, device).to(torch.bfloat16)
    tokenizer = character_tokenizer()
    tokenizer.pad_token_id, tokenizer.eos_token_id = 0, None
    model.generation_config.eos_token_id = None
    engine = fg.get_engine("transformers")
    engine.start(model, tokenizer)
    prompts = [list(group.trajectories[0].token_ids[: sizes.prompt_tokens]) for group in groups_of(sizes)]
    draws = fg.Sampling(max_new_tokens=sizes.response_tokens, temperature=1.0, seed=0)
    engine.generate(prompts, sizes.group, draws)
    with Meter() as meter:
        completions = engine.generate(prompts, sizes.group, draws)
    tokens = sum(len(completion.token_ids) for group in completions for completion in group)
    return {
        "tokens": float(tokens), "seconds": meter.seconds, "tokens_per_second": tokens / meter.seconds,
        "peak_mb": meter.peak_mb, "rows": float(sizes.prompts * sizes.group),
    }  # fmt: skip
