"""The engine against a real server, ``transformers serve``: the same model, served and loaded, responds the same."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fdiv_gym.evaluation import Plan, configure, evaluate
from fdiv_gym.runs.folder import RunFolder

SERVE = Path(sys.executable).parent / "transformers"
STEPS = 60


def write_model(folder):
    """A tiny Llama that has begun to learn sums; of some other models the server changes the template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fdiv_gym.models.embedded import character_tokenizer

    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=128, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    rows = []
    for a, b in ((a, b) for a in range(1, 10) for b in range(1, 10)):
        prompt = tokenizer.encode(f"{a}+{b}=")
        rows.append((prompt, [*prompt, *tokenizer.encode(f"{a + b:02d}"), tokenizer.eos_token_id]))
    ids = torch.tensor([whole for _, whole in rows])
    labels = ids.clone()
    labels[:, : len(rows[0][0])] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    model.generation_config.do_sample = True  # without it this server is greedy at any temperature
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("served") / "model"
    write_model(folder)
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


def wait_until_ready(process, address, seconds=180):
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


# Of a response that just fits in max_new_tokens, end token included, the server says that it was cut off.
COMMON = ["env.digits=1", "env.reverse=false", "engine.max_new_tokens=5"]


@pytest.mark.slow
def test_a_served_model_responds_as_the_loaded_one(served, tmp_path):
    model, address = served
    drawn = {}
    for name, overrides in (("openai", [f'engine.base_url="{address}"']), ("transformers", [])):
        config, _ = configure(model, "math/Addition-v0", overrides=[*COMMON, *overrides], engine=name)
        done = evaluate(Plan(config, tasks=11, samples=1, greedy=True), tmp_path / name)
        lines = RunFolder(done.folder).lines("samples.jsonl")
        drawn[name] = [(line["prompt"], line["response"], line["tokens"], line["stop_reason"]) for line in lines]
    assert drawn["openai"] == drawn["transformers"]
    assert {response for _, response, _, _ in drawn["openai"]} != {""}


@pytest.mark.slow
def test_several_samples_of_a_server_that_ignores_n(served, tmp_path):
    model, address = served
    url = f'engine.base_url="{address}"'
    config, _ = configure(model, "math/Addition-v0", overrides=[*COMMON, url], engine="openai")
    done = evaluate(Plan(config, tasks=4, samples=6), tmp_path / "e")
    lines = RunFolder(done.folder).lines("samples.jsonl")
    assert len(lines) == 24
    assert len({line["response"] for line in lines if line["index"] == 0}) > 1
