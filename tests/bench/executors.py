"""Stand-ins for the runs of cells; see ``stand_in.py``."""

import sys
from pathlib import Path

GRPO = {"label": "grpo", "objective": {"name": "grpo"}}
STAND_IN = Path(__file__).with_name("stand_in.py")


def stand_in_command(place, prepared):
    """In place of ``fdiv_gym.bench.process.command``: copies the finished run of the cell from ``prepared``."""
    return [sys.executable, "-I", "-S", str(STAND_IN), str(place), str(prepared / place.name)]


def plan(folder, cell, *actions):
    """What the starts of a cell do; see ``stand_in.py``."""
    (folder / cell.folder).mkdir(parents=True)
    (folder / cell.folder / "plan").write_text("\n".join(actions))


def starts(folder, cell):
    """How each start of a cell began, and what it did."""
    path = folder / cell.folder / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(" ")[2] for line in lines]


def pid_of(folder, cell):
    """The process of the last start."""
    return int((folder / cell.folder / "starts").read_text().splitlines()[-1].split()[0])


def ended(folder, cell):
    """``saved`` if the last run could save before it ended."""
    path = folder / cell.folder / "ended"
    return path.read_text() if path.exists() else ""
