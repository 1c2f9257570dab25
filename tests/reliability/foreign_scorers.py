"""An environment of another distribution with every fault; imported by scoring processes too, so without pytest."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fdiv_gym as fg

HANGS = re.compile(r"(a+)+$")
HARD = "a" * 60 + "!"


class Components(dict):  # type: ignore[type-arg]
    """A mapping that cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("cannot be pickled")


class Words(fg.TextEnv):
    """Scores 1 for the answer, unless the response names one of the faults below."""

    score_range = (0.0, 100.0)

    class Options(fg.TextEnv.Options):
        """Options of the faults."""

        note: str = ""
        """A path that a fault writes to."""
        judge: fg.PluginRef[fg.Judge] = fg.PluginRef("rule")
        """A judge that is named and not used."""
        helper: Any = None
        """What has no JSON form."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.judged, self.cost = 0, 0.0

    def tasks(self, split: str) -> Sequence[fg.Task]:
        return [fg.Task(f"{split} {i}", str(i), {"seen": [], "pair": (1, 2)}) for i in range(4)]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        self.judged += 1
        self.cost += 0.1
        fault = getattr(self, f"_{response}", None)
        return fg.Verdict.scored(float(response == task.answer), part=0.1) if fault is None else fault(task)

    def counters(self) -> dict[str, float]:
        return {"judged": self.judged, "cost": self.cost}

    def _where(self, task: fg.Task) -> fg.Verdict:
        return fg.Verdict.scored(0.5, f"{os.getpid()} {os.getsid(0)} {'torch' in sys.modules}")

    def _backtracks(self, task: fg.Task) -> fg.Verdict:
        if self.options.note:
            Path(self.options.note).write_text(str(os.getpid()))
        return fg.Verdict.scored(float(bool(HANGS.match(HARD))))

    def _sleeps(self, task: fg.Task) -> fg.Verdict:
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        Path(self.options.note).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
        return fg.Verdict.scored(1.0)

    def _exits(self, task: fg.Task) -> fg.Verdict:
        os._exit(0)

    def _abandons(self, task: fg.Task) -> fg.Verdict:
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        Path(self.options.note).write_text(str(child.pid))
        os._exit(3)

    def _litters(self, task: fg.Task) -> fg.Verdict:
        for fd in range(3, 256):
            with contextlib.suppress(OSError):
                os.write(fd, b"\0\0\0\0\0\0\0\2{}")
        return fg.Verdict.scored(1.0)

    def _raises(self, task: fg.Task) -> fg.Verdict:
        raise ValueError("\x1b]0;no such word")

    def _prints(self, task: fg.Task) -> fg.Verdict:
        print("{" * 1_000_000)
        os.write(1, b"\0" * 1_000_000)
        return fg.Verdict.scored(1.0)

    def _unpicklable(self, task: fg.Task) -> fg.Verdict:
        return fg.Verdict(1.0, fg.Status.SCORED, Components(part=0.25))

    def _huge(self, task: fg.Task) -> fg.Verdict:
        return fg.Verdict.scored(1.0, "x" * 2_000_000)

    def _nothing(self, task: fg.Task) -> fg.Verdict:
        return 1.0  # type: ignore[return-value]

    def _mutates(self, task: fg.Task) -> fg.Verdict:
        task.data["seen"].append(1)
        return fg.Verdict.scored(float(len(task.data["seen"])), type(task.data["pair"]).__name__)

    def _draws(self, task: fg.Task) -> fg.Verdict:
        return fg.Verdict.scored(random.random())


class ForeignJudge(fg.Judge):
    """A judge of others."""
