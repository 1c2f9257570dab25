"""A checkpoint of a run with its model card: into a folder, or to a repository of a hub."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.evaluation.card import HUB_ID, is_hub_id, model_card
from fdiv_gym.evaluation.source import locate
from fdiv_gym.manifest import sealed_names
from fdiv_gym.models.adapter_trust import BASE, is_adapter
from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.folder import step_of


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
        TrainerError: a damaged checkpoint, or one with files that training did not write; or the folder cannot be
            written.
    """
    if os.path.lexists(output):
        raise ConfigError(f"{output} exists: name a new folder; nothing is overwritten")
    run, weights = locate(model, step)
    checkpoint = Path(weights).parent
    number = step_of(checkpoint) if checkpoint.name.startswith("step-") else None
    if run is None or step == 0 or number is None:
        raise ConfigError(f"{model} is no checkpoint of a run: only what a run trained is published")
    card = model_card(run, number, adapter=is_adapter(weights))
    names = _names(checkpoint)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        for name in names:
            shutil.copyfile(Path(weights) / name, temporary / name)
        for name, key in ((BASE, "name_or_path"), ("adapter_config.json", "base_model_name_or_path")):
            _remove_path(temporary / name, key)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        os.rename(temporary, output)
    except (OSError, ValueError) as error:  # a name of its JSON files cannot be read
        raise TrainerError(f"cannot write the model in {output}: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def _names(checkpoint: Path) -> list[str]:
    """The files of a checkpoint's model: those of its manifest, which ``locate`` has compared with their SHA-256.

    A link to a file that its planter cannot read, or a file that lies there for another reason, is in no manifest.

    Raises:
        TrainerError: there are others.
    """
    names = {name.removeprefix("model/") for name in sealed_names(checkpoint) if name.startswith("model/")}
    strange = sorted({path.name for path in (checkpoint / "model").iterdir()} - names)
    if strange:
        raise TrainerError(
            f"{checkpoint / 'model'} holds what training did not write, and it would be published: "
            f"{', '.join(map(printable, strange[:5]))}; move it away"
        )
    return sorted(names)


def _remove_path(file: Path, key: str) -> None:
    """Replace the name of the base model in a JSON file if it is a path of this machine."""
    if not file.is_file():
        return
    record = json.loads(file.read_text(encoding="utf-8"))
    name = record.get(key) if isinstance(record, dict) else None
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
        TrainerError: see ``write_model``; the hub refused or cannot be reached; or the repository is public and
            ``private`` is set.
    """
    if not HUB_ID.fullmatch(repository):
        raise ConfigError(f"--repo {repository!r}: give it as owner/name")
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(prefix="fdiv-gym-push-") as folder:
        files = write_model(model, Path(folder) / "model", step)
        api = HfApi()
        try:
            url = api.create_repo(repository, private=private, exist_ok=True)
            public = private and api.repo_info(repository).private is False
            if not public:
                api.upload_folder(repo_id=repository, folder_path=files, commit_message="Model trained with fdiv-gym")
        except Exception as error:  # of httpx, of huggingface_hub, or of an answer without what is read from it
            raise TrainerError(
                f"the hub did not take {repository} ({type(error).__name__}: {_without_token(error)}): "
                "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and the login (hf auth login, or HF_TOKEN with "
                "write access)"
            ) from None
    if public:
        raise TrainerError(
            f"{repository} exists and is public, and --private makes a new repository private only: nothing was sent; "
            "name another one, or make it private at the hub first"
        )
    return str(url)


def _without_token(error: Exception) -> str:
    """The text of an error, part of which a server may have written, without the token that it was sent."""
    from huggingface_hub import get_token

    text, token = " ".join(str(error).split()), get_token()
    return printable(text.replace(token, "[token]") if token else text)[:300]
