"""The command ``fdiv-gym models merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.arguments import TrustRemoteCode
from fdiv_gym.cli.screen import write


def merge(
    model: Annotated[str, typer.Argument(help="A run folder or a checkpoint that holds an adapter.")],
    output: Annotated[Path, typer.Argument(help="The new folder; it may not exist.")],
    step: Annotated[int | None, typer.Option("--step", help="A checkpoint of the run by its step.")] = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write a plain transformers model from a run's adapter and its base model.

    Example: fdiv-gym models merge runs/first merged
    """
    from fdiv_gym.evaluation import merge_adapter

    folder = merge_adapter(model, output, step, trust_remote_code=trust_remote_code)
    write(f"wrote {folder}: an ordinary transformers model, in fp32")
