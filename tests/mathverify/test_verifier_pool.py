"""Risk: an expensive answer blocks the caller or other pairs, or processes remain after their owner has ended."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from fdiv_gym.types.verdict import Status
from fdiv_gym_mathverify.verifier import MathVerifier

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")

EXPENSIVE = [
    r"((((9^{9})^{999})^{99})^{99})^{99}",
    "9^{9^{9^{9}}}",
    "(9999!)^{9999}",
    "1000000000!",
    r"\binom{9999}{4999}^{9999}",
    r"\binom{1000000000}{500000000}",
    "(" * 10_000 + "1" + ")" * 10_000,
    r"\sum_{k=1}^{1000000000} \frac{1}{k^k}",
    "(x+1)^{10000}",
    "(x+y+z+w)^{200}",
    "7" * 1_000_000,
    r"\boxed{" * 140_000,
    "1+" * 500_000 + "1",
]
# A reference that needs a worker: where it is a number, an answer with letters scores 0 before.
HARD = "x+1"
# Beside a reference of this size no limit on the text of an answer applies, and only the deadline ends a comparison.
HUGE = r"\sum_{k=1}^{n} (x+y+z+w)^{200}"
MUST_BE_KILLED = [
    r"\sum_{k=1}^{n} " + power
    for power in ("(x+y+z+2w)^{200}", "(x+y+z+w)^{199}+x", "(x+z+w+v)^{200}", "(x+y+z-w)^{200}")
]


def box(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


def ours(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(runs(process) for process in processes):
            return True
        time.sleep(0.05)
    return False


def runs(process: psutil.Process) -> bool:
    # A process that has ended and is not yet collected by its new parent does not run.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_script(tmp_path, text: str, **options) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text))
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment, **options
    )


@pytest.mark.parametrize("answer", EXPENSIVE, ids=range(len(EXPENSIVE)))
def test_an_expensive_answer_is_stopped_at_its_deadline(answer, quick):
    start = time.monotonic()
    verdict = quick.verify(HARD, box(answer))
    assert time.monotonic() - start < 1.0 + 1.0
    assert verdict.status is Status.TIMEOUT or verdict.score == 0.0


@pytest.fixture(scope="module")
def quick():
    with MathVerifier(deadline_s=1.0, workers=2) as verifier:
        yield verifier


def check_ordinary_pairs(verifier: MathVerifier, ordinary: int) -> None:
    references = [f"x^2+{k}x" for k in range(2, ordinary + 2)]
    responses = [box(f"x(x+{k})") for k in range(2, ordinary + 2)]
    step = max(1, ordinary // len(MUST_BE_KILLED))
    for number, answer in enumerate(MUST_BE_KILLED):
        references.insert(number * step, HUGE)
        responses.insert(number * step, box(answer))
    verdicts = verifier.verify_batch(references, responses)
    for response, verdict in zip(responses, verdicts, strict=True):
        if "x(x+" in response:
            assert verdict.score == 1.0, response
        else:
            assert verdict.status is Status.TIMEOUT, response


def test_ordinary_pairs_among_expensive_ones_score(quick):
    check_ordinary_pairs(quick, 100)


@pytest.mark.slow
def test_a_thousand_ordinary_pairs_among_expensive_ones_score(quick):
    check_ordinary_pairs(quick, 1000)


def test_the_budget_of_a_batch_holds():
    with MathVerifier(deadline_s=30.0, workers=2, batch_budget_s=4.0) as verifier:
        start = time.monotonic()
        verdicts = verifier.verify_batch([HUGE] * 6, [box(MUST_BE_KILLED[0])] * 6)
        assert time.monotonic() - start < 5.0
        assert [verdict.status for verdict in verdicts] == [Status.TIMEOUT] * 6
        # The dropped jobs do not keep running for thirty seconds: the next pair is judged within its own
        # budget, which includes the start of new workers.
        assert verifier.verify("x^2", box("x*x")).score == 1.0


def test_a_killed_worker_affects_one_verdict_at_most(quick):
    assert quick.verify("x^2", box("x*x")).score == 1.0
    helper = quick._pool.pid
    workers = [p for p in ours(helper) if "resource_tracker" not in " ".join(p.cmdline()) and p.ppid() != helper]
    assert len(workers) == 2
    for process in workers:
        process.kill()
    statuses = [quick.verify("x^2", box("x*x")).status for _ in range(5)]
    assert statuses.count(Status.SCORED) >= 4


def test_a_killed_helper_is_replaced():
    with MathVerifier() as verifier:
        children = [psutil.Process(verifier._pool.pid), *ours(verifier._pool.pid)]
        os.kill(verifier._pool.pid, signal.SIGKILL)
        assert gone(children, 5.0)
        assert verifier.verify("x^2", box("x*x")).score == 1.0


def test_close_leaves_no_process_and_may_be_repeated():
    before = {process.pid for process in ours(os.getpid())}
    verifier = MathVerifier()
    assert verifier.verify("1", box("1")).score == 1.0
    assert {process.pid for process in ours(os.getpid())} == before  # the fast path needs no process
    verifier.verify("x^2", box("x*x"))
    assert {process.pid for process in ours(os.getpid())} != before
    verifier.close()
    verifier.close()
    assert {process.pid for process in ours(os.getpid())} == before
    assert verifier.verify("x^2", box("x*x")).score == 1.0
    del verifier  # not closed
    assert {process.pid for process in ours(os.getpid())} == before


def test_workers_load_neither_torch_nor_the_core(quick):
    quick.verify("x^2", box("x*x"))
    for process in ours(quick._pool.pid):
        assert not [entry.path for entry in process.memory_maps() if "libtorch" in entry.path]
    code = "import sys, fdiv_gym_mathverify.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sympy" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "fdiv_gym", "pydantic", "pluggy", "transformers"}


def test_the_address_space_of_a_worker_is_limited(quick):
    quick.verify("x^2", box("x*x"))
    helper = quick._pool.pid
    workers = [p for p in ours(helper) if "resource_tracker" not in " ".join(p.cmdline()) and p.ppid() != helper]
    for process in workers:
        assert process.rlimit(psutil.RLIMIT_AS) == (1 << 30, 1 << 30)


def test_the_main_module_of_the_caller_is_never_imported(tmp_path):
    process = run_script(
        tmp_path,
        """
        import os
        with open("imported.txt", "a") as log:
            log.write("once\\n")
        from fdiv_gym_mathverify.verifier import MathVerifier
        with MathVerifier(deadline_s=1.0) as verifier:
            print(verifier.verify("x^2", "\\\\boxed{x*x}").score)
            verifier.verify("(x+y+z+w)^{200}", "\\\\boxed{(x+y+z-w)^{200}}")
            print(verifier.verify("x^2", "\\\\boxed{x*x}").score)
        """,
        cwd=tmp_path,
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.split() == ["1.0", "1.0"]
    assert (tmp_path / "imported.txt").read_text() == "once\n"


def test_kill_9_of_the_caller_leaves_no_worker_running(tmp_path):
    process = run_script(
        tmp_path,
        """
        import threading, time
        from fdiv_gym_mathverify.verifier import MathVerifier
        verifier = MathVerifier(deadline_s=60.0, workers=2)
        verifier._pool.start()
        answer = "\\\\boxed{(x+y+z-w)^{200}}"
        threading.Thread(target=verifier.verify_batch, args=(["(x+y+z+w)^{200}"] * 4, [answer] * 4)).start()
        time.sleep(0.5)
        print("running", flush=True)
        time.sleep(60)
        """,
    )
    assert process.stdout.readline() == "running\n"
    children = ours(process.pid)
    assert len(children) >= 4
    process.kill()
    process.wait()
    process.stdout.close()
    assert gone(children, 5.0)


def _in_a_daemon(results) -> None:
    with MathVerifier() as verifier:
        results.send(verifier.verify("x^2", box("x*x")).score)


def test_inside_a_daemonic_process():
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_in_a_daemon, args=(send,), daemon=True)
    process.start()
    assert receive.poll(60)
    assert receive.recv() == 1.0
    process.join(10)


def test_a_forked_child_starts_its_own_workers():
    code = """
        import os
        from fdiv_gym_mathverify.verifier import MathVerifier
        with MathVerifier() as verifier:
            parent = verifier._pool.pid
            child = os.fork()
            if child == 0:
                same = verifier.verify("x^2", "\\\\boxed{x*x}").score == 1.0 and verifier._pool.pid != parent
                verifier.close()
                os._exit(0 if same else 1)
            status = os.waitpid(child, 0)[1]
            print(status, verifier.verify("x^2", "\\\\boxed{x*x}").score, verifier._pool.pid == parent)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["0", "1.0", "True"], done.stderr
