"""The run folder: all files of a run, from which every table and plot can be recomputed.

::

    config.json        resolved configuration
    provenance.json    plugins used (version, source hash), package versions, platform
    metrics.jsonl      one line for each step; times under "time/", memory under "memory/"
    evaluations.jsonl  one line for each evaluation on the held-out tasks
    samples.jsonl      prompts, whole episodes and verdicts
    totals.jsonl       the environment's totals after each scoring, where it counts any
    checkpoints/       step-000100/ with model/ (safetensors), state.pt and manifest.json
    panels.json        figures and tables of callbacks, at the last checkpoint and at the end
    profile/           torch traces of trainer.profile_steps
    summary.json       written at the end
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.errors import TrainerError, did_you_mean
from fdiv_gym.files import open_for_appending, read_text, replacing
from fdiv_gym.manifest import damage_of, flush_folder, seal
from fdiv_gym.registry.messages import is_unicode

# The names of the files; a separate assignment for each, so that the reference can list them.
CONFIG = "config.json"
PROVENANCE = "provenance.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
EVALUATIONS = "evaluations.jsonl"
SAMPLES = "samples.jsonl"
TIMEOUTS = "timeouts.jsonl"  # timeouts of all steps are kept and replayed on resume
TOTALS = "totals.jsonl"  # totals after each scoring; those after the checkpoint are taken over when it is repeated
PANELS = "panels.json"
WRITER = ".writer"  # the process that has locked the folder; without the lock it means nothing


class RunFolder:
    """Reads and writes one run folder.

    Args:
        path: the folder; ``create`` or ``open_existing`` check it first.
        report: takes one line about a file that lost its content; a Python warning by default.
    """

    def __init__(self, path: Path, report: Callable[[str], None] = warnings.warn) -> None:
        self.path = path
        self._report = report
        self._sizes: dict[str, int] = {}  # of the files that this object appended to

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """Create the folder of a new run.

        Raises:
            TrainerError: it already contains a run, is not a folder, or cannot be written.
        """
        run = cls(Path(path))
        if (run.path / CONFIG).exists():
            raise TrainerError(
                f"{run.path} already contains a run: choose another --output, "
                f"or resume it with: fdiv-gym train --resume {run.path} "
                "(in Python: fdiv_gym.train(config, folder, resume=True))"
            )
        if run.path.is_dir() and any(path.name != WRITER for path in run.path.iterdir()):
            raise TrainerError(f"{run.path} is not empty and contains no run: choose another --output")
        with run.writing("the run folder"):
            run.path.mkdir(parents=True, exist_ok=True)
            (run.path / "checkpoints").mkdir()
            run.write_json(CONFIG, config)
        return run

    @classmethod
    def open_existing(cls, path: str | Path) -> RunFolder:
        """Open the folder of a run.

        Raises:
            TrainerError: there is no run in it.
        """
        run = cls(Path(path))
        if not (run.path / CONFIG).is_file():
            raise TrainerError(f"there is no run in {run.path}: {_why_no_run(run.path)}")
        return run

    def remove_if_nothing_happened(self) -> None:
        """Remove the folder of a run that failed before its first evaluation or step: a retry may use its name."""
        if any((self.path / name).exists() for name in (METRICS, EVALUATIONS, SAMPLES)) or self._numbered():
            return
        self._remove_tracker_files()
        for name in (CONFIG, PROVENANCE, TOTALS, WRITER):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder with other files is kept
            (self.path / "checkpoints").rmdir()
            self.path.rmdir()

    def _remove_tracker_files(self) -> None:
        """Remove the folder that accelerate's trackers made for the project, in the run folder."""
        tracker = self.config().get("tracker") or {}
        folder = (self.path / str(tracker.get("project") or "")).resolve()
        if self.path.resolve() in folder.parents:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn a failure to write (full disk, no permission) into one clear error."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise TrainerError(f"cannot write {what} in {self.path}: {reason}") from error

    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.read_json(CONFIG)

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; {} if it does not exist.

        Raises:
            TrainerError: the file is damaged.
        """
        try:
            record: Any = json.loads(read_text(self.path / name))
        except FileNotFoundError:
            return {}
        except (ValueError, OSError, RecursionError) as error:
            raise TrainerError(f"{self.path / name} cannot be read: {error}") from None
        if not isinstance(record, dict):
            raise TrainerError(f"{self.path / name} is damaged: it holds no JSON object")
        return record

    def write_json(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a JSON file atomically: a reader gets the old or the new content."""
        with self.writing(name), replacing(self.path / name) as file:
            json.dump(record, file, indent=2, allow_nan=False, default=str)
            file.write("\n")

    def append(self, name: str, *records: Mapping[str, Any]) -> None:
        """Append lines to a JSON-lines file; numbers that are not finite become null.

        A file that was removed or cut since this object wrote to it is reported, and continued.
        """
        size, expected = self.size(name), self._sizes.get(name, 0)
        if size < expected:
            what = "was removed" if not (self.path / name).exists() else "was cut"
            self._report(f"{self.path / name} {what} during the run: {expected - size} bytes written before are lost")
        with self.writing(name), open_for_appending(self.path / name) as file:
            for record in records:
                file.write(json_line(record) + "\n")
        self._sizes[name] = self.size(name)

    def size(self, name: str) -> int:
        """Bytes of a file of the folder; 0 if it does not exist."""
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return 0

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The records of a JSON-lines file; an incomplete last line, left by a crash, is omitted.

        Raises:
            TrainerError: the file cannot be read, or a line in the middle is damaged.
        """
        path = self.path / name
        if not path.exists():
            return []
        # A crash may cut a line inside a character; such a line is damaged in any case.
        try:
            texts = read_text(path, errors="replace").split("\n")
        except OSError as error:
            raise TrainerError(f"{path} cannot be read: {error.strerror}") from None
        records = []
        for number, text in enumerate(texts, 1):
            if not text:
                continue
            try:
                record = json.loads(text)
                if not isinstance(record, dict):
                    raise ValueError("not an object")
                records.append(record)
            except (ValueError, RecursionError):
                if number < len(texts):
                    raise TrainerError(f"{path}, line {number} is damaged: {text[:60]!r}") from None
        return records

    def keep_until(self, step: int) -> None:
        """Truncate the JSON-lines files to ``step``, the step of the checkpoint from which a run resumes.

        Lines without a step (timeouts, totals) are kept; an incomplete line is removed.

        Raises:
            TrainerError: a step is not a number, or a file cannot be read or written.
        """
        for name in (METRICS, EVALUATIONS, SAMPLES, TIMEOUTS, TOTALS):
            if not (self.path / name).exists():
                continue
            self.rewrite(name, [record for record in self.lines(name) if self._step(name, record, step) <= step])

    def rewrite(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Replace a JSON-lines file atomically by one that holds these records."""
        self._sizes.pop(name, None)
        with self.writing(name), replacing(self.path / name) as file:
            file.writelines(json_line(record) + "\n" for record in records)

    def _step(self, name: str, record: Mapping[str, Any], default: int) -> int:
        step = record.get("step", default if name in (TIMEOUTS, TOTALS) else None)
        if type(step) is not int:
            raise TrainerError(f"{self.path / name} is damaged: the step of a line is {step!r}, not a number")
        return step

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first.

        Raises:
            TrainerError: the name of one contains no step.
        """
        for path in (self.path / "checkpoints").glob("step-*"):
            if step_of(path) is None:
                raise TrainerError(f"{path} is no checkpoint: its name must be step-NUMBER; rename or move it")
        return self._numbered()

    def refuse_linked_checkpoints(self) -> None:
        """Refuse to write if ``checkpoints`` is a link: old checkpoints would be removed from another folder.

        Raises:
            TrainerError: it is a symbolic link.
        """
        place = self.path / "checkpoints"
        if place.is_symlink():
            raise TrainerError(
                f"{place} is a link to {os.readlink(place)}, where a resumed run would remove checkpoints: "
                "move them into the run folder, or link to the whole run folder"
            )

    def _numbered(self) -> list[Path]:
        found = ((step_of(path), path) for path in (self.path / "checkpoints").glob("step-*"))
        return [path for _, path in sorted((step, path) for step, path in found if step is not None)]

    def damage_of(self, checkpoint: Path) -> str | None:
        """What differs from the manifest of a checkpoint; None if it is as it was saved."""
        return damage_of(checkpoint)

    @contextlib.contextmanager
    def new_checkpoint(self, step: int) -> Iterator[Path]:
        """An empty folder for a checkpoint; when the block ends it gets its manifest, then its final name."""
        parent = self.path / "checkpoints"
        with self.writing("a checkpoint"):
            parent.mkdir(exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=parent))
        try:
            with self.writing("a checkpoint"):
                yield temporary
                seal(temporary)
                final = parent / f"step-{step:06d}"
                if final.exists():  # moved and removed afterwards: a kill between the two leaves one of them whole
                    os.replace(final, tempfile.mkdtemp(prefix=".writing-", dir=parent))
                os.replace(temporary, final)
                flush_folder(parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def forget_old_checkpoints(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and incomplete ones left by a crash."""
        for path in [*self._numbered()[:-keep], *(self.path / "checkpoints").glob(".writing-*")]:
            shutil.rmtree(path, ignore_errors=True)


def step_of(checkpoint: Path) -> int | None:
    """The step in the name of a checkpoint; None if there is none."""
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isascii() and number.isdigit() else None


def _why_no_run(path: Path) -> str:
    """Why a path is no run folder, with the run folder that was probably meant."""
    if path.is_file():
        return "it is a file" + (f"; did you mean {str(path.parent)!r}?" if (path.parent / CONFIG).is_file() else "")
    if path.is_dir():
        inside = [str(found.parent) for found in sorted(path.glob(f"*/{CONFIG}"))]
        return f"it has no {CONFIG}" + (f"; runs inside it: {', '.join(inside[:5])}" if inside else "")
    return "there is no such folder" + similar_runs(path)


def similar_runs(path: Path) -> str:
    """A suggestion of the run folders beside ``path`` and in ``runs``; empty if there are none."""
    beside = [str(found.parent) for parent in (path.parent, Path("runs")) for found in parent.glob(f"*/{CONFIG}")]
    return f" ({did_you_mean(str(path), beside)})" if beside else ""


def json_line(record: Mapping[str, Any]) -> str:
    """One line of a JSON-lines file, without its end; numbers that are not finite become null."""
    line = json.dumps(_finite(record), ensure_ascii=False)
    # A lone surrogate has no UTF-8 form; JSON can escape it.
    return line if is_unicode(line) else json.dumps(_finite(record))


def _finite(value: Any) -> Any:
    import math

    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
