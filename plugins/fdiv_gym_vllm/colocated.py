"""vLLM in the trainer's process."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_vllm.backend import Backend, Request, Sample
from fdiv_gym_vllm.options import VllmOptions

CPU_CACHE_MB = 512
MEMORY_SHARE = 0.4
LEAST_BATCHED_TOKENS = 512
INSTALL = (
    "the engine 'vllm' in this process needs the package vllm: pip install vllm on a machine with a GPU; for a CPU see "
    "make test-vllm"
)
#: Read by vLLM at its import: its engine in this process, no reports, no log of its own on the screen.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


class Colocated(Backend):
    """One engine in this process, started with the model's configuration and without weights.

    Args:
        options: of the engine.
        model: its configuration and device are used.
        tokenizer: that of the model.

    Raises:
        MissingExtraError: vllm is not installed.
        EngineError: several processes train, or vLLM cannot serve the model here.
    """

    def __init__(self, options: VllmOptions, model: Any, tokenizer: Any) -> None:
        self._options = options
        self._gpu = next(model.parameters()).device.type == "cuda"
        self._asleep = False
        self._llm: Any = None
        if options.sleep and not self._gpu:
            raise fg.EngineError("engine.sleep releases the memory of a GPU, and the model is not on one: remove it")
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise fg.EngineError(
                f"{torch.distributed.get_world_size()} processes train, and vLLM in the trainer's process serves one: "
                'use engine.mode = "server"'
            )
        self._vllm = import_vllm()
        self._folder = tempfile.TemporaryDirectory(prefix="fdiv-gym-vllm-")
        save_without_weights(model, tokenizer, Path(self._folder.name))
        try:
            self._llm = self._vllm.LLM(model=self._folder.name, **self._arguments(model))
        except Exception as error:  # vLLM raises any class for a model, a device or an amount of memory
            self.close()
            raise fg.EngineError(f"vLLM cannot serve {type(model).__name__} here: {str(error)[:500]}") from error
        self.context = int(self._llm.llm_engine.model_config.max_model_len)

    def _arguments(self, model: Any) -> dict[str, Any]:
        options = self._options
        limit = getattr(model.config, "max_position_embeddings", None)
        arguments: dict[str, Any] = {
            "load_format": "dummy",  # the weights follow by load()
            "dtype": options.dtype,
            "max_model_len": limit,
            "max_num_seqs": options.max_rows,
            "max_num_batched_tokens": max(LEAST_BATCHED_TOKENS, options.max_rows, limit or 0),
            "enforce_eager": options.eager or not self._gpu,
            "enable_prefix_caching": True,
            "distributed_executor_backend": "uni",
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",  # no default of the model changes the distribution
            "disable_log_stats": True,
        }
        cache_mb = options.cache_mb if options.cache_mb is not None or self._gpu else CPU_CACHE_MB
        if cache_mb is not None:
            arguments["kv_cache_memory_bytes"] = cache_mb << 20
        else:
            arguments["gpu_memory_utilization"] = options.memory_share or MEMORY_SHARE
        if not self._gpu:  # vLLM cannot put back the generator of a seeded prompt that was prefilled in part on a CPU
            arguments["enable_chunked_prefill"] = False
        if options.sleep:
            arguments["enable_sleep_mode"] = True
        return arguments

    def sample(self, requests: Sequence[Request], sampling: fg.Sampling, eos: Sequence[int]) -> list[list[Sample]]:
        """One call for all requests; vLLM batches them, and shares the prefill of a request's samples."""
        self._wake()
        parameters = [
            self._vllm.SamplingParams(
                n=request.n, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k,
                seed=request.seed, max_tokens=sampling.max_new_tokens, stop_token_ids=list(eos), logprobs=0,
                detokenize=False,
            )
            for request in requests
        ]  # fmt: skip
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(request.prompt)} for request in requests], parameters, use_tqdm=False
        )
        samples = [[read(output) for output in of_request.outputs] for of_request in outputs]
        self._sleep()
        return samples

    def score(self, tokens: Sequence[int]) -> dict[str, tuple[float, ...]]:
        """By the log-probs of a prompt, which vLLM computes without its prefix cache."""
        self._wake()
        parameters = self._vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        (output,) = self._llm.generate([{"prompt_token_ids": list(tokens)}], parameters, use_tqdm=False)
        places = zip(tokens[1:], output.prompt_logprobs[1:], strict=True)
        scores = tuple(float(place[token].logprob) for token, place in places)
        self._sleep()
        return {"vLLM": scores}

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """In memory, tensor by tensor; vLLM converts them to its precision and layout."""
        self._wake()
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})

    def reset_prefix_cache(self) -> None:
        """Without it a cached prompt would be answered from the old weights."""
        if self._llm.reset_prefix_cache() is False:
            raise fg.EngineError("vLLM did not empty its prefix cache after a sync: requests are still running in it")

    def close(self) -> None:
        """Release the engine, its memory, its process group and its folder."""
        llm, self._llm = self._llm, None
        if llm is not None:
            with contextlib.suppress(AttributeError):
                llm.llm_engine.engine_core.shutdown()
            del llm
            from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

            cleanup_dist_env_and_memory()
        self._folder.cleanup()

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False

    def _sleep(self) -> None:
        # Level 1 keeps the weights in main memory: a further turn of an episode samples from the same ones.
        if self._options.sleep and not self._asleep:
            self._llm.sleep(level=1)
            self._asleep = True


def import_vllm() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
        EngineError: it does not import, or was imported with an engine in another process.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        missing = error.name == "vllm"
        if missing:
            raise fg.MissingExtraError(INSTALL) from error
        raise fg.EngineError(f"vllm is installed, but does not import: {error}") from error
    if os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] != "0":
        raise fg.EngineError("unset VLLM_ENABLE_V1_MULTIPROCESSING: the engine must run in the trainer's process")
    return vllm


def save_without_weights(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write configuration and tokenizer of a model, all that vLLM reads of it from a folder."""
    values = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": "float32"}
    type(model.config).from_dict(values).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read(output: Any) -> Sample:
    """A sample of vLLM's."""
    tokens = tuple(int(token) for token in output.token_ids)
    return Sample(tokens, tuple(float(p[t].logprob) for t, p in zip(tokens, output.logprobs, strict=True)))
