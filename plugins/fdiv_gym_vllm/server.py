"""Several vLLM servers: prompts are distributed over them, weights pass through a shared folder."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_vllm.backend import Backend, Request, Sample
from fdiv_gym_vllm.http import Server
from fdiv_gym_vllm.options import VllmOptions
from fdiv_gym_vllm.replies import Asked, card_of, samples_of, scores_of

CONCURRENT = 64
"""Requests under way at one server at most; each asks for the samples of one prompt."""

T = TypeVar("T")


class Servers(Backend):
    """Servers that the user started with ``VLLM_SERVER_DEV_MODE=1`` and ``--logprobs-mode processed_logprobs``.

    Of several training processes the first sends the weights, and the others wait for it.

    Args:
        options: of the engine.
        config: of the model, saved beside the weights.

    Raises:
        EngineError: a server does not answer.
    """

    def __init__(self, options: VllmOptions, config: Any) -> None:
        assert options.weights_folder is not None
        self._config, self._folder = config, Path(options.weights_folder).absolute()
        self._servers = [Server(address, options.timeout_s) for address in options.servers]
        cards = [card_of(server.address, server.get("/v1/models")) for server in self._servers]
        self._names = [name for name, _ in cards]
        self.context = min(context for _, context in cards)
        self._vocabulary = int(config.get_text_config().vocab_size)
        self._syncs, self._run = 0, f"sync-{uuid.uuid4().hex[:8]}"  # other runs may use the same folder
        self._written: Path | None = None

    def sample(self, requests: Sequence[Request], sampling: fg.Sampling, eos: Sequence[int]) -> list[list[Sample]]:
        """Request i goes to server i modulo their number, so that a seed gives the same samples again."""
        common = {
            "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k,
            "max_tokens": sampling.max_new_tokens, "stop_token_ids": list(eos), "logprobs": 0, "return_token_ids": True,
            # What a server would otherwise take from the model's generation_config.json:
            "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        }  # fmt: skip

        def ask(i: int) -> list[Sample]:
            request, place = requests[i], i % len(self._servers)
            body = common | {
                "model": self._names[place], "prompt": list(request.prompt), "n": request.n, "seed": request.seed,
            }  # fmt: skip
            server = self._servers[place]
            asked = Asked(request.n, sampling.max_new_tokens, frozenset(eos), self._vocabulary)
            return samples_of(server.address, server.post("/v1/completions", body), asked)

        with ThreadPoolExecutor(CONCURRENT * len(self._servers)) as pool:
            return list(pool.map(ask, range(len(requests))))

    def score(self, tokens: Sequence[int]) -> dict[str, tuple[float, ...]]:
        """By every server."""

        def ask(server: Server, name: str) -> tuple[float, ...]:
            body = {"model": name, "prompt": list(tokens), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
            return scores_of(server.address, server.post("/v1/completions", body), tokens)

        names = [f"server {server.address}" for server in self._servers]
        return dict(zip(names, self._all(ask), strict=True))

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Write the weights into the shared folder and let every server read them."""
        self._syncs += 1
        if _rank() == 0:
            folder = self._folder / f"{self._run}-{self._syncs}"
            write(folder, weights, self._config)
            self._all(lambda server, _: reload(server, folder))
            if self._written is not None:  # a network file system may keep files that a server has open
                shutil.rmtree(self._written, ignore_errors=True)
            self._written = folder
        else:
            for _ in weights:  # another process may need this one to gather them
                pass
        _wait()

    def reset_prefix_cache(self) -> None:
        """On every server."""
        if _rank() == 0:
            self._all(lambda server, _: reset(server))
        _wait()

    def close(self) -> None:
        """The servers keep the last weights; their files are removed."""
        if self._written is not None:
            shutil.rmtree(self._written, ignore_errors=True)
            self._written = None

    def _all(self, ask: Callable[[Server, str], T]) -> list[T]:
        with ThreadPoolExecutor(len(self._servers)) as pool:
            return list(pool.map(ask, self._servers, self._names))


def reload(server: Server, folder: Path) -> None:
    """Let a server read the weights in a folder."""
    server.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})


def reset(server: Server) -> None:
    """Without it a cached prompt would be answered from the old weights.

    Raises:
        EngineError: the server did not empty its cache.
    """
    reply = server.post("/reset_prefix_cache")
    if isinstance(reply, dict) and reply.get("success") is False:
        raise fg.EngineError(
            f"vLLM server {server.address} did not empty its prefix cache after a sync: it is answering other requests"
        )


def write(folder: Path, weights: Iterable[tuple[str, Tensor]], config: Any) -> None:
    """A model folder without tokenizer.

    Raises:
        EngineError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    # safetensors refuses tensors that share memory; tied weights are written twice.
    owned: dict[int, str] = {}
    tensors = {}
    for name, tensor in weights:
        own = tensor.detach().cpu().contiguous()
        tensors[name] = own.clone() if own.data_ptr() in owned else own
        owned[own.data_ptr()] = name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
    except OSError as error:
        raise fg.EngineError(f"engine.weights_folder {folder.parent} cannot be written: {error}") from None


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _wait() -> None:
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()
