"""Two real processes (gloo on the loopback interface) give the gradient of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("parallel_script.py")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["f-grpo", "dapo", "clip-cov"])
def test_two_processes_agree_with_one(tmp_path, objective):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    subprocess.run([sys.executable, str(SCRIPT), str(one), objective], check=True, env=environment, timeout=300)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run([*launcher, str(SCRIPT), str(two), objective], check=True, env=environment, timeout=300)
    alone, together = torch.load(one), torch.load(two)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert float((alone["gradient"] - together["gradient"]).norm() / alone["gradient"].norm()) < 1e-6
    assert alone["loss"] == pytest.approx(together["loss"], rel=1e-6)
