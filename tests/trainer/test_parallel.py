"""Two real processes (gloo on the loopback interface) give the gradient of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("parallel_script.py")
UPDATES = Path(__file__).with_name("updates_parallel_script.py")
EVENTS = Path(__file__).with_name("events_parallel_script.py")
DYNAMIC = Path(__file__).with_name("dynamic_parallel_script.py")
CONTROLS = Path(__file__).with_name("controls_parallel_script.py")
MONITOR = Path(__file__).with_name("monitor_parallel_script.py")


def on_one_and_on_two(script, folder, *arguments):
    """What the script saves on one process, and on two."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    one, two = folder / "one.pt", folder / "two.pt"
    subprocess.run([sys.executable, str(script), str(one), *arguments], check=True, env=environment, timeout=600)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run([*launcher, str(script), str(two), *arguments], check=True, env=environment, timeout=600)
    alone, together = torch.load(one), torch.load(two)
    assert (alone["processes"], together["processes"]) == (1, 2)
    return alone, together


@pytest.mark.slow
@pytest.mark.parametrize("options", ["f-grpo", "dapo", "clip-cov", "f-grpo lora", "dapo lora"])
def test_two_processes_agree_with_one(tmp_path, options):
    alone, together = on_one_and_on_two(SCRIPT, tmp_path, *options.split())
    assert float((alone["gradient"] - together["gradient"]).norm() / alone["gradient"].norm()) < 1e-6
    assert alone["loss"] == pytest.approx(together["loss"], rel=1e-6, abs=1e-7)  # may cancel to 0


@pytest.mark.slow
def test_each_update_of_two_processes_has_the_gradient_of_one(tmp_path):
    """2 passes of 3 mini-batches; ratios, old log-probs, max_kl, and a process whose groups are all equal."""
    alone, together = on_one_and_on_two(UPDATES, tmp_path)
    for case, (gradients, (line,)) in alone["cases"].items():
        found, lines = together["cases"][case]
        assert len(gradients) == len(found), case
        norms = [float(g.norm()) for g in gradients]
        assert max(norms) > 0, case
        for one, two in zip(gradients, found, strict=True):
            assert float((one - two).norm()) <= 1e-6 * max(norms), case
        # Everything but quantiles covers both processes.
        for key in (k for k in line if not k.startswith("ratio/p")):
            assert [other[key] for other in lines] == pytest.approx([line[key]] * 2, rel=1e-6, abs=1e-12), (case, key)
        if "max_kl" in case:
            assert 0 < line["updates/count"] < 6, case
            assert line["updates/stopped_early"] == 1.0
        else:
            assert line["updates/count"] == 6, case
    (line, (event,)), lines = alone["disagreement"][0], together["disagreement"]
    assert event["cause"] == "constant"  # the half of the rows with a gap shows it
    for other, (found,) in lines:
        assert other["updates/count"] == line["updates/count"] == 0
        assert (found["cause"], found["policy"]) == ("constant", "stop")
        assert other["engine/logprob_gap_mean"] == pytest.approx(line["engine/logprob_gap_mean"], rel=1e-5)


@pytest.mark.slow
def test_a_step_without_signal_and_an_event_are_the_same_on_two(tmp_path):
    for run in on_one_and_on_two(EVENTS, tmp_path):
        assert len(run["found"]) == run["processes"]
        for found in run["found"]:
            assert found["moved"][0] > 0
            assert (found["moved"][1], found["updates"], found["groups"]) == (0.0, [1.0, 0.0], 4)
            planted = {"name": "wrong_sign", "policy": "warn", "message": "planted", "process": run["processes"] - 1}
            assert found["records"] == [planted]


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fully_shard"])
def test_two_processes_replace_the_groups_that_one_would(tmp_path, sharding):
    """Processes with unequal numbers of groups without signal draw as many further tasks together as one does."""
    alone, together = on_one_and_on_two(DYNAMIC, tmp_path, sharding)
    counts = ("groups/sampled", "groups/replaced", "groups/with_signal")
    lines = [[{key: line[key] for key in counts} for line in found["lines"]] for found in (alone, together)]
    assert lines[0] == lines[1]
    spent = [[event["name"] for event in line.get("events", [])] for line in together["lines"]]
    assert 0 < sum("budget_spent" in names for names in spent) < len(spent)
    for step, (whole, first, second) in enumerate(zip(*alone["trained"], *together["trained"], strict=True)):
        assert (len(first[1]), len(second[1])) == (3, 2)  # as many as without replacement
        lively = [
            sorted(prompt for prompt in prompts if prompt[1] == "k") for prompts in (whole[1], first[1] + second[1])
        ]
        assert lively[0] == lively[1]
        assert len(lively[0]) == lines[0][step]["groups/with_signal"]
    first, second = together["rounds"]
    assert [sum(n for step, n in first if step == s) for s in range(1, 7)] != [
        sum(n for step, n in second if step == s) for s in range(1, 7)
    ]
    assert sum(n for _, n in first + second) == sum(line["groups/sampled"] for line in lines[0])


@pytest.mark.slow
def test_before_updates_gets_the_whole_step_in_every_process(tmp_path):
    for found in on_one_and_on_two(CONTROLS, tmp_path):
        first, *others = found["seen"]
        assert len(others) == found["processes"] - 1
        assert all(other == first for other in others)
        assert [(step, len(rewards), max(index)) for step, rewards, index, _ in first] == [
            (s, 12, 2) for s in (1, 2, 3)
        ]
        scales = [scale for *_, scale in first]
        means = [sum(rewards) / 12 for _, rewards, *_ in first]
        assert scales == pytest.approx([1, 1 + means[0], 1 + means[1]])


@pytest.mark.slow
def test_the_drift_monitor_reads_the_whole_step_in_every_process(tmp_path):
    alone, together = on_one_and_on_two(MONITOR, tmp_path)
    (one,), (first, second) = alone["seen"], together["seen"]
    assert first == second  # to the last bit: they weigh the advantages of one step
    assert len(one) == len(first) == 6
    assert one[-1]["multipliers"]["gprl/0"] < 0.9
    assert one[-1]["kl_scale"] > 1.05
    for expected, found in zip(one, first, strict=True):
        assert found["multipliers"] == pytest.approx(expected["multipliers"], rel=1e-12)
        for name in expected.keys() - {"multipliers"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-12, abs=1e-12), name
    for line, seen in zip(together["lines"], first, strict=True):
        assert {name: value for name, value in line.items() if name.startswith("drift/")} == {
            name: value for name, value in seen.items() if name.startswith("drift/")
        }
        if "drift/kl_scale" in line:
            assert line["drift/kl_scale"] == seen["kl_scale"]
