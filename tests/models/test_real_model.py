"""SmolLM2-135M-Instruct: the recipe, and that it learns within minutes what no temperature and no vote gives."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder, ModelConfig, load_model, load_tokenizer, model_source

ROOT = Path(__file__).parents[2]
MOST_PROCESSOR_S = 2 * 8 * 60
"""Eight minutes on two cores, start and both evaluations included; other work on the machine hardly changes it."""


def processor_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_the_recipe_gives_the_model_it_names(smollm2):
    assert model_source(ModelConfig(name_or_path="smollm2-135m-instruct"), None) == str(smollm2)
    model = load_model("smollm2-135m-instruct")
    assert sum(weights.numel() for weights in model.parameters()) == 134_515_008
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (30, 576)
    assert json.loads((smollm2 / "provenance.json").read_text())["quantization"] == "Q4_1"
    tokenizer = load_tokenizer("smollm2-135m-instruct")
    prompt = tokenizer.decode(ChatEncoder(tokenizer).prompt("What is 2 + 2?"))
    assert prompt.endswith("<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n")
    engine = fg.get_engine("transformers")
    engine.start(model, tokenizer)
    prompt = ChatEncoder(tokenizer).prompt("What is the capital of France?")
    ((answer,),) = engine.generate([prompt], 1, fg.Sampling(max_new_tokens=16, temperature=0, seed=0))
    assert "Paris" in answer.text


@pytest.mark.slow
@pytest.mark.timeout(3000)  # beside other work; the limit of the test is on processor time
def test_it_learns_what_no_temperature_and_no_vote_gives(smollm2, tmp_path):
    command = [sys.executable, "-m", "fdiv_gym"]
    # Threads that wait without spinning: beside other work, spinning ones take many times as long.
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    run = tmp_path / "run"
    arguments = ["train", "examples/smollm2.toml", "--output", str(run)]
    before = processor_s()
    done = subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert processor_s() - before <= MOST_PROCESSOR_S
    summary = json.loads((run / "summary.json").read_text())
    assert summary["after"]["score/greedy"] >= 0.60
    assert summary["after"]["score/sampled"] >= 0.45
    arguments = ["eval", str(run), "--step", "0", "--temperature", "0.1,0.3,1", "--samples", "4", "--tasks", "100"]
    done = subprocess.run([*command, *arguments, "--json"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["any"]["value"] < summary["after"]["score/greedy"]
