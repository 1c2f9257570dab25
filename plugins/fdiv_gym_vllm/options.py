"""The options of the engine ``vllm``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pydantic

import fdiv_gym as fg

URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
LEAST_TEMPERATURE = 0.01
"""vLLM raises a lower temperature to this one without an error."""


class VllmOptions(fg.Engine.Options):
    """Options of the engine ``vllm``; each belongs to one mode, and is refused in the other."""

    mode: Literal["colocated", "server"] = "colocated"
    """An engine in the trainer's process (``colocated``), or one or several running servers (``server``)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision that vLLM computes in (of servers: the precision that they were started with)."""
    max_rows: int = pydantic.Field(256, ge=1)
    """Responses generated at the same time (``colocated``)."""
    memory_share: float | None = pydantic.Field(None, gt=0, le=1)
    """Share of the GPU's memory for weights and cache together (``colocated``); by default 0.4."""
    cache_mb: int | None = pydantic.Field(None, ge=1)
    """MiB for the key-value cache, instead of ``memory_share`` (``colocated``); on a CPU by default 512."""
    eager: bool = False
    """No CUDA graphs: a faster start and slower sampling (``colocated`` on a GPU; a CPU has none)."""
    sleep: bool = False
    """Release the engine's GPU memory while the policy is trained (``colocated`` on a GPU)."""
    servers: tuple[str, ...] = ()
    """Addresses without a path, e.g. ``http://127.0.0.1:8000``; prompts are distributed over them (``server``)."""
    weights_folder: Path | None = None
    """A folder that trainer and servers see under the same path; the weights pass through it (``server``)."""
    timeout_s: float = pydantic.Field(600.0, gt=0)
    """Seconds that one request may take (``server``)."""

    def servers_contacted(self) -> tuple[str, ...]:
        """The servers."""
        return self.servers

    @pydantic.field_validator("servers")
    @classmethod
    def _are_addresses(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if any(not URL.fullmatch(server) for server in servers):
            raise fg.ConfigError(
                "engine.servers: each must be http(s)://host[:port], without user, password and path (they are "
                "written to the run folder)"
            )
        if len(set(servers)) < len(servers):
            raise fg.ConfigError("engine.servers: a server is listed twice")
        return servers

    @pydantic.model_validator(mode="after")
    def _belong_to_the_mode(self) -> VllmOptions:
        if self.mode == "server":
            if not self.servers or self.weights_folder is None:
                raise ValueError('mode = "server" needs engine.servers and engine.weights_folder')
            self._refuse({"max_rows": 256, "memory_share": None, "cache_mb": None, "eager": False, "sleep": False})
        else:
            self._refuse({"servers": (), "weights_folder": None, "timeout_s": 600.0})
            if self.memory_share is not None and self.cache_mb is not None:
                raise ValueError("memory_share and cache_mb exclude each other")
        if self.temperature < LEAST_TEMPERATURE:
            raise ValueError(f"vLLM samples at temperature {LEAST_TEMPERATURE} at least, got {self.temperature}")
        return self

    def _refuse(self, others: dict[str, Any]) -> None:
        given = [name for name, default in others.items() if getattr(self, name) != default]
        if given:
            raise ValueError(f'engine.{given[0]} has no effect in mode = "{self.mode}": remove it')
