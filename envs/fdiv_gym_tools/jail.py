"""The process that runs a model's code: it cuts itself off from network, files and processes, and then executes it.

``python.py`` starts this file as a script, outside of any package, with the request as JSON on the standard input:
``code``, ``require`` (run the code only if network, files and processes are cut off), ``seconds``, ``memory`` (bytes)
and ``status`` (a file descriptor for the JSON of what holds). With namespaces there are three processes: this one
waits, the second is the first of a process namespace and ends all others there when it ends, the third runs the code.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Any

NEW_USER, NEW_MOUNTS, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x00020000, 0x20000000, 0x40000000
NEW_OTHERS = 0x08000000 | 0x04000000
"""Shared memory and queues; host names."""
NAMESPACES = NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK | NEW_OTHERS
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
DEATH_SIGNAL, DUMPABLE, SET_FILTER, NO_NEW_PRIVILEGES = 1, 4, 22, 38
CAPABILITIES_V3 = 0x20080522
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""What the kernel calls a machine, and its column below."""
FORBIDDEN = {
    "socket": (41, 198),
    "clone": (56, 220),  # processes and threads
    "clone3": (435, 435),
    "fork": (57, 220),
    "vfork": (58, 220),
    "shmget": (29, 194),  # its memory would not count as that of the process
    "msgget": (68, 186),
    "semget": (64, 190),
    "unshare": (272, 97),  # in a user namespace of its own it would have every capability
    "setns": (308, 268),
    "mount": (165, 40),
    "ptrace": (101, 117),
    "execve": (59, 221),
    "execveat": (322, 281),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
}
"""System calls that the code may not make, with their numbers on either machine."""
AIMED = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
"""System calls whose first argument names a process: the code may name its own, or 0."""
NEW_RULES, ADD_RULE, OBEY_RULES = 444, 445, 446
"""The system calls of Landlock, with the same numbers on every machine."""
READ_FILES, READ_FOLDERS = 4, 8
OPEN_FILES = 32
FIRST_USER = 1 << 30
"""User ids from here on belong to nobody; each process of root's takes its own, so that limits count it alone."""

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """A function of the C library that returns a negative number if it fails.

    Raises:
        OSError: it failed.
    """
    function = getattr(libc, name, None)
    if function is None:
        raise OSError(f"the C library has no {name}")
    if function(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: bytes, target: str, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    """The system call of this name."""
    call("mount", source, os.fsencode(target), kind, ctypes.c_ulong(flags), data)


def write(path: str, text: str) -> None:
    """Write a file of the kernel."""
    with open(path, "w") as file:
        file.write(text)


def enter_namespaces() -> bool:
    """New namespaces, with those of root or with a user namespace of our own; whether root's were enough.

    Raises:
        OSError: the system does not allow them.
    """
    try:
        call("unshare", NAMESPACES)
        return True
    except OSError:
        user, group = os.geteuid(), os.getegid()
        call("unshare", NEW_USER | NAMESPACES)
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{user} {user} 1")
        write("/proc/self/gid_map", f"{group} {group} 1")
        return False


def forbid_calls() -> None:
    """A filter that refuses the system calls of ``FORBIDDEN``, those of ``AIMED`` at others, and another architecture.

    Raises:
        OSError: the system does not allow it, or its numbers of calls are not known here.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 1 << 32:
        raise OSError(f"the numbers of the system calls of {machine} are not known")
    architecture, column = ARCHITECTURES[machine]
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    numbers = [row[column] for row in FORBIDDEN.values()]
    aimed = [row[column] for row in AIMED.values()]
    allow = 4 + len(numbers) + len(aimed)  # the places of three parts of the program
    check, refuse = allow + 1, allow + 4
    program = [(load, 0, 0, 4), (equal, 0, refuse - 2, architecture), (load, 0, 0, 0)]
    program += [(at_least, refuse - 4, 0, 0x40000000)]  # the second set of numbers of x86_64
    for numbered, place in ((numbers, refuse), (aimed, check)):
        for number in numbered:
            program.append((equal, place - len(program) - 1, 0, number))
    program += [(end, 0, 0, 0x7FFF0000)]
    program += [(load, 0, 0, 16), (equal, 2, 0, 0), (equal, 1, 0, os.getpid())]  # the first argument
    program += [(end, 0, 0, 0x00050000 | errno.EPERM), (end, 0, 0, 0x7FFF0000)]
    packed = b"".join(struct.pack("=HBBI", *step) for step in program)
    steps = ctypes.create_string_buffer(packed)
    header = struct.pack("@HP", len(program), ctypes.addressof(steps))
    call("prctl", SET_FILTER, 2, ctypes.create_string_buffer(header), 0, 0)


def private_root() -> None:
    """A root that holds the folders of Python's standard library, read-only, and nothing else.

    Raises:
        OSError: the system does not allow it.
    """
    root = "/proc"  # a folder that every system has; the library is not in it
    mount(b"none", "/", None, RECURSIVE | PRIVATE)
    folders = library_folders()
    opened = [os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in folders]
    mount(b"tmpfs", root, b"tmpfs", NO_SUID | NO_DEVICES, b"size=256k,mode=755")
    for folder, descriptor in zip(folders, opened, strict=True):
        target = root + folder
        os.makedirs(target, mode=0o755)
        os.fchdir(descriptor)
        mount(b".", target, None, BIND)
        kept = kept_flags(target)
        mount(b"none", target, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEVICES | kept)
        for name in ("site-packages", "dist-packages"):
            if os.path.isdir(f"{target}/{name}"):
                mount(b"tmpfs", f"{target}/{name}", b"tmpfs", READ_ONLY | NO_SUID | NO_DEVICES, b"size=4k")
        os.close(descriptor)
    mount(b"none", root, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEVICES)
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", DETACH)
    os.chdir("/")


def library_folders() -> list[str]:
    """The folders of the standard library, without those inside another."""
    found: list[str] = []
    for folder in sorted({os.path.realpath(path) for path in sys.path if os.path.isdir(path)}):
        if not any(folder.startswith(f"{outer}/") for outer in found):
            found.append(folder)
    return found


def kept_flags(path: str) -> int:
    """The mount flags of a path that a user namespace may not take away."""
    flags = os.statvfs(path).f_flag
    relative = 1 << 21 if flags & 4096 else 0  # statvfs and mount number this one differently
    return flags & (8 | 1024 | 2048) | relative  # no programs, no access times


def confine_files() -> None:
    """With Landlock: no files but those of the standard library can be opened, made or removed.

    They can still be seen, and their modes and times changed. Source:
    https://docs.kernel.org/userspace-api/landlock.html.

    Raises:
        OSError: the kernel has no Landlock.
    """
    version = libc.syscall(NEW_RULES, None, ctypes.c_size_t(0), 1)
    kinds = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # of access to files that this version knows
    handled = struct.pack("=QQQ", (1 << kinds) - 1, 0, 2)  # also no signals to others, from version 6 on
    rules = libc.syscall(NEW_RULES, handled, ctypes.c_size_t(24 if version >= 6 else 8), 0)
    if version < 1 or rules < 0:
        raise OSError("the kernel has no Landlock")
    for folder in library_folders():
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        call("syscall", ADD_RULE, rules, 1, struct.pack("=Qi", READ_FILES | READ_FOLDERS, opened), 0)
        os.close(opened)
    call("syscall", OBEY_RULES, rules, 0)
    os.close(rules)


def supervise() -> None:
    """Fork twice; returns in the process that runs the code, the others end with its exit status."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of code with the same user, to all of its group
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        leave_with(child)
    call("prctl", DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    call("prctl", DUMPABLE, 0, 0, 0, 0)
    grandchild = os.fork()
    if grandchild:
        leave_with(grandchild)
    signal.signal(signal.SIGINT, usual)


def leave_with(child: int) -> None:
    """Wait for a child and end as it did; whatever else is reaped is not ours to report."""
    os.closerange(3, OPEN_FILES)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def limit(seconds: int, memory: int) -> None:
    """Limits of the kernel that cannot be raised again."""
    limits = {
        "RLIMIT_CPU": seconds,
        "RLIMIT_AS": memory,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_NPROC": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def drop_privileges(user: int | None) -> None:
    """No capability, and a user id of its own if one is given."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())


def can_start_processes() -> bool:
    """Try it."""
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def cut_off(request: dict[str, Any], held: dict[str, bool], problems: list[str]) -> None:
    """Cut this process off as far as the system allows; ``held`` says what is, ``problems`` why something is not."""
    user = FIRST_USER + os.getpid()
    as_root, private = os.geteuid() == 0, False
    try:
        as_root = enter_namespaces() and as_root
        held["network"] = True
        with reported(problems):
            private_root()
            held["files"] = private = True
        supervise()
        held["processes"] = True
    except OSError as error:
        problems.append(str(error))
    with reported(problems):
        limit(request["seconds"], request["memory"])
        held["files"] = False  # with its privileges it could leave
        drop_privileges(user if as_root and (private or library_is_public()) else None)
        held["files"] = private
        call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if not private:
            with reported(problems):
                confine_files()
        forbid_calls()
        held["network"] = True  # no sockets
        held["memory"] = not can_start_processes()


@contextlib.contextmanager
def reported(problems: list[str]) -> Iterator[None]:
    """Note what the system does not allow."""
    try:
        yield
    except (OSError, ValueError) as error:
        problems.append(str(error))


def library_is_public() -> bool:
    """Whether another user could read the standard library."""
    folder = os.path.dirname(os.path.realpath(os.__file__))
    while folder != "/":
        if not os.stat(folder).st_mode & 1:
            return False
        folder = os.path.dirname(folder)
    return True


def execute(code: str) -> int:
    """Run the code; the value of a last expression is printed as by the interactive Python. Returns the exit status."""
    names = {"__name__": "__main__"}
    try:
        tree = ast.parse(code, "<code>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<code>", "exec"), names)
        if isinstance(last, ast.Expr):
            sys.displayhook(eval(compile(ast.Expression(last.value), "<code>", "eval"), names))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        sys.stdout.write(f"{described(error)}\n")
    return 0


def described(error: BaseException) -> str:
    """The line, the kind and the text of an error."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<code>":
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:
        text = "(no text)"
    where = "" if line is None else f"line {line}: "
    return f"{where}{type(error).__name__}: {text}" if text else f"{where}{type(error).__name__}"


def main() -> None:
    """Read the request, cut off, report what holds, and run the code."""
    request = json.load(sys.stdin.buffer)
    signal.alarm(request["seconds"] + 5)  # for a parent that was killed
    report = os.dup(request["status"])  # the lowest number that is free, so that closerange reaches it below
    os.close(request["status"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    held = {"network": False, "files": False, "processes": False, "memory": False}
    problems: list[str] = []
    cut_off(request, held, problems)
    refused = request["require"] and not all(held[name] for name in ("network", "files", "processes"))
    os.write(report, json.dumps({"held": held, "problems": problems, "refused": refused}).encode())
    os.closerange(3, OPEN_FILES)
    if refused:
        os._exit(0)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    status = execute(request["code"])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    os._exit(status & 255)


if __name__ == "__main__":
    main()
