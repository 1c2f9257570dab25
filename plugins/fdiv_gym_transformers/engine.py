"""The rollout engine ``transformers``: batched sampling with a key-value cache.

Each prompt is prefilled once for all its samples, finished rows leave the batch, and every sampled
token is returned with its log-prob under the distribution it was sampled from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import ModelConfig


class TransformersEngine(fg.Engine):
    """Samples with a transformers model, and shares its weights with the trainer if both use the same model object."""

    class Options(fg.Engine.Options):
        """Options of the engine ``transformers``."""

        batch_rows: int = pydantic.Field(512, ge=1)
        """Responses generated in one batch; lower it if memory runs out."""

    model: Any = None
    tokenizer: Any = None

    def start(self, model: Any, tokenizer: Any) -> None:
        """Use this model; its weights are shared, not copied."""
        self.model, self.tokenizer = model, tokenizer
        self._eos = eos_token_ids(model, tokenizer)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._eos, default=0)

    def load(self, model: ModelConfig, env: fg.TextEnv | None = None) -> Any:
        """Load a model and its tokenizer, onto the GPU if there is one, and use them."""
        from fdiv_gym.models import EnvDemonstrations, initial_model, load_tokenizer, model_source

        source = model_source(model, None if env is None else EnvDemonstrations(env))
        trust = model.trust_remote_code
        tokenizer = load_tokenizer(source, model.revision, trust_remote_code=trust)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.start(initial_model(model, source).to(device).eval(), tokenizer)
        return tokenizer

    def update_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy the given tensors into the model; a tensor that shares memory with the model is skipped."""
        own = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in weights:
                if name not in own:
                    raise fg.EngineError(f"the model has no weight {name!r}")
                if own[name].shape != tensor.shape:
                    raise fg.EngineError(
                        f"weight {name!r} has shape {tuple(tensor.shape)}, the model's is {tuple(own[name].shape)}"
                    )
                if own[name].data_ptr() != tensor.data_ptr():
                    own[name].copy_(tensor)

    @torch.no_grad()
    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling) -> list[list[fg.Completion]]:
        """``n`` completions for each prompt."""
        if self.model is None:
            raise fg.EngineError("the engine has no model yet: call start(model, tokenizer) first")
        self._check(prompts, n, sampling)
        device = next(self.model.parameters()).device
        generator = torch.Generator(device=device).manual_seed(sampling.seed)
        was_training = self.model.training
        self.model.eval()
        try:
            result: list[list[fg.Completion]] = []
            per_chunk = max(1, self.options.batch_rows // n)
            for start in range(0, len(prompts), per_chunk):
                result += self._generate(prompts[start : start + per_chunk], n, sampling, generator)
            return result
        finally:
            self.model.train(was_training)

    def _check(self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling) -> None:
        if n < 1:
            raise fg.EngineError(f"n must be at least 1, got {n}")
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for i, prompt in enumerate(prompts):
            if len(prompt) == 0:
                raise fg.EngineError(f"prompt {i} is empty: a prompt needs at least one token")
            if limit is not None and len(prompt) + sampling.max_new_tokens > limit:
                raise fg.EngineError(
                    f"prompt {i} has {len(prompt)} tokens and engine.max_new_tokens is {sampling.max_new_tokens}, "
                    f"but the model's context holds {limit}: shorten one of them"
                )

    def _generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling, generator: torch.Generator
    ) -> list[list[fg.Completion]]:
        state = _Rows.prefill(self.model, prompts, n, self._pad)
        rows = len(prompts) * n
        tokens: list[list[int]] = [[] for _ in range(rows)]
        logps: list[list[float]] = [[] for _ in range(rows)]
        finished = [False] * rows
        for position in range(sampling.max_new_tokens):
            chosen, logp = draw(state.logits, sampling, generator)
            for row, token, value in zip(state.alive, chosen.tolist(), logp.tolist(), strict=True):
                tokens[row].append(token)
                logps[row].append(value)
                finished[row] = token in self._eos
            if position + 1 == sampling.max_new_tokens or not state.drop(finished, chosen):
                break
            state.advance(self.model)
        # Only the end token is removed: a special token inside an answer must be visible to a verifier.
        bodies = [t[:-1] if done else t for t, done in zip(tokens, finished, strict=True)]
        texts = self.tokenizer.batch_decode(bodies, skip_special_tokens=False)
        completions = [
            fg.Completion(tuple(t), tuple(p), text, "eos" if done else "length")
            for t, p, text, done in zip(tokens, logps, texts, finished, strict=True)
        ]
        return [completions[i : i + n] for i in range(0, rows, n)]


@dataclass
class _Rows:
    """The rows still being generated: their cache, attention mask, position and next-token logits."""

    cache: Any
    mask: Tensor  # [b, S]
    positions: Tensor  # [b], position of the token about to be fed
    logits: Tensor  # [b, V]
    alive: list[int]
    next_tokens: Tensor | None = None

    @classmethod
    def prefill(cls, model: Any, prompts: Sequence[Sequence[int]], n: int, pad: int) -> _Rows:
        from transformers import DynamicCache

        device = next(model.parameters()).device
        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
            mask[i, width - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=model.config)
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        cache = output.past_key_values
        cache.batch_repeat_interleave(n)
        return cls(
            cache=cache,
            mask=mask.repeat_interleave(n, 0),
            positions=(positions[:, -1] + 1).repeat_interleave(n, 0),
            logits=output.logits[:, -1].float().repeat_interleave(n, 0),
            alive=list(range(len(prompts) * n)),
        )

    def drop(self, finished: Sequence[bool], chosen: Tensor) -> bool:
        """Remove finished rows from the batch; returns whether any row is left."""
        keep = [i for i, row in enumerate(self.alive) if not finished[row]]
        if not keep:
            return False
        if len(keep) < len(self.alive):
            index = torch.tensor(keep, device=chosen.device)
            self.cache.batch_select_indices(index)
            self.mask, self.positions, chosen = self.mask[index], self.positions[index], chosen[index]
            self.alive = [self.alive[i] for i in keep]
        self.next_tokens = chosen
        return True

    def advance(self, model: Any) -> None:
        """Feed the chosen tokens and take the next logits."""
        assert self.next_tokens is not None
        self.mask = torch.cat([self.mask, self.mask.new_ones(self.mask.shape[0], 1)], dim=1)
        output = model(
            input_ids=self.next_tokens.unsqueeze(-1), attention_mask=self.mask,
            position_ids=self.positions.unsqueeze(-1), past_key_values=self.cache, use_cache=True,
        )  # fmt: skip
        self.cache = output.past_key_values
        self.logits = output.logits[:, -1].float()
        self.positions = self.positions + 1


def draw(logits: Tensor, sampling: fg.Sampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token for each row of logits [b, V] and its log-prob under the sampling distribution.

    Temperature 0 takes the most likely token; its log-prob is then that of the untempered distribution.
    """
    if sampling.temperature == 0:
        logps = torch.log_softmax(logits, dim=-1)
        chosen = logps.argmax(-1)
    else:
        logps = torch.log_softmax(truncate(logits / sampling.temperature, sampling.top_p, sampling.top_k), dim=-1)
        chosen = torch.multinomial(logps.exp(), 1, generator=generator).squeeze(-1)
    return chosen, logps.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)


def truncate(logits: Tensor, top_p: float, top_k: int) -> Tensor:
    """Logits [b, V] with everything outside top-k and top-p set to minus infinity."""
    if top_k > 0 and top_k < logits.shape[-1]:
        threshold = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if top_p < 1.0:
        ordered, index = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(-1, index, before >= top_p)
        logits = logits.masked_fill(outside, -torch.inf)
    return logits


def eos_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a response, from the generation config and the tokenizer."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = configured if isinstance(configured, (list, tuple)) else [configured]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)
