"""The judge ``llm`` against a real OpenAI-compatible server: ``transformers serve`` with a tiny local model."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import fdiv_gym as fg

from .tiny_judge import write_judge_model

SERVE = Path(sys.executable).parent / "transformers"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("judge")
    write_judge_model(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(SERVE), "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health")
        yield str(folder), f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_until_ready(process, address, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"transformers serve ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail("transformers serve was not ready in time")


@pytest.mark.slow
def test_a_real_model_judges(running):
    model, address = running
    judge = fg.get_judge("llm", model=model, base_url=address, max_tokens=64, timeout_s=60, concurrency=2)
    tasks = [fg.Task("open my box."), fg.Task("take her bag."), fg.Task("read his book.")]
    verdicts = judge.judge_batch(tasks * 2, ["no, sorry"] * 3 + ["ok, red box"] * 3)
    assert [v.score for v in verdicts] == pytest.approx([8 / 9] * 3 + [1 / 9] * 3)
    assert {v.detail for v in verdicts} == {"it refuses", "it helps"}
    assert judge.usage.calls == 6
    assert judge.usage.completion_tokens > 6 * 30


@pytest.mark.slow
def test_a_real_reply_that_is_cut_off_is_unscorable(running):
    model, address = running
    judge = fg.get_judge("llm", model=model, base_url=address, max_tokens=5, timeout_s=60)
    assert judge.judge_batch([fg.Task("open my box.")], ["no, sorry"])[0].status is fg.Status.UNSCORABLE


@pytest.mark.slow
def test_a_model_that_the_server_lacks_is_unscorable(running):
    judge = fg.get_judge("llm", model="nobody/absent", base_url=running[1], timeout_s=30, retries=0)
    assert judge.judge_batch([fg.Task("open my box.")], ["no"])[0].status is fg.Status.UNSCORABLE
