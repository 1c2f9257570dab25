"""The rollout engine ``vllm``: vLLM in the trainer's process, or on servers, with the trainer's weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import ModelConfig
from fdiv_gym.rollouts import derive_seed
from fdiv_gym_vllm.backend import Backend, Request
from fdiv_gym_vllm.options import LEAST_TEMPERATURE, VllmOptions
from fdiv_gym_vllm.probe import Probe
from fdiv_gym_vllm.weights import Layout, plain_weights

#: Mean difference of a token's log-prob in nats that half precision causes at most, as in the trainer's own bounds.
HALF_TOLERANCE = 0.1
SEEDS = 2**62


class VllmEngine(fg.Engine):
    """Samples with vLLM from a copy of the weights; each sync is complete and followed by a proof."""

    Options = VllmOptions
    merged_weights = True

    _backend: Backend | None = None

    def start(self, model: Any, tokenizer: Any) -> None:
        """Start vLLM, or connect to its servers, and give it this model's weights.

        Raises:
            EngineError: vllm is not installed, a server does not answer, or this model cannot be served.
        """
        self.close()
        self._tokenizer = tokenizer
        self._eos = eos_token_ids(model, tokenizer)
        self._layout = Layout.of(plain_weights(model))
        self.logprob_tolerance = None if self.options.dtype == "float32" else HALF_TOLERANCE
        backend = self._start(model, tokenizer)
        limit = getattr(model.config, "max_position_embeddings", None)
        context = self.context_length = backend.context if limit is None else min(limit, backend.context)
        self._probe = Probe(self._layout, getattr(torch, self.options.dtype), len(tokenizer), context)
        self._backend = backend
        self.update_weights(plain_weights(model))

    def _start(self, model: Any, tokenizer: Any) -> Backend:
        if self.options.mode == "server":
            from fdiv_gym_vllm.server import Servers

            return Servers(self.options, model.config)
        from fdiv_gym_vllm.colocated import Colocated

        return Colocated(self.options, model, tokenizer)

    def load(self, model: ModelConfig, env: fg.Environment | None = None) -> Any:
        """Load a model and its tokenizer and use them; servers get its weights."""
        from fdiv_gym.models import EnvDemonstrations, initial_model, load_tokenizer, model_source

        source = model_source(model, None if env is None else EnvDemonstrations(env))
        trust = model.trust_remote_code
        tokenizer = load_tokenizer(source, model.revision, trust_remote_code=trust)
        self.start(initial_model(model, source), tokenizer)
        return tokenizer

    def update_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace all weights, empty the prefix cache, and prove by a probe that the new ones are in use.

        Args:
            weights: every weight of the model; of tied ones, one is enough.

        Raises:
            EngineError: a name or a shape does not fit, one is missing, or the weights did not arrive.
        """
        backend = self._started()
        checked = self._layout.checked(weights)
        backend.load(self._probe.watched(checked))
        backend.reset_prefix_cache()
        self._probe.prove(backend)

    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling) -> list[list[fg.Completion]]:
        """``n`` completions for each prompt, which is prefilled once.

        The same seed gives the same samples where vLLM computes the same logits: with the same version, device, weights
        and batch. Greedy completions are computed once and repeated.
        """
        backend = self._started()
        self._check(prompts, n, sampling)
        greedy = sampling.temperature == 0
        requests = [
            Request(tuple(prompt), 1 if greedy else n, derive_seed(sampling.seed, "prompt", i) % SEEDS)
            for i, prompt in enumerate(prompts)
        ]
        groups = backend.sample(requests, sampling, sorted(self._eos))
        done = [[token_ids[-1] in self._eos for token_ids in (s.token_ids for s in group)] for group in groups]
        # Only the end token is removed: a special token inside an answer must be visible to a verifier.
        bodies = [
            s.token_ids[:-1] if end else s.token_ids
            for group, ends in zip(groups, done, strict=True)
            for s, end in zip(group, ends, strict=True)
        ]
        texts = iter(self._tokenizer.batch_decode([list(body) for body in bodies], skip_special_tokens=False))
        completions = [
            [
                fg.Completion(s.token_ids, s.logprobs, next(texts), "eos" if end else "length")
                for s, end in zip(group, ends, strict=True)
            ]
            for group, ends in zip(groups, done, strict=True)
        ]
        return [group * n for group in completions] if greedy else completions

    def close(self) -> None:
        """End vLLM in this process, or leave the servers as they are."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def _started(self) -> Backend:
        if self._backend is None:
            raise fg.EngineError("the engine has no model yet: call start(model, tokenizer) first")
        return self._backend

    def _check(self, prompts: Sequence[Sequence[int]], n: int, sampling: fg.Sampling) -> None:
        if n < 1:
            raise fg.EngineError(f"n must be at least 1, got {n}")
        if 0 < sampling.temperature < LEAST_TEMPERATURE:
            raise fg.EngineError(
                f"vLLM samples at temperature {LEAST_TEMPERATURE} at least, and greedily at 0; got "
                f"{sampling.temperature}"
            )
        for i, prompt in enumerate(prompts):
            if len(prompt) == 0:
                raise fg.EngineError(f"prompt {i} is empty: a prompt needs at least one token")
            if self.context_length is not None and len(prompt) + sampling.max_new_tokens > self.context_length:
                raise fg.EngineError(
                    f"prompt {i} has {len(prompt)} tokens and engine.max_new_tokens is {sampling.max_new_tokens}, "
                    f"but the context holds {self.context_length}: shorten one of them"
                )


def eos_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a response, from the generation config and the tokenizer."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = configured if isinstance(configured, (list, tuple)) else [configured]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)
