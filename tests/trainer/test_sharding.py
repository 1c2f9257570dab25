"""Weights divided between two real processes (gloo on the loopback interface)."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest_trainer import tiny_config, without_times
from peft import PeftModel
from safetensors.torch import load_file
from sharded_run_script import LOGITS_OF, MODEL, RESUMED
from test_parallel import on_one_and_on_two
from transformers import AutoModelForCausalLM

import fdiv_gym as fg
from fdiv_gym.models import EnvDemonstrations, load_model
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import embedded_model_folder
from fdiv_gym.runs import METRICS, RunFolder
from fdiv_gym_accelerate.sharding import check_sharded

UPDATES = Path(__file__).with_name("sharding_script.py")
RUN = Path(__file__).with_name("sharded_run_script.py")
FAULT = Path(__file__).with_name("sharded_fault_script.py")


@pytest.mark.slow
def test_divided_weights_get_the_updates_of_whole_ones(tmp_path):
    """Rows of unequal lengths, unequal numbers of micro-batches, a process without signal, clipping, two streams.

    Full weights and adapters, with gradient checkpointing and without, and in bf16. The script asserts that parameters
    are DTensors, half of them in each process.
    """
    alone, together = on_one_and_on_two(UPDATES, tmp_path)
    for case, one in alone["cases"].items():
        two = together["cases"][case]
        assert len(one["gradients"]) == len(two["gradients"]) == 2, case
        for expected, found in zip(one["gradients"], two["gradients"], strict=True):
            assert float(expected.norm()) > 0, case
            bound = 0.1 if "bf16" in case else 1e-5
            assert float((found - expected).norm() / expected.norm()) < bound, case
        assert two["sums"] == pytest.approx(one["sums"], rel=1e-9), case
        assert two["sums"][0] == two["sums"][1], case  # the reference did not move
        assert two["planted"] == [True, True], case  # and both processes see a change of one
        assert one["moved"] == two["moved"] == [], case
        assert (one["frozen"] == two["frozen"] > 0) == ("lora" in case or "dora" in case), case
        if "bf16" in case:
            continue
        assert float((two["weights"] - one["weights"]).abs().max()) < 1e-5, case
        (line,) = one["lines"]
        assert line["grad_norm"] > 0.004, case  # the gradient was clipped; its norm before is not that of the vector
        assert len(two["lines"]) == 2
        for key in (k for k in line if not k.startswith("ratio/p")):
            assert [other[key] for other in two["lines"]] == pytest.approx([line[key]] * 2, rel=1e-5, abs=1e-9), key
    for run in (alone, together):  # each pass with a gradient computes its layers again
        plain, recomputed = (run["cases"][case] for case in ("f-grpo", "f-grpo recomputed"))
        assert recomputed["passes"] == 2 * plain["passes"] > 0
        for expected, found in zip(plain["gradients"], recomputed["gradients"], strict=True):
            assert float((found - expected).norm() / expected.norm()) < 1e-12


def run_on(processes, *arguments):
    """Run the script on as many processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    subprocess.run(
        [sys.executable, *launcher, str(RUN), *map(str, arguments)], check=True, env=environment, timeout=600
    )


# peft 0.21 reads a property that transformers 5.23 renamed; the library's own call of peft is silent.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_runs_and_their_checkpoints_on_another_number_of_processes(tmp_path):
    """Full weights whose reference moves, an adapter with gradient checkpointing, and one on frozen weights in bf16."""
    two, one = tmp_path / "two", tmp_path / "one"
    run_on(2, "train", two, 4, "resume", two, 4)
    run_on(1, "load", two, tmp_path / "two.pt", "train", one, 2)
    run_on(2, "load", one, tmp_path / "one.pt")
    for folder, steps in ((two, 4), (one, 2)):
        found = torch.load(tmp_path / f"{folder.name}.pt")
        for kind, loaded in found.items():
            lines = RunFolder(folder / kind).lines(METRICS)
            assert [line["step"] for line in lines] == list(range(1, steps + 1))
            assert min(line["grad_norm"] for line in lines) > 0
            assert not [line["events"] for line in lines if "events" in line]
            assert loaded["step"] == steps
            checkpoint = RunFolder(folder / kind).checkpoints()[-1]
            assert_equal_weights(loaded, checkpoint, torch.bfloat16 if kind == "bf16" else torch.float32)
            assert_equal_moments(loaded["optimizer"], torch.load(checkpoint / "state.pt")["optimizer"])
    for kind in RESUMED:
        assert_same_run(two / kind, two / "resumed" / kind)


def assert_equal_weights(loaded, checkpoint, dtype):
    """What a process loaded is what transformers, or peft, reads from the folder."""
    folder = checkpoint / "model"
    if not (folder / "adapter_config.json").is_file():
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert type(model).__name__ == model.config.architectures[0]  # and not a name of the sharded class
        expected = model.state_dict()
        reference = load_file(checkpoint / "reference.safetensors")
        assert all(torch.equal(loaded["reference"][name], weights) for name, weights in reference.items())
        assert not any(name.endswith("lm_head.weight") for name in reference)  # tied, and stored once
        embeddings = "model.embed_tokens.weight"
        assert torch.equal(reference[embeddings], expected[embeddings])  # it moved with the last step
    else:
        demonstrations = EnvDemonstrations(fg.make("math/Addition-v0", digits=1))
        base = load_model(embedded_model_folder(EmbeddedModelConfig(**MODEL), demonstrations)).to(dtype)
        with torch.no_grad():
            before = base.eval()(input_ids=LOGITS_OF).logits
        model = PeftModel.from_pretrained(base, folder).eval()
        expected = {name: weight for name, weight in model.named_parameters() if "default" in name}
        assert not (folder / "model.safetensors").exists()
        assert float((loaded["logits"] - before).abs().max()) > 1e-3
    for name, weights in expected.items():
        assert torch.equal(loaded["weights"][name], weights), name
    with torch.no_grad():
        logits = model(input_ids=LOGITS_OF).logits
    assert torch.allclose(logits, loaded["logits"], atol=1e-5 if dtype == torch.float32 else 0.05)


def assert_equal_moments(found, expected):
    """AdamW's state as one process has it, bit for bit."""
    assert any(bool(state["exp_avg_sq"].any()) for state in expected["state"].values())
    assert found["param_groups"] == expected["param_groups"]
    assert found["state"].keys() == expected["state"].keys()
    for index, state in expected["state"].items():
        for key, value in state.items():
            assert type(value) is torch.Tensor
            assert torch.equal(found["state"][index][key], value), (index, key)


def assert_same_run(uninterrupted, resumed):
    """The same metrics and, in the last checkpoint, the same weights and moments."""
    lines = [without_times(RunFolder(folder).lines(METRICS)) for folder in (uninterrupted, resumed)]
    assert lines[0] == lines[1]
    checkpoints = [RunFolder(folder).checkpoints()[-1] for folder in (uninterrupted, resumed)]
    names = {path.relative_to(checkpoints[0]) for path in checkpoints[0].rglob("*.safetensors")}
    assert len(names) == (2 if "full" in uninterrupted.name else 1)
    for name in names:
        weights = [load_file(checkpoint / name) for checkpoint in checkpoints]
        assert all(torch.equal(weights[1][key], tensor) for key, tensor in weights[0].items())
    states = [torch.load(checkpoint / "state.pt")["optimizer"] for checkpoint in checkpoints]
    assert_equal_moments(states[1], states[0])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["scoring", "gradient", "silence"])
def test_a_process_that_fails_ends_the_others(tmp_path, how):
    """While it scores, between the layers of a backward pass, and by not answering there."""
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, str(FAULT), how, str(tmp_path / "run")], stderr=subprocess.PIPE, text=True,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        _, errors = ranks[0].communicate(timeout=300)
        assert ranks[0].returncode == 1, errors
        assert "process 0: another process of the run ended, or did not answer within 15 s" in errors
        if how == "silence":
            assert ranks[1].poll() is None
        else:
            _, errors = ranks[1].communicate(timeout=300)
            assert ranks[1].returncode == 1, errors
            assert "planted" in errors.splitlines()[-1]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"embedded": {}, "reference": "offload"}}, 'model.reference = "offload"'),
        (
            {"model": {"embedded": {}, "lora": {"modules_to_save": ["norm"]}}, "trainer__precision": "bf16_full"},
            'model.lora.modules_to_save and trainer.precision = "bf16_full"',
        ),
    ],
)
def test_what_was_not_made_to_work_is_refused(changes, named):
    config = tiny_config(**changes, trainer__sharding="fully_shard")
    with pytest.raises(fg.ConfigError, match=f"{named}: remove it, or set sharding"):
        check_sharded(config, config.trainer.build().options)
    whole = tiny_config(**changes)
    check_sharded(whole, whole.trainer.build().options)
    plain = tiny_config(trainer__sharding="fully_shard")
    check_sharded(plain, plain.trainer.build().options)


def test_one_process_holds_the_whole_model_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FDIV_GYM_QUIET")
    fg.train(tiny_config(trainer__sharding="fully_shard", trainer__steps=1), tmp_path / "run")
    assert "one process, so it holds the whole model" in "".join(capsys.readouterr())
