"""Rows of a data set: from a local file or folder, or from the hub; scripts of a set are never run.

``datasets`` reads parquet files and JSON files that do not begin with a list; ``fdiv_gym.data.read_records`` reads
JSON lists, JSON Lines and CSV. A hub set is fetched as files, so that a copy in the hub's cache works without a
network.
"""

from __future__ import annotations

import math
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.data import read_records
from fdiv_gym.errors import ConfigError, EnvError, did_you_mean

FORMATS = {".parquet": "from_parquet", ".jsonl": "from_json", ".json": "from_json", ".csv": "from_csv"}
PLAIN_FOLDERS = frozenset({"data", "train", "test", "validation", "dev"})
"""Folders that are no subsets."""

DATA_VARIABLE = "FDIV_GYM_DATA"
PROBE_TIMEOUT_S = 5.0
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """Where a data set is.

    Args:
        place: a local file or folder, or a hub id.
        subset: a folder inside it (what the hub calls a configuration); empty for the whole.
        revision: a commit, tag or branch of the hub repository; None for its newest state.
        folder_name: the folder under ``$FDIV_GYM_DATA`` that is tried before the hub.
    """

    place: str
    subset: str
    revision: str | None
    folder_name: str

    def root(self) -> Path:
        """The local file or folder; fetched from the hub if there is none.

        Raises:
            EnvError: it is neither local nor in the hub's cache, and the hub cannot be reached.
        """
        own = Path(self.place).expanduser()
        if own.exists():
            return own
        kept = os.environ.get(DATA_VARIABLE)
        if kept and (Path(kept) / self.folder_name).is_dir():
            return Path(kept) / self.folder_name
        if not _HUB_ID.fullmatch(self.place) or own.suffix in FORMATS:
            raise EnvError(f"there is no file or folder {self.place!r}, and it is not a hub id such as 'owner/name'")
        return self._snapshot()

    def _snapshot(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        under = f"{self.subset}/" if self.subset else ""
        patterns = [f"{under}*{suffix}" for suffix in FORMATS]
        try:
            return Path(
                snapshot_download(
                    self.place, repo_type="dataset", revision=self.revision, allow_patterns=patterns,
                    local_files_only=not hub_is_reachable(), etag_timeout=PROBE_TIMEOUT_S,
                )
            )  # fmt: skip
        except LocalEntryNotFoundError:
            raise EnvError(self._how_to_get("the hub cannot be reached and its cache has no copy")) from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise EnvError(self._how_to_get(str(error).strip().split("\n")[0])) from None

    def _how_to_get(self, reason: str) -> str:
        wanted = f"the files of folder {self.subset!r}" if self.subset else "the .parquet or .jsonl files"
        return (
            f"data set {self.place!r}: {reason}. Fetch {wanted} from https://huggingface.co/datasets/{self.place} "
            f"on a machine with a network, put them into $FDIV_GYM_DATA/{self.folder_name}/ (or anywhere, with "
            f"env.source = the file or folder), and start again"
        )


def hub_is_reachable() -> bool:
    """Whether the hub answers within a few seconds; False without a request if HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def read_rows(source: Source, split: str, other: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The rows of one split, each with its place; all rows of a single file.

    Args:
        source: where the data set is.
        split: files or folders of this name are read: ``test.jsonl``, ``data/test-00000-of-00001.parquet``,
            ``test/part.parquet``.
        other: the other split; the only file of a folder is read under any name, unless it belongs to this split.

    Raises:
        EnvError: no such data, no file of that split, or a file or line that cannot be read.
    """
    root, files = data_files(source)
    chosen = [path for path in files if root == path or belongs_to(path.relative_to(root), split)]
    if not chosen and len(files) == 1 and not (other and belongs_to(files[0].relative_to(root), other)):
        chosen = files
    if not chosen:
        found = ", ".join(str(path.relative_to(root)) for path in files[:6]) or "nothing"
        raise EnvError(f"{root} has no file of split {split!r} (a name such as {split}.jsonl); it has {found}")
    return [row for path in chosen for row in _read(path)]


def is_single_file(source: Source, heldout: str) -> bool:
    """Whether the source has one file only, and not of the split ``heldout``."""
    root, files = data_files(source)
    return len(files) == 1 and (files[0] == root or not belongs_to(files[0].relative_to(root), heldout))


def data_files(source: Source) -> tuple[Path, list[Path]]:
    """The folder (or file) to look in, and the files of data there, in order.

    Raises:
        EnvError: no such data, a file of an unknown type, or no such subset.
    """
    root = source.root()
    if root.is_file():
        if root.suffix not in FORMATS:
            raise EnvError(f"{root} is not a file of a supported type: {', '.join(FORMATS)}")
        return root, [root]
    folder = root / source.subset
    if source.subset and not folder.is_dir():
        _refuse_other_subsets(root, source.subset)
        folder = root
    return folder, sorted(path for path in folder.rglob("*") if path.suffix in FORMATS and path.is_file())


def _refuse_other_subsets(root: Path, subset: str) -> None:
    # A copy without subset folders is accepted; a copy with other subsets only is not the requested one.
    inner = [path.relative_to(root).parts for path in root.rglob("*") if path.suffix in FORMATS]
    folders = sorted({parts[0] for parts in inner if len(parts) > 1 and parts[0] not in PLAIN_FOLDERS})
    if folders and not any(len(parts) == 1 for parts in inner):
        raise EnvError(f"{root} has no subset {subset!r} ({did_you_mean(subset, folders)}); set env.subset")


def belongs_to(path: Path, split: str) -> bool:
    """Whether a file's name, or a folder on the way to it, begins with the name of the split."""
    names = [*path.parts[:-1], path.stem]
    return any(re.match(re.escape(split) + r"(?:[-_.]|\Z)", name, re.IGNORECASE) for name in names)


def _read(file: Path) -> list[tuple[str, dict[str, Any]]]:
    if file.suffix in (".jsonl", ".csv") or (file.suffix == ".json" and _holds_a_list(file)):
        # This reader keeps whole numbers exact and the cells of CSV as written.
        try:
            records = read_records(str(file), what="data set")
        except ConfigError as error:
            raise EnvError(str(error)) from None
        return [(f"{file.name}, {place}", dict(row)) for place, row in records]
    import datasets

    cache = os.environ.get("FDIV_GYM_CACHE")
    reader = getattr(datasets.Dataset, FORMATS[file.suffix])
    was_enabled = datasets.utils.logging.is_progress_bar_enabled()
    datasets.utils.logging.disable_progress_bar()
    try:
        table = reader(str(file), keep_in_memory=True, cache_dir=str(Path(cache) / "datasets") if cache else None)
        return [(f"{file.name}, row {i}", row) for i, row in enumerate(table, 1)]
    except Exception as error:  # pyarrow and datasets raise classes of their own
        reason = str(error.__cause__ or error).strip().split("\n")[0] or type(error).__name__
        raise EnvError(f"{file} cannot be read as {file.suffix[1:]}: {reason}") from None
    finally:
        if was_enabled:
            datasets.utils.logging.enable_progress_bar()


def _holds_a_list(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def column(row: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of a column; dots select fields of nested records; a field of an empty record is None.

    Raises:
        EnvError: there is no such column.
    """
    value: Any = row
    for part in name.split("."):
        if value is None:
            return None
        if not isinstance(value, Mapping) or part not in value:
            known = list(map(str, value)) if isinstance(value, Mapping) else list(map(str, row))
            raise EnvError(f"{where}: there is no column {name!r} ({did_you_mean(part, known)})")
        value = value[part]
    return value


def text_of(value: Any, where: str) -> str:
    """A cell as text: the last user message of a chat, the only item of a list, the empty text for None.

    Raises:
        EnvError: several items, a record, or a number that is not finite.
    """
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        asked = [item for item in value if item.get("role", "user") == "user"] or value
        value = asked[-1].get("content", "")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, (Mapping, list)) or (isinstance(value, float) and not math.isfinite(value)):
        raise EnvError(f"{where}: a text or a number was expected, got {str(value)[:60]!r}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)
