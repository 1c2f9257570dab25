"""A checkpoint of a run with its model card: into a folder, or to a repository of a hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.evaluation.card import is_hub_id, model_card
from fdiv_gym.evaluation.source import locate
from fdiv_gym.models.adapter_trust import BASE, is_adapter

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def write_model(model: str, output: Path, step: int | None = None) -> Path:
    """Write the files of a checkpoint's model and a card, as ``push_model`` would send them.

    Args:
        model: a run folder (its newest checkpoint) or a checkpoint.
        output: the new folder.
        step: the step of a checkpoint of the run folder.

    Returns:
        ``output``.

    Raises:
        ConfigError: ``output`` exists, or ``model`` is no checkpoint of a run.
        TrainerError: a damaged checkpoint, or the folder cannot be written.
    """
    if os.path.lexists(output):
        raise ConfigError(f"{output} exists: name a new folder; nothing is overwritten")
    run, weights = locate(model, step)
    checkpoint = Path(weights).parent
    if run is None or step == 0 or not checkpoint.name.startswith("step-"):
        raise ConfigError(f"{model} is no checkpoint of a run: only what a run trained is published")
    number = int(checkpoint.name.removeprefix("step-"))
    card = model_card(run, number, adapter=is_adapter(weights))
    try:
        shutil.copytree(weights, output)
        for name, key in ((BASE, "name_or_path"), ("adapter_config.json", "base_model_name_or_path")):
            _remove_path(output / name, key)
        (output / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(output, ignore_errors=True)
        raise TrainerError(f"cannot write the model in {output}: {error}") from None
    return output


def _remove_path(file: Path, key: str) -> None:
    """Replace the name of the base model in a JSON file if it is a path of this machine."""
    if not file.is_file():
        return
    record = json.loads(file.read_text(encoding="utf-8"))
    name = record.get(key)
    if isinstance(name, str) and ("/" in name or "\\" in name) and not is_hub_id(name):
        file.write_text(json.dumps(record | {key: "a local model"}, indent=2) + "\n", encoding="utf-8")


def push_model(model: str, repository: str, step: int | None = None, *, private: bool = False) -> str:
    """Send a checkpoint's model and its card to a repository, which is created if it does not exist.

    huggingface_hub takes the token from its own login or ``HF_TOKEN``, and the address from ``HF_ENDPOINT``.

    Args:
        model: see ``write_model``.
        repository: ``owner/name``.
        step: see ``write_model``.
        private: whether a new repository is private.

    Returns:
        The address of the repository.

    Raises:
        ConfigError: ``repository`` is no ``owner/name``, or ``model`` is no checkpoint of a run.
        TrainerError: a damaged checkpoint, or the hub refused or cannot be reached.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ConfigError(f"--repo {repository!r}: give it as owner/name")
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(prefix="fdiv-gym-push-") as folder:
        files = write_model(model, Path(folder) / "model", step)
        api = HfApi()
        try:
            url = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=files, commit_message="Model trained with fdiv-gym")
        except (OSError, ValueError, RuntimeError) as error:  # those of HTTP are OSErrors
            raise TrainerError(
                f"the hub did not take {repository} ({type(error).__name__}: {' '.join(str(error).split())[:300]}): "
                "check the network, HF_HUB_OFFLINE, and the login (hf auth login, or HF_TOKEN with write access)"
            ) from None
    return str(url)
