"""Where the reference comes from: moved, offloaded and cached ones, and what is refused."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from conftest_trainer import without_times
from events_harness import run

import fdiv_gym as fg
from fdiv_gym.models import load_model
from fdiv_gym.runs import EVALUATIONS, METRICS, RunFolder
from fdiv_gym_accelerate import parts as parts_module
from fdiv_gym_accelerate.reference import Cached, Moving, Offloaded

IDS = torch.tensor([[5, 9, 21, 33, 2], [7, 7, 30, 4, 1]])
PAIRS = [
    {"prompt": f"{a}{b}", "chosen": chr(97 + a), "rejected": chr(99 + b) + "x"} for a in range(4) for b in range(4)
]


@pytest.fixture
def policies(monkeypatch):
    """The policies of the test's runs."""
    found, load = [], parts_module.load_policy

    def loaded(*args, **kwargs):
        found.append(load(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(parts_module, "load_policy", loaded)
    return found


def weights(model):
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def test_the_reference_follows_every_k_steps(tmp_path, policies):
    seen = []

    class Keep(fg.Callback):
        def before_rollouts(self, step):
            seen.append((weights(policies[0].model), weights(policies[0].reference.module)))

    found = run(tmp_path, 5, objective="f-grpo", callbacks=[Keep], model={"reference_every": 2}, learning_rate=1e-2)
    assert not found.error
    assert not found.at("reference_tied")
    # Before step n the reference is the policy from before step 1, 1, 3, 3, 5.
    for step, origin in enumerate([0, 0, 2, 2, 4]):
        assert torch.equal(seen[step][1], seen[origin][0]), step
    assert not torch.equal(seen[2][0], seen[0][0])
    assert found.lines[2]["divergence/estimate"] < 1e-6 < found.lines[1]["divergence/estimate"]


def test_a_moved_reference_is_resumed_exactly(tmp_path):
    options = {
        "objective": "f-grpo", "learning_rate": 1e-2, "check_plugins": False, "checkpoint_every": 3,
    }  # fmt: skip
    moved = {"reference_every": 2}
    whole = run(tmp_path, 5, model=moved, **options)
    assert not whole.error
    copied = tmp_path / "again" / "run"
    shutil.copytree(tmp_path / "run", copied)
    shutil.rmtree(copied / "checkpoints" / "step-000005")
    (copied / "summary.json").unlink()
    again = run(tmp_path / "again", 5, resume=True, model=moved | {"name_or_path": str(tmp_path / "tiny")}, **options)
    assert not again.error
    assert without_times(again.lines) == without_times(whole.lines)


def test_a_reference_that_stops_moving_stays_where_it_is(tmp_path, policies):
    """It was stored only while it moved: after a second resume the reference was the initial model again."""
    options = {"objective": "f-grpo", "learning_rate": 1e-2, "check_plugins": False, "checkpoint_every": 1}
    for steps, every in ((2, 2), (3, 0), (4, 0)):
        model = {"reference_every": every}
        assert not run(tmp_path, steps, model=model, resume=steps > 2, accept_changes=True, **options).error
    first, *resumed = [weights(policy.reference.module) for policy in policies]
    assert not torch.equal(first, weights(load_model(tmp_path / "tiny")))
    assert torch.equal(first, resumed[0])
    assert torch.equal(first, resumed[1])


def test_an_offloaded_reference_gives_the_same_run(tmp_path, policies, monkeypatch, capsys):
    monkeypatch.setenv("FDIV_GYM_QUIET", "")
    options = {"objective": "f-grpo", "learning_rate": 1e-2}
    first = run(tmp_path / "copy", 2, **options)
    second = run(tmp_path / "offload", 2, model={"reference": "offload"}, **options)
    assert [type(policy.reference) for policy in policies] == [Moving, Offloaded]
    assert without_times(first.lines) == without_times(second.lines)
    said = 'model.reference = "offload": the device is the CPU, so this is a plain copy'
    assert capsys.readouterr().out.count(said) == (not torch.cuda.is_available())


def test_an_offloaded_copy_is_on_the_device_for_its_passes_only():
    module = torch.nn.Linear(2, 2)
    reference = Offloaded(module, torch.device("cpu", 0))
    moves, to = [], module.to
    module.to = lambda place: (moves.append(str(place)), to(place))[1]
    with reference.model() as found:
        assert found is module
        assert moves == ["cpu:0"]
    assert moves == ["cpu:0", "cpu"]


def preference_run(folder, reference, resume=False, steps=3):
    """Three steps of DPO on pairs with some held out; the lines of metrics and of the evaluations."""
    from fdiv_gym.testing.tiny import save_tiny_model

    folder.mkdir(exist_ok=True)
    if not (folder / "tiny").exists():
        save_tiny_model(folder / "tiny")
        (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    config = {
        "model": {"name_or_path": str(folder / "tiny"), "reference": reference},
        "engine": {"max_new_tokens": 4},
        "objective": {"name": "dpo"},
        "preferences": {"path": str(folder / "pairs.jsonl"), "pairs_per_step": 6, "heldout_fraction": 0.25},
        "trainer": {"steps": steps, "learning_rate": 1e-2, "warmup_steps": 0, "checkpoint_every": 2},
    }
    fg.train(config, folder / "run", resume=resume)
    found = RunFolder(folder / "run")
    return without_times(found.lines(METRICS)), found.lines(EVALUATIONS)


def test_a_cached_reference_gives_the_same_run_without_a_second_model(tmp_path, policies):
    plain, evaluations = preference_run(tmp_path / "copy", "copy")
    cached, measured = preference_run(tmp_path / "cached", "cached")
    assert isinstance(policies[1].reference, Cached)
    assert not hasattr(policies[1].reference, "module")
    assert len(plain) == 3
    for expected, found in zip(plain, cached, strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    # Fresh samples have no cached log-probs, so that their divergences are not measured.
    for expected, found in zip(evaluations, measured, strict=True):
        assert set(expected) - set(found) == {name for name in expected if name.startswith("divergence")}
        assert found["drift/chosen"] == pytest.approx(expected["drift/chosen"], rel=1e-4, abs=1e-6)
    # A resumed run computes them from the initial weights, not from those of the checkpoint.
    shutil.rmtree(tmp_path / "cached" / "run" / "checkpoints" / "step-000003")
    (tmp_path / "cached" / "run" / "summary.json").unlink()
    assert preference_run(tmp_path / "cached", "cached", resume=True)[0] == cached


@pytest.mark.parametrize(
    ("options", "objective", "message"),
    [
        ({"reference": "cached"}, "f-grpo", 'rollouts are drawn later: set "copy" or "offload"'),
        ({"reference": "copy"}, "rloo", "model.reference concerns the reference, and this objective reads none"),
        ({"reference_every": 2}, "rloo", "model.reference_every concerns the reference"),
        ({"reference_every": 2}, "f-grpo", "reference_every = 2 is more than trainer.steps = 1"),
        ({"reference": "adapter_off"}, "f-grpo", "needs an adapter"),
        ({"reference": "copy", "lora": {}}, "f-grpo", "with \\[model.lora\\] the model without its adapter"),
        (
            {"reference_every": 2, "lora": {}},
            "f-grpo",
            "needs a reference with weights of its own, not \\[model.lora\\]",
        ),
    ],
)
def test_what_cannot_be_the_reference_is_refused(tmp_path, options, objective, message):
    assert re.search(message, run(tmp_path, 1, objective=objective, model=options).error)
    assert not (tmp_path / "run").exists()
