"""The command ``fdiv-gym push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.screen import write
from fdiv_gym.errors import ConfigError


def push(
    model: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a checkpoint.")],
    repo: Annotated[str | None, typer.Option("--repo", help="The repository, owner/name.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Write the files to a new folder; send nothing.")] = None,
    step: Annotated[int | None, typer.Option("--step", help="A checkpoint of the run by its step.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
) -> None:
    """Send a run's model to the Hugging Face hub, with a model card written from the run.

    The token is that of hf auth login, or HF_TOKEN. An adapter is sent as a peft folder.

    Example: fdiv-gym push runs/first --to first-model
    """
    from fdiv_gym.evaluation import push_model, write_model

    if (repo is None) == (to is None):
        raise ConfigError("give one of --repo owner/name and --to FOLDER")
    if to is not None:
        if private:
            raise ConfigError("--private concerns a repository: remove it, or give --repo instead of --to")
        write(f"wrote {write_model(model, to, step)}: read its README.md, nothing was sent")
    elif repo is not None:
        write(f"sent to {push_model(model, repo, step, private=private)}")
