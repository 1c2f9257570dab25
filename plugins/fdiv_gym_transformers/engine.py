"""The rollout engine ``transformers``: batched sampling with a key-value cache.

Each prompt is prefilled once for all its samples, prompts of similar length share a batch, the cache is written in
place, finished rows leave the batch, and every sampled token is returned with its log-prob under the distribution it
was sampled from.
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
from fdiv_gym_transformers.cache import common_prefix, filled, padding_may_divide, repeated, unsupported


class TransformersEngine(fg.Engine):
    """Samples with a transformers model, and shares its weights with the trainer if both use the same model object."""

    class Options(fg.Engine.Options):
        """Options of the engine ``transformers``."""

        batch_rows: int = pydantic.Field(512, ge=1)
        """Responses generated in one batch, at most; lower it if memory runs out."""

    model: Any = None
    tokenizer: Any = None

    def start(self, model: Any, tokenizer: Any) -> None:
        """Use this model; its weights are shared, not copied.

        Raises:
            EngineError: the tokenizer's end or padding token is none of the model's, so it is of another model; or the
                model keeps a state that is not keys and values.
        """
        why = unsupported(model)
        if why is not None:
            raise fg.EngineError(f"the engine 'transformers' cannot sample: {why}; set engine.name = \"vllm\"")
        self.model, self.tokenizer = model, tokenizer
        self._eos = eos_token_ids(model, tokenizer)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self._eos, default=0)
        self._vocabulary = getattr(model.config, "vocab_size", None)
        self.context_length = getattr(model.config, "max_position_embeddings", None)
        for what, token in (("end", tokenizer.eos_token_id), ("padding", self._pad)):
            if token is not None and self._vocabulary is not None and token >= self._vocabulary:
                raise fg.EngineError(
                    f"the tokenizer's {what} token has the number {token}, and the model knows {self._vocabulary} "
                    "tokens: use the tokenizer of this model"
                )

    def load(self, model: ModelConfig, env: fg.Environment | None = None) -> Any:
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
            result: list[list[fg.Completion]] = [[] for _ in prompts]
            order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding in each batch
            at_a_time = min(n, self.options.batch_rows)
            per_chunk = self.options.batch_rows // at_a_time
            for start in range(0, len(order), per_chunk):
                places = order[start : start + per_chunk]
                for drawn in range(0, n, at_a_time):
                    repeats = min(at_a_time, n - drawn)
                    groups = self._generate([prompts[i] for i in places], repeats, sampling, generator)
                    for place, group in zip(places, groups, strict=True):
                        result[place] += group
            return result
        finally:
            self.model.train(was_training)

    def _check(self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling) -> None:
        if n < 1:
            raise fg.EngineError(f"n must be at least 1, got {n}")
        limit = self.context_length
        for i, prompt in enumerate(prompts):
            if len(prompt) == 0:
                raise fg.EngineError(f"prompt {i} is empty: a prompt needs at least one token")
            if self._vocabulary is not None and max(prompt) >= self._vocabulary:
                raise fg.EngineError(
                    f"prompt {i} has the token {max(prompt)}, and the model knows {self._vocabulary} tokens: use the "
                    "tokenizer of this model"
                )
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
        cache = DynamicCache(config=model.config)
        shared = common_prefix(prompts) if padding_may_divide(model, cache) else 0
        width = max(len(p) for p in prompts)
        ids = torch.full((len(prompts), width), pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for i, prompt in enumerate(prompts):  # padding after the shared tokens
            start = shared + width - len(prompt)
            ids[i, :shared], ids[i, start:] = torch.tensor(prompt[:shared]), torch.tensor(prompt[shared:])
            mask[i, :shared], mask[i, start:] = 1, 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        if shared:  # e.g. a system prompt: computed once for all prompts
            forward(
                model, input_ids=ids[:1, :shared], attention_mask=mask[:1, :shared],
                position_ids=positions[:1, :shared], past_key_values=cache, logits_to_keep=1,
            )  # fmt: skip
            cache.batch_repeat_interleave(len(prompts))
        output = forward(
            model, input_ids=ids[:, shared:], attention_mask=mask, position_ids=positions[:, shared:],
            past_key_values=cache, logits_to_keep=1,
        )  # fmt: skip
        return cls(
            cache=repeated(output.past_key_values, n),
            mask=mask.repeat_interleave(n, 0),
            positions=(positions[:, -1] + 1).repeat_interleave(n, 0),
            logits=output.logits[:, -1].float().repeat_interleave(n, 0),
            alive=list(range(len(prompts) * n)),
        )

    def drop(self, finished: Sequence[bool], chosen: Tensor) -> bool:
        """Remove finished rows from the batch; returns whether any row is left."""
        keep = filled([finished[row] for row in self.alive])
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
        output = forward(
            model, input_ids=self.next_tokens.unsqueeze(-1), attention_mask=self.mask,
            position_ids=self.positions.unsqueeze(-1), past_key_values=self.cache,
        )  # fmt: skip
        self.cache = output.past_key_values
        self.logits = output.logits[:, -1].float()
        self.positions = self.positions + 1


def forward(model: Any, **inputs: Any) -> Any:
    """One pass with a cache, without the loss of a router: that would compare all tokens' mask with the new tokens."""
    if getattr(model.config, "output_router_logits", False):
        inputs["output_router_logits"] = False
    return model(**inputs, use_cache=True)


def draw(logits: Tensor, sampling: fg.Sampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token for each row of logits [b, V] and its log-prob under the sampling distribution.

    Temperature 0 takes the most likely token; its log-prob is then that of the untempered distribution.

    Raises:
        EngineError: the logits of a row are not finite, or all minus infinity.
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(-1)
    else:
        if sampling.temperature != 1:
            logits = logits / sampling.temperature
        logits = truncate(logits, sampling.top_p, sampling.top_k)
        chosen = by_inversion(logits, generator)
    logps = logits.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    broken = int((~logps.isfinite()).sum())
    if broken:
        raise fg.EngineError(
            f"the logits of {broken} of {len(logps)} rows are not finite: the weights are damaged, or so large that "
            "the model overflows, or config.json is wrong; after an update take earlier weights and a lower "
            "trainer.learning_rate"
        )
    return chosen, logps


def by_inversion(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One token for each row of logits [b, V], by inversion of the distribution function.

    One uniform number a row, where ``torch.multinomial`` draws one for every token of the vocabulary. The sums are in
    float64: in float32 they would lose the tokens of a small probability.
    """
    mass = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1, dtype=torch.float64)
    uniform = torch.rand(len(logits), 1, dtype=torch.float64, device=logits.device, generator=generator)
    # The first token whose sum exceeds the number: never one of probability 0, which adds nothing to the sum.
    whole = mass[:, -1:].contiguous()
    chosen = torch.searchsorted(mass, uniform * whole, right=True)
    last = torch.searchsorted(mass, whole)  # for a product that rounding makes equal to the whole
    # Sums that are no numbers have no place; any will do, its log-prob is none either.
    return torch.minimum(chosen, last).clamp_(max=logits.shape[-1] - 1).squeeze(-1)


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
