"""SIGTERM and SIGHUP end a command as Ctrl-C does, with a checkpoint and one line how to go on; ranks end together."""

import os
import signal
import subprocess
import time

import pytest
from folder_harness import COMMAND, config_file, end, start, wait_for_steps

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder
from fdiv_gym.runs.signals import stop_signals, stopped_as_by_ctrl_c


def test_a_hangup_saves_a_checkpoint_and_says_how_to_resume(tmp_path):
    folder = tmp_path / "run"
    process = start("train", config_file(tmp_path), "--output", folder)
    try:
        wait_for_steps(folder, 1, process)
        process.send_signal(signal.SIGHUP)
        output, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, errors
    assert f"fdiv-gym train --resume {folder}" in " ".join(output.split())
    summary = RunFolder(folder).read_json("summary.json")
    assert summary["status"] == "interrupted"
    assert RunFolder(folder).checkpoints()[-1].name == f"step-{summary['steps']:06d}"


def test_sigterm_in_the_warm_start_leaves_nothing_and_says_so(tmp_path):
    config = config_file(tmp_path)
    config.write_text(config.read_text().replace("warm_start_steps = 30", "warm_start_steps = 20000"))
    process = start("train", config, "--output", tmp_path / "run", FDIV_GYM_CACHE=str(tmp_path / "cache"))
    try:
        assert "warm start 1/20000" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "interrupted; run the command again"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["eval", "rescore"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_commands_say_how_to_go_on(command, number, monkeypatch, capsys):
    from fdiv_gym.cli import main as cli

    def interrupted():
        os.kill(os.getpid(), number)
        time.sleep(5)

    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again\n"
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_hangup_that_nohup_ignores_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stop_signals()
        with stopped_as_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_closed_terminal_is_no_error(tmp_path):
    """The output of the process is a terminal that is closed while it trains."""
    import pty

    folder = tmp_path / "run"
    ours, theirs = pty.openpty()
    arguments = ["train", str(config_file(tmp_path)), "--output", str(folder)]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, env=os.environ | {"COLUMNS": "80"})
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        deadline = time.monotonic() + 300
        while not RunFolder(folder).lines("metrics.jsonl"):
            assert time.monotonic() < deadline
            try:
                os.read(ours, 65536)
            except BlockingIOError:
                time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.wait()
    assert RunFolder(folder).read_json("summary.json")["status"] == "interrupted"


def checkpointless(folder):
    """A run that saves no checkpoint unless it is told to stop."""
    config = config_file(folder)
    config.write_text(config.read_text().replace("checkpoint_every = 2", "checkpoint_every = 0"))
    return config


def test_a_signal_that_is_sent_twice_is_one_request(tmp_path):
    """As ``timeout`` sends SIGTERM, and the system and the shell SIGHUP when a terminal is closed."""
    folder = tmp_path / "run"
    process = start("train", checkpointless(tmp_path), "--output", folder)
    try:
        wait_for_steps(folder, 1, process)
        process.send_signal(signal.SIGHUP)
        assert any("stopping after this step" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, errors
    summary = RunFolder(folder).read_json("summary.json")
    assert RunFolder(folder).checkpoints()[-1].name == f"step-{summary['steps']:06d}"


def test_a_repeated_signal_of_the_same_request_does_not_interrupt_the_clean_up(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fdiv_gym.runs.signals.time.monotonic", lambda: now[0])
    with stopped_as_by_ctrl_c():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        now[0] += 3
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_who_presses_ctrl_c_twice_is_obeyed_at_once_and_a_repeated_sigterm_is_not(monkeypatch):
    from fdiv_gym_accelerate.interrupt import Interrupt

    now = [100.0]
    monkeypatch.setattr("fdiv_gym.runs.interrupt.time.monotonic", lambda: now[0])
    told: list[str] = []
    with Interrupt(told.append) as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.agreed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        now[0] += 3
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert len(told) == 1


def test_with_several_processes_ctrl_c_twice_is_one_request_as_launchers_repeat_it(monkeypatch):
    from fdiv_gym.runs import Interrupt

    now = [100.0]
    monkeypatch.setattr("fdiv_gym.runs.interrupt.time.monotonic", lambda: now[0])
    told: list[str] = []
    with Interrupt(told.append, processes=2) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        now[0] += 3
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(told) == 1


def test_a_line_that_cannot_be_printed_does_not_end_the_step():
    from fdiv_gym_accelerate.interrupt import Interrupt

    def fails(text: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with Interrupt(fails) as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested


def test_a_run_whose_output_was_closed_goes_on_and_saves_a_checkpoint(tmp_path):
    """As ``fdiv-gym train ... | tee log`` with Ctrl-C, which ends ``tee`` too."""
    folder = tmp_path / "run"
    process = start("train", checkpointless(tmp_path), "--output", folder)
    try:
        wait_for_steps(folder, 1, process)
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert process.returncode == 130, errors
    assert RunFolder(folder).read_json("summary.json")["status"] == "interrupted"
    assert RunFolder(folder).checkpoints()


def test_lines_to_a_pipe_that_nobody_reads_are_no_error():
    """In a process of its own, whose standard output is replaced."""
    import sys

    code = "from fdiv_gym.runs.screen import PlainScreen as P; p = P(None); [p.message(str(i)) for i in range(3)]"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr == "the output was closed: the run goes on without it\n"


def start_ranks(config, folder, port: int, *options: str):
    """Two processes of one run without a launcher that would end them."""
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    sets = [part for option in options for part in ("--set", option)]
    return [
        start("train", config, "--output", folder, *sets, RANK=str(rank), LOCAL_RANK=str(rank), **common)
        for rank in range(2)
    ]


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("told", [[0], [1], [0, 1]])
def test_two_processes_end_together_whichever_is_told(tmp_path, told):
    folder = tmp_path / "run"
    ranks = start_ranks(config_file(tmp_path), folder, free_port())
    try:
        wait_for_steps(folder, 1, ranks[0])
        for rank in told:
            ranks[rank].send_signal(signal.SIGTERM)
        outputs = [rank.communicate(timeout=60) for rank in ranks]
    finally:
        for rank in ranks:
            end(rank)
    assert [rank.returncode for rank in ranks] == [130, 130], outputs
    summary = RunFolder(folder).read_json("summary.json")
    assert summary["status"] == "interrupted"
    assert RunFolder(folder).read_json("provenance.json")["processes"] == 2
    assert RunFolder(folder).checkpoints()[-1].name == f"step-{summary['steps']:06d}"


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_a_process_that_dies_ends_the_other(tmp_path, dead):
    folder = tmp_path / "run"
    ranks = start_ranks(config_file(tmp_path), folder, free_port())
    try:
        wait_for_steps(folder, 1, ranks[0])
        end(ranks[dead])
        _, errors = ranks[1 - dead].communicate(timeout=60)
    finally:
        for rank in ranks:
            end(rank)
    assert ranks[1 - dead].returncode == 2, errors
    assert "another process of the run ended" in " ".join(errors.split())


@pytest.mark.slow
def test_a_process_that_hangs_is_waited_for_until_the_deadline(tmp_path):
    folder = tmp_path / "run"
    ranks = start_ranks(config_file(tmp_path), folder, free_port(), "trainer.process_deadline_s=10")
    try:
        wait_for_steps(folder, 1, ranks[0])
        ranks[1].send_signal(signal.SIGSTOP)
        _, errors = ranks[0].communicate(timeout=90)
    finally:
        for rank in ranks:
            end(rank)
    assert ranks[0].returncode == 2, errors
    assert "did not answer within 10 s" in " ".join(errors.split())


def test_a_launcher_that_starts_one_process_for_several_is_refused(tmp_path, monkeypatch):
    from fdiv_gym_accelerate.start import start_accelerator

    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with pytest.raises(fg.ConfigError, match="was asked for several processes and started one"):
        start_accelerator("fp32", None, RunFolder(tmp_path), 10.0)
