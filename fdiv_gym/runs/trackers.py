"""The trackers of a run: they get a copy of what its folder holds, so one that fails does not end the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdiv_gym.errors import ConfigError, TrainerError, did_you_mean
from fdiv_gym.registry.messages import cause_of

if TYPE_CHECKING:
    from fdiv_gym.runs.config import TrackerConfig


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
        raise ConfigError(f"tracker.name: no tracker {name!r} ({did_you_mean(name, built_in)})")
    available = [str(found) for found in tracking.get_available_trackers()]
    if name == "all" and not available:
        raise TrainerError("tracker 'all': no tracker package is installed, e.g. pip install tensorboard")
    if name != "all" and name not in available:
        package = name.replace("_", "-")
        raise TrainerError(f"tracker {name!r} needs a package that is not installed: pip install {package}")


def _refuse_outside(project: str, folder: Path) -> None:
    """Refuse a project that is not a folder inside the run folder, e.g. ``../x`` or the name of a link."""
    place = (folder / project).resolve()
    if folder.resolve() not in place.parents:
        raise ConfigError(
            f"tracker.project = {project!r}: the tracker's files would be written to {place}, outside of the run "
            "folder: use a plain name"
        )


def start_trackers(tracker: TrackerConfig, folder: Path) -> list[Any]:
    """Start the trackers; they write files, so this comes after everything that can be refused.

    Args:
        tracker: checked by ``check_tracker``.
        folder: of the run.

    Returns:
        Trackers of accelerate; only the main process starts any.

    Raises:
        TrainerError: a tracker cannot start.
    """
    from accelerate import PartialState, tracking

    if not PartialState().is_main_process:
        return []
    started: list[Any] = []
    try:
        for name in map(str, tracking.filter_trackers(tracker.name, folder)):
            kind = tracking.LOGGER_TYPE_TO_CLASS[name]
            place = [str(folder)] if kind.requires_logging_directory else []
            one = kind(tracker.project, *place)
            one.start()
            started.append(one)
    except Exception as error:  # each package raises classes of its own
        finish_trackers(started, lambda text: None)
        raise TrainerError(f"tracker {tracker.name!r} cannot start: {cause_of(error)}") from None
    return started


def send_metrics(
    trackers: list[Any],
    line: Mapping[str, float],
    step: int,
    report: Callable[[str], None],
    more: Callable[[Any], None] | None = None,
) -> None:
    """Send the metrics of a step to every tracker; the main process calls it.

    Args:
        trackers: those started; one that fails is removed from the list.
        line: the metrics.
        step: of the metrics.
        report: takes one line about a tracker that was removed.
        more: is called with each tracker and sends what else there is.
    """
    for tracker in list(trackers):
        try:
            tracker.log(dict(line), step=step)
            if more is not None:
                more(tracker)
        except Exception as error:  # each package raises classes of its own
            report(
                f"tracker {tracker.name!r} failed at step {step}: {cause_of(error)}; it gets nothing more, the run "
                "continues"
            )
            trackers.remove(tracker)


def finish_trackers(trackers: list[Any], report: Callable[[str], None]) -> None:
    """End every tracker, also if one of them fails."""
    for tracker in trackers:
        try:
            tracker.finish()
        except Exception as error:
            report(f"tracker {tracker.name!r} failed at its end: {cause_of(error)}")
