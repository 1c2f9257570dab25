"""What a user sees of a run: a bar on a terminal, lines in a pipe."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = [
    sys.executable, "-m", "fdiv_gym", "train", "examples/gpm.toml", "--set", "trainer.steps=3",
    "--set", "trainer.evaluate_every=0", "--set", "model.embedded.heads=1",
]  # fmt: skip

pytestmark = pytest.mark.slow


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("FDIV_GYM_QUIET", "NO_COLOR", "CI")}
    return kept | {"COLUMNS": "100", "TERM": "xterm", **more}


def on_a_terminal(command, **more):
    main, own = pty.openpty()
    process = subprocess.Popen(command, stdout=own, stderr=own, stdin=own, cwd=ROOT, env=environment(**more))
    os.close(own)
    said = b""
    while True:
        try:
            said += os.read(main, 65536)
        except OSError:  # the other end is closed
            break
    os.close(main)
    assert process.wait() == 0, said.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())


def test_a_terminal_shows_a_bar_with_steps_time_left_and_metrics(tmp_path):
    said = on_a_terminal([*RUN, "--output", str(tmp_path / "run")])
    assert re.search(r"training ━+.* 3/3 .*\d\d:\d\d.* loss \d\.\d{3} right \d+% gradient \d", said)
    assert re.search(r"held-out, step +0  accuracy \d\.\d{3}", said)
    assert said.count("right: share of the step's pairs") == 1


def test_a_pipe_gets_lines(tmp_path):
    done = subprocess.run(
        [*RUN, "--output", str(tmp_path / "run")], cwd=ROOT, env=environment(), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "━" not in done.stdout.partition("held-out tasks")[0]
    assert re.search(r"^step 3/3  loss \d\.\d{3}  right \d+%  gradient \d", done.stdout, re.MULTILINE)
    assert re.search(r"^evaluation at step 0  accuracy \d\.\d{3}", done.stdout, re.MULTILINE)


def test_quiet_shows_neither(tmp_path):
    said = on_a_terminal([*RUN, "--output", str(tmp_path / "run")], FDIV_GYM_QUIET="1")
    assert "━" not in said.partition("held-out tasks")[0]
    assert "step 3" not in said
