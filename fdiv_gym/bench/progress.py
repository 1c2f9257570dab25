"""The lines that an executor reports: how many cells have ended, and an estimate of what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Progress:
    """Counts of cells, and the time that the others take.

    A cell takes as long as those that this executor has run from their start, on average; before the first of them has
    ended, as long as the clocks of earlier runs say, which leave out the start of a process.

    Args:
        total: cells.
        done: ids with a result.
        failed: ids that failed.
        seconds: the clocks of earlier runs.
        at_a_time: cells that run at the same time.
        say: takes one line.
    """

    def __init__(
        self, total: int, done: Sequence[str], failed: Sequence[str], seconds: Sequence[float], at_a_time: int,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.done, self.failed, self.total = list(done), list(failed), total
        self._at_a_time, self._say = max(at_a_time, 1), say
        self._earlier, self._seconds = list(seconds), list[float]()
        say(f"{total} cells: {len(done)} done, {len(failed)} failed, {total - len(done) - len(failed)} to run")

    def add_done(self, cell: str, seconds: float | None, running: Sequence[float] | None = None) -> None:
        """A cell has a result.

        Args:
            cell: its id.
            seconds: what it took from its start to its end; None if that was not seen.
            running: seconds since the start of each cell that runs, if it is known.
        """
        self.done.append(cell)
        self._seconds += [] if seconds is None else [seconds]
        self.report(f"{cell} is done", running)

    def add_failed(self, cell: str, why: str, running: Sequence[float] | None = None) -> None:
        """A cell has failed; see ``add_done``."""
        self.failed.append(cell)
        self.report(why, running)

    def report(self, what: str, running: Sequence[float] | None = None) -> None:
        """One line: the counts, the estimate and ``what``; see ``add_done``."""
        counts = f"{len(self.done)} done, {len(self.failed)} failed"
        if running is not None:
            counts += f", {len(running)} running"
        left = self.seconds_left(running or ())
        about = "" if left is None else f", about {duration(left)} left"
        self._say(f"{counts} of {self.total}{about}: {what}")

    def seconds_left(self, running: Sequence[float] = ()) -> float | None:
        """The estimate in seconds; None if nothing is left, or nothing is known.

        Args:
            running: seconds since the start of each cell that runs.
        """
        left = self.total - len(self.done) - len(self.failed)
        known = self._seconds or self._earlier
        if not left or not known:
            return None
        mean = sum(known) / len(known)
        parts = [max(mean - begun, 0.0) for begun in running] + [mean] * (left - len(running))
        # All cells at once need as long as the longest of them; otherwise the work is shared.
        return max(sum(parts) / min(self._at_a_time, left), *parts, 0.0)


def duration(seconds: float) -> str:
    """``90 s``, ``12 min`` or ``3.4 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
