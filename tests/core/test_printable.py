import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from fdiv_gym.cli.console import PrintableConsole
from fdiv_gym.registry import printable
from fdiv_gym.registry.messages import cause_of, shorten

CLI = Path(__file__).parents[2] / "fdiv_gym" / "cli"
HOSTILE = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md\x9d0;t\x9ce\rf\u202eg\ud83dh"
SHOWN = "a\\x1b]0;owned\\x07b\\x1b[2Jc\\x9b31md\\x9d0;t\\x9ce\\rf\\u202eg\\ud83dh"
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def test_control_characters_are_shown():
    assert printable(HOSTILE) == SHOWN
    assert printable("plain\ttext,\nzwölf 漢字 🎈") == "plain\ttext,\nzwölf 漢字 🎈"


class Rude:
    def __repr__(self):
        return HOSTILE


def test_causes_and_values_are_printable():
    error = ValueError(HOSTILE)
    error.add_note(HOSTILE)
    assert "\\x1b]0;owned\\x07" in cause_of(error)
    assert not ACTING.search(cause_of(error))
    assert not ACTING.search(shorten(Rude(), 500))


@pytest.mark.parametrize("shown", [HOSTILE, Text(HOSTILE, style="bold")], ids=["str", "Text"])
@pytest.mark.parametrize("in_table", [False, True])
def test_a_console_sends_its_own_codes_only(shown, in_table):
    file = io.StringIO()
    console = PrintableConsole(file=file, force_terminal=True, width=200, legacy_windows=False)
    if in_table:
        table = Table()
        table.add_column(shown)
        table.add_row(shown)
        console.print(table)
    else:
        console.print(shown, markup=False)
    sent = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert "\\x1b]0;owned" in sent
    assert not ACTING.search(sent)


def test_commands_print_through_one_place():
    for file in CLI.glob("*.py"):
        if file.name not in ("screen.py", "console.py"):
            direct = re.findall(r"typer\.s?echo\(|\bConsole\(|(?<!\.)\bprint\(", file.read_text())
            assert direct == [], f"{file.name} prints directly: {direct}"


@pytest.mark.parametrize(
    "raised", ["fg.ConfigError(TEXT)", "ValueError(TEXT)"], ids=["an error in one line", "a traceback"]
)
def test_an_error_of_a_command_is_printable(raised):
    code = (
        "import fdiv_gym as fg, sys\nfrom fdiv_gym.cli import main\n"
        f"TEXT = {HOSTILE!r}\n"
        f"def app(): raise {raised}\n"
        "main.app = app\nmain.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode in (1, 2)
    assert b"\\x1b]0;owned\\x07" in done.stderr
    assert not ACTING.search(done.stderr.decode())


def test_messages_of_libraries_are_printable():
    code = (
        "import logging, sys, warnings\nfrom fdiv_gym.cli import main\n"
        f"TEXT = {HOSTILE!r}\n"
        "def app():\n"
        "    logging.getLogger('library').warning('\\x1b[1mloads\\x1b[0m %s', TEXT)\n"
        "    warnings.warn(TEXT)\n"
        "main.app = app\nmain.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    shown = done.stderr.decode()
    assert done.returncode == 0
    assert f"loads {SHOWN}" in shown
    assert f"UserWarning: {SHOWN}" in shown
    assert not ACTING.search(shown)
