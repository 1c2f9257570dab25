"""Rows of a data set: from a local file or folder, or from the hub, without ever running a script of the set.

Only parquet, JSON and CSV files are read, by the readers of the ``datasets`` package. A hub set is fetched
as files, so that a copy in the hub's cache works without a network.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.errors import EnvError

FORMATS = {".parquet": "from_parquet", ".jsonl": "from_json", ".json": "from_json", ".csv": "from_csv"}
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
        folder_name: the folder under ``$FDIV_GYM_DATA`` that is looked into before the hub.
    """

    place: str
    subset: str
    revision: str | None
    folder_name: str

    def root(self) -> Path:
        """The local file or folder, fetched from the hub if it is not there.

        Raises:
            EnvError: it is neither here nor in the hub's cache and the hub cannot be reached.
        """
        own = Path(self.place).expanduser()
        if own.exists():
            return own
        kept = os.environ.get(DATA_VARIABLE)
        if kept and (Path(kept) / self.folder_name).is_dir():
            return Path(kept) / self.folder_name
        if not _HUB_ID.fullmatch(self.place):
            raise EnvError(f"there is no file or folder {self.place!r}, and it is no hub id such as 'owner/name'")
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
    """Whether the hub answers within a few seconds; False without asking if HF_HUB_OFFLINE is set."""
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


def read_rows(source: Source, split: str) -> list[dict[str, Any]]:
    """The rows of one split; of a single file (or a folder that holds only one), all rows.

    Args:
        source: where the data set is.
        split: files or folders of this name are read: ``test.jsonl``, ``data/test-00000-of-00001.parquet``,
            ``test/part.parquet``.

    Raises:
        EnvError: no such data, no file of that split, or a file that cannot be read.
    """
    root = source.root()
    if root.is_file():
        return list(_read([root]))
    inside = root / source.subset
    folder = inside if source.subset and inside.is_dir() else root
    files = sorted(path for path in folder.rglob("*") if path.suffix in FORMATS)
    chosen = [path for path in files if belongs_to(path.relative_to(folder), split)]
    if not chosen and len(files) == 1:
        chosen = files
    if not chosen:
        found = ", ".join(str(path.relative_to(folder)) for path in files[:6]) or "nothing"
        raise EnvError(f"{folder} has no file of split {split!r} (a name such as {split}.jsonl); it has {found}")
    return list(_read(chosen))


def belongs_to(path: Path, split: str) -> bool:
    """Whether a file's name, or a folder on the way to it, begins with the name of the split."""
    names = [*path.parts[:-1], path.stem]
    return any(re.match(re.escape(split) + r"(?:[-_.]|\Z)", name, re.IGNORECASE) for name in names)


def _read(files: Sequence[Path]) -> Iterable[dict[str, Any]]:
    import datasets

    cache = os.environ.get("FDIV_GYM_CACHE")
    was_enabled = datasets.utils.logging.is_progress_bar_enabled()
    datasets.utils.logging.disable_progress_bar()
    try:
        for file in files:
            reader = getattr(datasets.Dataset, FORMATS[file.suffix])
            try:
                table = reader(
                    str(file), keep_in_memory=True, cache_dir=str(Path(cache) / "datasets") if cache else None
                )
            except Exception as error:  # pyarrow and datasets raise classes of their own
                reason = str(error.__cause__ or error).strip().split("\n")[0]
                raise EnvError(f"{file} cannot be read as {file.suffix[1:]}: {reason}") from None
            yield from table
    finally:
        if was_enabled:
            datasets.utils.logging.enable_progress_bar()


def column(row: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of a column; dots lead into nested records.

    Raises:
        EnvError: there is no such column.
    """
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise EnvError(f"{where}: there is no column {name!r}; the columns are {', '.join(map(str, row))}")
        value = value[part]
    return value
