"""The trackers of a run: they get a copy of what its folder holds, so one that fails does not end the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

import fdiv_gym as fg
from fdiv_gym.registry import cause_of
from fdiv_gym.runs import TrackerConfig
from fdiv_gym_accelerate.tables import send_samples


def check_tracker(tracker: TrackerConfig, folder: Path) -> None:
    """Refuse a tracker that accelerate would drop without a message, or that would write outside the run folder.

    Raises:
        ConfigError: no tracker has that name, or its project leads out of the run folder.
        TrainerError: its package is not installed.
    """
    from accelerate import tracking
    from accelerate.utils import LoggerType

    name, built_in = tracker.name, LoggerType.list()
    classes = tracking.LOGGER_TYPE_TO_CLASS
    if any(classes[key].requires_logging_directory for key in (classes if name == "all" else {name} & {*classes})):
        _refuse_outside(tracker.project, folder)
    if name not in built_in:
        if name in classes:  # a class registered with accelerate by Python code
            return
        raise fg.ConfigError(f"tracker.name: no tracker {name!r} ({fg.errors.did_you_mean(name, built_in)})")
    available = [str(found) for found in tracking.get_available_trackers()]
    if name == "all" and not available:
        raise fg.TrainerError("tracker 'all': no tracker package is installed, e.g. pip install tensorboard")
    if name != "all" and name not in available:
        package = name.replace("_", "-")
        raise fg.TrainerError(f"tracker {name!r} needs a package that is not installed: pip install {package}")


def _refuse_outside(project: str, folder: Path) -> None:
    """Refuse a project that is not a folder inside the run folder, e.g. ``../x`` or the name of a link."""
    place = (folder / project).resolve()
    if folder.resolve() not in place.parents:
        raise fg.ConfigError(
            f"tracker.project = {project!r}: the tracker's files would be written to {place}, outside of the run "
            "folder: use a plain name"
        )


def start_tracker(accelerator: Accelerator, tracker: TrackerConfig | None) -> None:
    """Start the trackers; they write files, so this comes after everything that can be refused.

    Raises:
        TrainerError: a tracker cannot start.
    """
    if tracker is None:
        return
    try:
        accelerator.init_trackers(tracker.project)
    except Exception as error:  # each package raises classes of its own
        raise fg.TrainerError(f"tracker {tracker.name!r} cannot start: {cause_of(error)}") from None


def send(
    trackers: list[Any],
    line: Mapping[str, float],
    samples: Sequence[Mapping[str, Any]],
    step: int,
    report: Callable[[str], None],
) -> None:
    """Send the metrics of a step, and a table of samples, to every tracker; the main process calls it.

    Args:
        trackers: those of accelerate; one that fails is removed from the list.
        line: the metrics.
        samples: sample records; none for no table.
        step: of both.
        report: takes one line about a tracker that was removed.
    """
    for tracker in list(trackers):
        try:
            tracker.log(dict(line), step=step)
            send_samples([tracker], samples, step)
        except Exception as error:  # each package raises classes of its own
            report(
                f"tracker {tracker.name!r} failed at step {step}: {cause_of(error)}; it gets nothing more, the run "
                "continues"
            )
            trackers.remove(tracker)


def finish(trackers: list[Any], report: Callable[[str], None]) -> None:
    """End every tracker, also if one of them fails."""
    for tracker in trackers:
        try:
            tracker.finish()
        except Exception as error:
            report(f"tracker {tracker.name!r} failed at its end: {cause_of(error)}")
