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
COMMAND = [sys.executable, "-m", "fdiv_gym"]
MOST_PROCESSOR_S = 2 * 8 * 60
"""Of one run: eight minutes on two cores, start and both evaluations included; other work hardly changes it."""


def one_thread():
    return {**os.environ, "OMP_NUM_THREADS": "1"}  # with the cache folder of the fixture


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


def train(folder, seeds):
    """The summary of a run of each seed, side by side with one thread each, and their processor time."""
    runs = [folder / f"seed-{seed}" for seed in seeds]
    before = processor_s()
    logs = [run.with_suffix(".log") for run in runs]
    started = []
    for seed, run, log in zip(seeds, runs, logs, strict=True):
        arguments = ["train", "examples/smollm2.toml", "--set", f"seed={seed}", "--output", str(run)]
        with log.open("w") as file:
            started.append(
                subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=one_thread(), stdout=file, stderr=file)
            )
    try:
        for process, log in zip(started, logs, strict=True):
            assert process.wait() == 0, log.read_text()
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [json.loads((run / "summary.json").read_text()) for run in runs], processor_s() - before


def learned(summary):
    return summary["after"]["score/greedy"] >= 0.60 and summary["after"]["score/sampled"] >= 0.45


def check_seeds(folder, seeds, others):
    """All of ``seeds`` learn, or all but one and ``others``: accuracy varies by 0.03 over seeds and machines."""
    summaries, spent = train(folder, seeds)
    assert spent <= len(seeds) * MOST_PROCESSOR_S
    if sum(map(learned, summaries)) == len(seeds) - 1:
        summaries += train(folder, others)[0]
    assert sum(map(learned, summaries)) >= 2 or all(map(learned, summaries)), [each["after"] for each in summaries]
    return summaries


@pytest.mark.full
def test_two_of_three_seeds_learn(smollm2, tmp_path):
    check_seeds(tmp_path, [0, 1], [2])


@pytest.mark.slow
@pytest.mark.timeout(5000)  # beside other work; the limit of the test is on processor time
def test_it_learns_what_no_temperature_and_no_vote_gives(smollm2, tmp_path):
    summaries = check_seeds(tmp_path, [0], [1, 2])
    arguments = ["eval", str(tmp_path / "seed-0"), "--step", "0", "--temperature", "0.1,0.3,1", "--samples", "4"]
    arguments += ["--tasks", "100", "--json"]
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, env=one_thread(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["best"]["any"]["value"]
    assert all(best < summary["after"]["score/greedy"] for summary in summaries)
