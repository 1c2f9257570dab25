"""The engine vllm with two real servers of the package, on this machine: make test-vllm."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from test_colocated import gap, ids, moved

import fdiv_gym as fg

pytestmark = pytest.mark.vllm
READY_S = 300


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Two servers with the weights of another model than the one that is trained."""
    from conftest import build_model

    from fdiv_gym.testing.tiny import tiny_tokenizer

    folder = tmp_path_factory.mktemp("served")
    moved(build_model(), seed=9).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    ports, processes = (free_port(), free_port()), []
    variables = os.environ | {
        "VLLM_SERVER_DEV_MODE": "1", "TORCH_COMPILE_DISABLE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    variables.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
    with contextlib.ExitStack() as stack:
        for port in ports:
            log = stack.enter_context((folder / f"{port}.log").open("w"))
            command = [
                sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "model"),
                "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
                "--logprobs-mode", "processed_logprobs", "--kv-cache-memory-bytes", str(32 << 20),
                "--max-num-batched-tokens", "512", "--max-num-seqs", "64", "--no-enable-chunked-prefill",
            ]  # fmt: skip
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)
            processes.append(process)
        try:
            for port, process in zip(ports, processes, strict=True):
                wait(f"http://127.0.0.1:{port}/health", process, folder / f"{port}.log")
            yield tuple(f"http://127.0.0.1:{port}" for port in ports)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)


def wait(url, process, log):
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise AssertionError(f"no server after {READY_S} s: {log.read_text()[-3000:]}")


def test_servers_sample_from_the_weights_of_the_trainer(addresses, model, tokenizer, tmp_path):
    engine = fg.get_engine(
        "vllm", mode="server", servers=addresses, weights_folder=tmp_path / "weights", max_new_tokens=12
    )
    engine.start(model, tokenizer)  # takes the place of the weights that the servers started with
    sampling = engine.sampling(2)
    first = engine.generate(ids(tokenizer), 5, sampling)
    assert gap(model, tokenizer, first, sampling) < 2e-5
    assert engine.generate(ids(tokenizer), 5, sampling) == first
    tempered = engine.sampling(2).__class__(12, temperature=0.7, top_k=8, seed=2)
    assert gap(model, tokenizer, engine.generate(ids(tokenizer), 5, tempered), tempered) < 2e-5
    greedy = engine.sampling(2, greedy=True)
    assert gap(model, tokenizer, engine.generate(ids(tokenizer), 2, greedy), greedy) < 2e-5
    long = ["the quick brown fox jumps over the lazy dog " * 8]
    engine.generate(ids(tokenizer, long), 2, sampling)
    other = moved(model)
    engine.update_weights(other.state_dict().items())
    for prompts in (["a", "the quick", "one two", "four"], long):  # to both servers, and what they had cached
        assert gap(other, tokenizer, engine.generate(ids(tokenizer, prompts), 4, sampling), sampling, prompts) < 2e-5
    (folder,) = (tmp_path / "weights").iterdir()
    assert folder.name.endswith("-2")
    with pytest.raises(fg.EngineError, match="the context holds 512"):
        engine.generate([[5] * 501], 1, sampling)
    engine.close()
    assert not any((tmp_path / "weights").iterdir())


def test_a_server_that_is_not_reloaded_is_caught(addresses, model, tokenizer, tmp_path, monkeypatch):
    import fdiv_gym_vllm.server as server

    engine = fg.get_engine("vllm", mode="server", servers=addresses, weights_folder=tmp_path, max_new_tokens=4)
    engine.start(model, tokenizer)
    monkeypatch.setattr(server, "reload", lambda *arguments: None)
    with pytest.raises(fg.EngineError, match="the sync did not arrive"):
        engine.update_weights(moved(model, 1e-4).state_dict().items())
    monkeypatch.undo()
    real, deaf = server.reload, addresses[1]
    monkeypatch.setattr(server, "reload", lambda one, folder: None if one.address == deaf else real(one, folder))
    with pytest.raises(fg.EngineError, match=f"server {deaf}"):
        engine.update_weights(moved(model, 1e-3).state_dict().items())
    engine.close()
