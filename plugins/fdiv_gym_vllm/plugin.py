"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the engine; vllm itself is imported when it starts, and not at all where servers sample."""
    registrar.add(
        "engine", "vllm", "fdiv_gym_vllm.engine:VllmEngine",
        summary="vLLM in the trainer's process, or on servers", requires=("torch", "transformers"), extra="train",
    )  # fmt: skip
