"""What this plugin registers."""

from __future__ import annotations

import fdiv_gym as fg

NEEDS = ("torch", "transformers", "accelerate")


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the trainer and the engine."""
    registrar.add(
        "trainer", "accelerate", "fdiv_gym_accelerate.trainer:AccelerateTrainer",
        summary="rollouts to optimizer steps, on CPU or GPU", requires=NEEDS, extra="train",
    )  # fmt: skip
    registrar.add(
        "engine", "transformers", "fdiv_gym_accelerate.engine:TransformersEngine",
        summary="batched sampling with the training model itself", requires=NEEDS, extra="train",
    )  # fmt: skip
