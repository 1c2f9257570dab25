"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the engine."""
    registrar.add(
        "engine", "openai", "fdiv_gym_openai.engine:OpenAIEngine",
        summary="a model behind an OpenAI-compatible server; evaluation only", requires=("openai",), extra="judges",
    )  # fmt: skip
