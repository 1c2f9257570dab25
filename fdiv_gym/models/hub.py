"""The model hub: whether a model must come from the local cache, decided before transformers retries for long."""

from __future__ import annotations

import difflib
import urllib.error
import urllib.request
from pathlib import Path

from fdiv_gym.errors import TrainerError, did_you_mean
from fdiv_gym.models.added import known_names

PROBE_TIMEOUT_S = 3.0


def cache_only(name: str | Path, revision: str | None = None) -> bool:
    """Whether ``name`` must be read without a network: a local folder, or the hub cannot be reached.

    Raises:
        TrainerError: ``name`` is neither a local folder nor in the hub's cache, and the hub cannot be reached,
            it is not a valid hub id, or a local folder has a similar name.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).is_dir():
        return True
    try:
        cached = isinstance(try_to_load_from_cache(str(name), "config.json", revision=revision), str)
    except HFValidationError:
        raise TrainerError(
            f"there is no local model folder {str(name)!r}, and it is not a hub id{_near(Path(name))}"
        ) from None
    if not cached and (near := _near(Path(name))) and _may_be_local(str(name)):
        raise TrainerError(
            f"there is no local model folder {str(name)!r}{near} (a model of the hub has an owner: owner/name)"
        )
    if not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT):
        return False
    if not cached:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"no answer from {constants.ENDPOINT}"
        raise TrainerError(
            f"there is no local model folder {str(name)!r}, the hub's cache has no such model, and the hub cannot be "
            f"reached ({why}){_near(Path(name))}"
        )
    return True


def _may_be_local(name: str) -> bool:
    """Whether a name can be a mistyped folder: it has no owner, or the folder of that owner's name exists."""
    return "/" not in name or Path(name).parent.is_dir()


def _near(name: Path) -> str:
    """A suggestion of similar names: added models, folders beside ``name``, and runs; empty if there is none."""
    folders = [path for parent in (name.parent, Path("runs")) if parent.is_dir() for path in parent.iterdir()]
    known = [str(path) for path in folders if path.is_dir()]
    by_name = {**{model: model for model in known_names()}, **{Path(path).name: path for path in known}}
    close = difflib.get_close_matches(name.name, by_name, n=3) or difflib.get_close_matches(name.name.lower(), by_name)
    return "; " + did_you_mean(by_name[close[0]], [by_name[found] for found in close]) if close else ""


def _answers(endpoint: str) -> bool:
    """Whether a server answers within a few seconds; an HTTP error is an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PROBE_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
