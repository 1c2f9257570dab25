"""The Python tool: what it returns, and attacks on it. Each attack fails, and the tool says what happened."""

import os
import time
import warnings
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym_tools import python
from fdiv_gym_tools.jail import OPEN_FILES
from fdiv_gym_tools.python import Isolation, isolation, python_tool, run_python

JAIL = python.JAIL
MAY_FORK = "for name in ('clone', 'clone3', 'fork', 'vfork'): jail.FORBIDDEN.pop(name)"
PATIENT = python_tool(deadline_s=60.0)
"""For code that ends by itself."""


@pytest.fixture
def isolated():
    if not isolation().complete:
        pytest.skip(str(isolation()))


ISOLATED = pytest.mark.usefixtures("isolated")


def processes(script):
    """The processes that run a script."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(script) in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def none_left(script):
    end = time.monotonic() + 60
    while processes(script) and time.monotonic() < end:
        time.sleep(0.02)
    return processes(script) == []


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """A jail with some of its functions replaced, as on a system that allows less."""

    def alter(lines):
        script = tmp_path / "altered.py"
        start = "import sys\nsys.path.append({!r})\nimport jail\ndef fail(*given): raise OSError('not allowed here')\n"
        script.write_text(f"{start.format(str(JAIL.parent))}{lines}\njail.main()\n")
        monkeypatch.setattr(python, "JAIL", script)
        monkeypatch.setattr(python, "_warned", False)
        isolation.cache_clear()
        return script

    yield alter
    isolation.cache_clear()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("print('a')\nx = 3\nx * 2", "a\n6"),
        ("'text'", "'text'"),
        ("x = 1", "[no output]"),
        ("", "[no output]"),
        ("def f():\n    return 1 / 0\nprint(5)\nf()", "5\nline 2: ZeroDivisionError: division by zero"),
        ("def f(:", "line 1: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "[exit status 3]"),
        ("import sys; sys.exit()", "[no output]"),
        ("print('\\ud800 \\xe4')", "\\ud800 \xe4"),
        ("(" * 5000, "MemoryError"),
        ("a\0b", "SyntaxError: source code string cannot contain null bytes"),
        ("import math, decimal, hashlib, json\njson.dumps(math.comb(5, 2)), hashlib.sha256(b'a').hexdigest()[:4]",
         "('10', 'ca97')"),
    ],
)  # fmt: skip
def test_what_it_returns(code, told):
    found = PATIENT(code)
    assert found == told or (told == "MemoryError" and "parentheses" in found), found


def test_the_order_of_a_set_is_the_same_every_time():
    assert PATIENT("{c for c in 'abcdefgh'}") == PATIENT("{c for c in 'abcdefgh'}")


@ISOLATED
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("open('/etc/passwd').read()", "FileNotFoundError"),
        ("import os; open('/proc/self/environ')", "FileNotFoundError"),
        ("import os; os.listdir(f'/proc/{os.getppid()}')", "FileNotFoundError"),
        ("import os; os.listdir('/tmp')", "FileNotFoundError"),
        ("open('/file', 'w')", "OSError: [Errno 30] Read-only file system"),
        ("import os; open(os.__file__, 'a')", "Error"),
        ("import os; os.listdir(os.path.dirname(os.__file__) + '/site-packages')", "[]"),
        ("import os\nos.chdir('..'); os.listdir('../../..') == os.listdir('/')", "True"),
        ("import os; os.chroot('/usr')", "Error"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 22), 5)", "PermissionError"),
        ("import urllib.request as u; u.urlopen('http://127.0.0.1')", "Error"),
        ("import os\nwhile True: os.fork()", "PermissionError"),
        ("import threading\nthreading.Thread(target=print).start()", "RuntimeError: can't start new thread"),
        ("import subprocess; subprocess.run(['sh'])", "Error"),
        ("import os; os.execv('/bin/sh', ['sh'])", "PermissionError"),
        ("import os; os.kill(-1, 9)", "PermissionError"),
        ("import os; os.kill(os.getppid(), 9); print('it lives')", "Error"),
        ("x = [0] * 10**9", "MemoryError"),
        ("import mmap; mmap.mmap(-1, 1 << 40)", "Error"),
        ("x = 'a'\nwhile True: x += x", "MemoryError"),
        ("import ctypes; ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600)", "-1"),
        ("import ctypes; ctypes.CDLL(None).unshare(0x10000000)", "-1"),
        ("import ctypes; ctypes.CDLL(None).ptrace(16, 1, 0, 0)", "-1"),
        ("import ctypes; ctypes.CDLL(None).setuid(0)", "-1"),
        ("import os; os.memfd_create('m')", "PermissionError"),
        ("import resource as r; r.setrlimit(r.RLIMIT_NPROC, (9, 9))", "ValueError"),
        ("import ctypes; ctypes.string_at(0)", "[ended by SIGSEGV]"),
        ("import os; os.kill(os.getpid(), 9)", "[ended by SIGKILL]"),
        ("import os; os.closerange(0, 100); print(1)", "[exit status 1]"),
        ("import os; os._exit(7)", "[exit status 7]"),
    ],
)  # fmt: skip
def test_an_attack_fails(code, told):
    found = PATIENT(code)
    assert told in found, found
    assert "it lives" not in found
    assert none_left(JAIL)


@ISOLATED
def test_variables_of_the_parent_stay_there(monkeypatch):
    monkeypatch.setenv("API_KEY", "secret")
    assert PATIENT("import os; dict(os.environ)") == "{'PYTHONHASHSEED': '0', 'LC_CTYPE': 'C.UTF-8'}"
    assert PATIENT("import os\nos.listdir('/dev')").endswith("No such file or directory: '/dev'")
    assert PATIENT("import os\nsorted(n for n in range(64) if os.path.exists(f'/dev/fd/{n}'))") == "[]"


@ISOLATED
def test_open_files_of_the_parent_stay_there(tmp_path):
    (tmp_path / "secret").write_text("secret")
    with (tmp_path / "secret").open() as file:
        os.set_inheritable(file.fileno(), True)
        code = "import os\nfor n in range(3, 1000):\n    try: os.read(n, 9); print(n)\n    except OSError: pass"
        assert PATIENT(code) == "[no output]"


@pytest.fixture
def many_open():
    """So many open files that the one for the report has a number above the limit of the code's process."""
    found = [os.open(os.devnull, os.O_RDONLY) for _ in range(2 * OPEN_FILES)]
    yield
    for descriptor in found:
        os.close(descriptor)


@pytest.mark.usefixtures("many_open")
def test_the_code_cannot_write_to_the_report():
    code = "import os\nfor n in range(3, 1000):\n    try: os.write(n, b'forged'); print(n)\n    except OSError: pass"
    assert PATIENT(code) == "[no output]"


@pytest.mark.parametrize(
    "code",
    [
        "class E(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise E",
        "import sys\nclass S:\n    write = print\n    def flush(self): raise KeyboardInterrupt\nsys.stdout = S()",
    ],
)
def test_no_trace_of_the_jail_is_told(code):
    assert JAIL.name not in PATIENT(code)


@ISOLATED
def test_the_code_cannot_interrupt_its_supervisors(altered):
    # Without a user of its own, as where fdiv-gym itself does not run as root.
    altered("drop = jail.drop_privileges\njail.drop_privileges = lambda user: drop(None)")
    assert PATIENT("import os, signal\nsignal.signal(2, signal.SIG_IGN)\nos.kill(0, 2)") == "[no output]"


@ISOLATED
@pytest.mark.parametrize(
    "code",
    [
        "print('begun')\nwhile True: pass",
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('begun')\nwhile True: time.sleep(100)",
        "import os, time\nprint('begun')\nos.close(1); os.close(2)\ntime.sleep(1000)",
        "import os, signal\nprint('begun')\nos.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_code_that_does_not_end_is_killed(code):
    # The deadline is one of the clock: under load Python may not even have started.
    assert python_tool(deadline_s=2.0)(code) in ("begun\n[stopped after 2 s]", "[stopped after 2 s]")
    assert none_left(JAIL)


@ISOLATED
def test_endless_output_is_cut_off():
    found = python_tool(deadline_s=60.0, max_characters=50)("while True: print('abc' * 10**6)")
    assert found == "abc" * 16 + "ab\n[cut off after 50 characters]"
    assert none_left(JAIL)
    assert python_tool(deadline_s=60.0, max_characters=5)("'\xe4' * 3") == "'\xe4\xe4\xe4'"


@ISOLATED
def test_descendants_end_with_the_code(altered, monkeypatch):
    # Without the limit on processes; each leaves the session and ignores the signal of the supervisor.
    script = altered(f"{MAY_FORK}\njail.resource.__dict__.pop('RLIMIT_NPROC')")
    assert isolation().missing == ("memory",)
    monkeypatch.setattr(python, "_warned", True)
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(1000)
print('begun')
"""
    assert PATIENT(code) == "begun"
    assert none_left(script)
    assert python_tool(deadline_s=3.0)(code + "time.sleep(1000)").endswith("[stopped after 3 s]")
    assert none_left(script)


@ISOLATED
def test_no_zombie_is_left():
    PATIENT("1")
    python_tool(deadline_s=0.5)("while True: pass")
    states = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid():
            states[name] = rest.split()[0]
    assert "Z" not in states.values(), states


def test_a_system_without_namespaces_is_told(altered):
    altered("jail.enter_namespaces = fail")
    held = isolation()
    assert (held.files, held.processes) == (False, False)
    assert "not allowed here" in str(held)
    assert {"files", "processes"} <= set(held.missing)
    with pytest.warns(RuntimeWarning, match="not isolated: files, processes"):
        assert PATIENT("1 + 1") == "2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PATIENT("1 + 2") == "3"  # the warning comes once
    assert "Error" in PATIENT("import socket; socket.socket().connect(('127.0.0.1', 22))")
    assert "PermissionError" in PATIENT("import os; os.fork()")


@pytest.mark.filterwarnings("ignore:the Python tool runs code")
def test_without_namespaces_other_processes_are_left_alone(altered):
    altered("jail.enter_namespaces = fail")
    parent = os.getpid()
    for code in (
        f"import os; os.kill({parent}, 0)",
        f"import os; os.kill(-{parent}, 0)",
        "import os; os.kill(-1, 0)",
        f"import os; os.pidfd_open({parent})",
        f"import resource as r; r.prlimit({parent}, r.RLIMIT_CORE)",
        f"import os; os.sched_setaffinity({parent}, {{0}})",
    ):
        assert "PermissionError" in PATIENT(code), code
    assert PATIENT("import resource as r; r.getrlimit(r.RLIMIT_NOFILE)") == "(32, 32)"
    assert PATIENT("import os; os.kill(os.getpid(), 9)") == "[ended by SIGKILL]"


@pytest.mark.filterwarnings("ignore:the Python tool runs code")
def test_without_namespaces_files_are_out_of_reach(altered, tmp_path):
    altered("jail.enter_namespaces = fail")
    if any("Landlock" in problem for problem in isolation().problems):
        pytest.skip("the kernel has no Landlock")
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:  # which pytest made for this user alone
        folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "kept").write_text("text")
    (tmp_path / "kept").chmod(0o666)
    kept = repr(str(tmp_path / "kept"))
    for code in (
        f"open({kept}).read()", f"open({kept}, 'w')", f"open({kept}, 'a')", f"import os; os.truncate({kept}, 0)",
        f"import os; os.remove({kept})", f"import os; os.rename({kept}, {kept} + '2')",
        f"import os; os.symlink('/', {kept} + '2')", f"import os; os.mkdir({kept} + '2')",
        f"import os; os.listdir({str(tmp_path)!r})", "open('/proc/self/mem', 'rb')",
    ):  # fmt: skip
        assert "PermissionError" in PATIENT(code), code
    assert [file.name for file in tmp_path.iterdir() if file.name != "altered.py"] == ["kept"]
    assert (tmp_path / "kept").read_text() == "text"
    assert PATIENT("import statistics\nstatistics.mean([1, 2])") == "1.5"


def test_required_isolation_runs_nothing_without_it(altered, tmp_path):
    altered("jail.private_root = fail")
    with pytest.raises(fg.EnvError, match=r"not isolated: files .*not allowed here"):
        python_tool(require_isolation=True)
    ended = python._run("print('it ran')", 60.0, 512, 100, True)
    assert (ended.output, ended.refused) == ("", True)
    isolation.cache_clear()
    python.JAIL.write_text(python.JAIL.read_text().replace("jail.private_root = fail", ""))
    if isolation().complete:
        tool = python_tool(deadline_s=60.0, require_isolation=True)
        assert tool("1 + 1") == "2"
        altered("jail.enter_namespaces = fail")  # the system changes: nothing runs from now on
        with pytest.raises(fg.EnvError, match="runs no code with require_isolation"):
            tool("print('it ran')")


@ISOLATED
def test_either_of_two_walls_keeps_the_network_out(altered):
    code = "import socket; socket.create_connection(('127.0.0.1', 22), 5)"
    altered("jail.forbid_calls = fail")
    assert isolation().network
    with pytest.warns(RuntimeWarning, match="memory"):
        assert "Network is unreachable" in PATIENT(code)
    altered("jail.forbid_calls = jail.enter_namespaces = fail")
    assert isolation().missing == ("network", "files", "processes", "memory")


@ISOLATED
def test_a_user_namespace_suffices(altered):
    altered("""
real = jail.call
def call(name, *given):
    if name == 'unshare' and given == (jail.NAMESPACES,): fail()
    real(name, *given)
jail.call = call""")
    assert isolation().complete
    assert "FileNotFoundError" in PATIENT("open('/etc/passwd')")


@ISOLATED
def test_a_privilege_that_stays_is_told(altered):
    altered("jail.drop_privileges = fail")
    assert not isolation().files


def test_a_jail_that_cannot_start_is_named(altered):
    altered("raise SystemExit('no memory for this')")
    with pytest.raises(fg.EnvError, match="could not start: no memory for this"):
        PATIENT("1")


def test_limits_are_checked():
    for wrong in ({"deadline_s": 0}, {"deadline_s": float("inf")}, {"memory_mb": 1}, {"max_characters": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            python_tool(**wrong)
    assert run_python("#" * 200_000) == "[not run: more than 100000 characters of code]"


def test_it_describes_itself_to_a_model():
    for tool in (run_python, PATIENT):
        assert tool.__name__ == "run_python"
        assert tool.__annotations__ == {"code": "str", "return": "str"}
        assert "code: Python code" in tool.__doc__


def test_isolation_in_words():
    assert str(Isolation(True, True, True, True)).startswith("cut off from network, files and processes")
    assert str(Isolation(True, False, False, True, ("a", "b"))) == "not isolated: files, processes (a; b)"
