"""Weights divided between two real processes (gloo on the loopback interface)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest_trainer import tiny_config
from safetensors.torch import load_file
from test_parallel import on_one_and_on_two
from transformers import AutoModelForCausalLM

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, RunFolder
from fdiv_gym_accelerate.sharding import check_sharded

UPDATES = Path(__file__).with_name("sharding_script.py")
RUN = Path(__file__).with_name("sharded_run_script.py")


@pytest.mark.slow
def test_divided_weights_get_the_updates_of_whole_ones(tmp_path):
    """Rows of unequal lengths, unequal numbers of micro-batches, a process without signal, clipping, two streams.

    The script asserts that parameters are DTensors, half of them in each process.
    """
    alone, together = on_one_and_on_two(UPDATES, tmp_path)
    for case, one in alone["cases"].items():
        two = together["cases"][case]
        assert len(one["gradients"]) == len(two["gradients"]) == 2, case
        for expected, found in zip(one["gradients"], two["gradients"], strict=True):
            assert float(expected.norm()) > 0, case
            assert float((found - expected).norm() / expected.norm()) < 1e-5, case
        assert float((two["weights"] - one["weights"]).abs().max()) < 1e-5, case
        assert two["sums"] == pytest.approx(one["sums"], rel=1e-9), case
        (line,) = one["lines"]
        assert line["grad_norm"] > 0.01, case  # the gradient was clipped; its norm before is not that of the vector
        assert len(two["lines"]) == 2
        for key in (k for k in line if not k.startswith("ratio/p")):
            assert [other[key] for other in two["lines"]] == pytest.approx([line[key]] * 2, rel=1e-5, abs=1e-9), key


def run_on(processes, *arguments):
    """Run the script on as many processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    subprocess.run(
        [sys.executable, *launcher, str(RUN), *map(str, arguments)], check=True, env=environment, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_and_its_checkpoint_on_another_number_of_processes(tmp_path, before, after):
    run_on(before, "train", tmp_path / "run")
    lines = RunFolder(tmp_path / "run").lines(METRICS)
    assert [line["step"] for line in lines] == [1, 2]
    assert max(line["grad_norm"] for line in lines) > 0
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-*2")
    names = sorted(path.name for path in (checkpoint / "model").glob("*.safetensors"))
    written = load_file(checkpoint / "model" / names[0])
    model = AutoModelForCausalLM.from_pretrained(checkpoint / "model")
    assert type(model).__name__ == model.config.architectures[0]  # and not a name of the sharded class
    optimizer = torch.load(checkpoint / "state.pt")["optimizer"]
    run_on(after, "load", tmp_path / "run", tmp_path / "found.pt")
    found = torch.load(tmp_path / "found.pt")
    assert found["step"] == 2
    for name, weights in model.state_dict().items():
        assert torch.equal(found["weights"][name], weights), name
    assert set(written) <= set(found["weights"])
    moments = [state["exp_avg_sq"] for state in optimizer["state"].values()]
    assert any(bool(moment.any()) for moment in moments)
    assert found["optimizer"]["param_groups"] == optimizer["param_groups"]
    for index, state in optimizer["state"].items():
        for key, value in state.items():
            assert type(value) is torch.Tensor
            assert torch.equal(found["optimizer"]["state"][index][key], value), (index, key)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"embedded": {}, "lora": {"rank": 4}}}, r"\[model.lora\]"),
        ({"model": {"embedded": {}, "reference": "offload"}}, 'model.reference = "offload"'),
        ({"model": {"embedded": {}, "reference_every": 2}}, "model.reference_every"),
        ({"trainer__precision": "bf16_full"}, 'trainer.precision = "bf16_full"'),
        ({"trainer__gradient_checkpointing": True}, "trainer.gradient_checkpointing"),
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
