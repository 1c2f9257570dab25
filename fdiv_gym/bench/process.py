"""One cell as a process: ``python -m fdiv_gym train`` in a session of its own, with a lock that ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.errors import MissingExtraError, TrainerError
from fdiv_gym.files import open_for_appending, open_for_reading, replacing
from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.folder import CONFIG, SUMMARY, RunFolder

RUN = "run"
RUN_FILE = "config.toml"
LOG = "log.txt"
REFUSED = 2
"""The exit status of ``fdiv-gym train`` for an error in one line."""
TAIL = 3000
"""Characters at the end of the log that tell why a cell failed."""


TIED = str(Path(__file__).with_name("tied.py"))


def command(place: Path, resumed: bool) -> list[str]:
    """The program that runs a cell in its folder."""
    run = place / RUN
    # The configuration of a run that is resumed is the cell's: the servers that it names are the user's own.
    arguments = (
        ["--resume", str(run), "--trust-endpoints", "--trust-remote-code"]
        if resumed
        else [str(place / RUN_FILE), "--output", str(run)]
    )
    return [sys.executable, "-m", "fdiv_gym", "train", *arguments]


class CellProcess:
    """A started cell. It holds the lock of the cell's folder as long as one of its processes lives.

    Args:
        cell: what to run.
        place: the cell's folder.
        threads: of each process.
        held: the descriptor of the folder's lock, which the process inherits: it outlives a driver that is killed.
        tied: it is killed when the thread that starts it ends (on Linux only); otherwise it goes on.

    Raises:
        TrainerError: a file cannot be written.
    """

    def __init__(self, cell: Cell, place: Path, threads: int, held: int | None, *, tied: bool = False) -> None:
        self.cell, self.place, self.begun, self.killed_for = cell, place, time.monotonic(), ""
        self._at_end: Callable[[], None] = lambda: None
        self._prefix = [sys.executable, "-I", "-S", TIED, str(os.getpid())] if tied else []
        self.resumed = (place / RUN / CONFIG).is_file()
        with RunFolder(place).writing("the cell"):
            with replacing(place / RUN_FILE) as file:
                file.write(toml_text(cell.values))
            with open_for_appending(place / LOG) as log:
                self._log_begin = os.fstat(log.fileno()).st_size
                self._process = self._start(log, held, threads)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when the process has ended."""
        self._at_end = call

    def _start(self, log: IO[str], held: int | None, threads: int) -> subprocess.Popen[bytes]:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return subprocess.Popen(
            [*self._prefix, *command(self.place, self.resumed)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            pass_fds=() if held is None else (held,), env=os.environ | dict.fromkeys(names, str(threads)),
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """From the start until now."""
        return time.monotonic() - self.begun

    def ended(self) -> bool:
        """Whether its main process has ended; what that left behind is ended too, and the lock released."""
        if self._process.returncode is None:
            # Not reaped yet, so that the number of the group cannot be another one's by now.
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self._kill_group()
            self._process.wait()
            self._at_end()
        return True

    @property
    def status(self) -> int:
        """The exit status; below 0, the signal that ended it."""
        assert self._process.returncode is not None
        return self._process.returncode

    @property
    def cannot_be_resumed(self) -> bool:
        """Whether its run refused to go on; it is not tried a second time, but started again."""
        return self.resumed and self.status == REFUSED

    def ask_to_stop(self) -> None:
        """Let it save and end, as SIGTERM asks a run."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self, reason: str = "") -> None:
        """End it and what it has started at once."""
        self.killed_for = reason
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group that has ended
            os.killpg(self._process.pid, signal.SIGKILL)

    def memory(self) -> int:
        """Resident bytes of its processes; pages that they share are counted for each of them.

        Raises:
            MissingExtraError: psutil is not installed.
        """
        try:
            import psutil
        except ImportError:
            raise MissingExtraError("a limit on memory needs psutil: pip install 'fdiv-gym[bench]'") from None
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self._process.pid)
            for process in (main, *main.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
        return total

    def refuse_memory_above(self, memory_gb: float) -> None:
        """End it at once if its processes hold more gigabytes than these; see ``memory``."""
        used = self.memory() / 1e9
        if used > memory_gb:
            self.kill(f"it was ended: it used {used:.2f} GB of memory, more than memory_gb = {memory_gb:g}")

    def why(self) -> str:
        """Why it failed: how it ended, and the end of its output."""
        if self.killed_for:
            return self.killed_for
        try:
            name = f" ({signal.Signals(-self.status).name})" if self.status < 0 else ""
        except ValueError:
            name = ""
        return f"{self._tail().rstrip()}\nexit status {self.status}{name}".strip()

    def _tail(self) -> str:
        try:
            with open_for_reading(self.place / LOG) as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_begin, end - 4 * TAIL))
                return printable(file.read(4 * TAIL).decode("utf-8", "replace"))[-TAIL:]
        except OSError:
            return ""


def is_finished(place: Path) -> bool:
    """Whether the run of a cell's folder says that it is finished; a damaged summary is left to the resume."""
    try:
        return RunFolder(place / RUN).read_json(SUMMARY).get("status") == "finished"
    except TrainerError:
        return False
