"""Runs of the trainer: the example's cycle, exact resume, adapters, folders, planted faults."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fdiv_gym as fg
from fdiv_gym.evaluation.source import locate
from fdiv_gym.runs import RunFolder, load_config, make_screen, resume_run, write_report
from fdiv_gym_gprl import GeneralPreferenceModel
from fdiv_gym_preference_model.run import Run
from fdiv_gym_preference_model.shown import SHOWN

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gpm.toml"
TINY = [
    "model.embedded.heads=1", "preferences.pairs_per_step=6", "trainer.steps=4", "trainer.evaluate_every=2",
    "trainer.checkpoint_every=1", "trainer.keep_checkpoints=9", "trainer.warmup_steps=1",
]  # fmt: skip
LORA = ["model.lora.rank=2", "model.lora.alpha=4"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.chdir(ROOT)


def train(folder, *overrides):
    return fg.train(load_config(EXAMPLE, [*TINY, *overrides]), folder)


def lines(folder, name="metrics.jsonl"):
    found = RunFolder(folder).lines(name)
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in found]


def weights(folder, step):
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "preference_model" / "model.safetensors")


@pytest.mark.parametrize("dimensions", [1, 2])
def test_rock_paper_scissors_is_learnt_on_held_out_items(tmp_path, dimensions):
    config = load_config(EXAMPLE, [f"trainer.dimensions={dimensions}"])
    result = fg.train(config, tmp_path / "run")
    after = result.summary["after"]
    assert result.summary["before"]["heldout/accuracy"] < 0.7
    assert after["heldout/accuracy"] >= 0.95
    assert after["triples/cyclic_data"] == 1.0
    assert after["triples/right"] >= 0.9
    assert after["heldout/ece"] < 0.05
    shares = [value for key, value in lines(tmp_path / "run", "evaluations.jsonl")[-1].items() if "/share" in key]
    assert len(shares) == dimensions
    assert sum(shares) == pytest.approx(1.0)


def test_a_pinned_head_has_at_most_two_thirds_of_a_cycle(tmp_path):
    config = load_config(EXAMPLE, ["trainer.dimensions=1", "trainer.pinned=true"])
    evaluations = RunFolder(fg.train(config, tmp_path / "run").folder).lines("evaluations.jsonl")
    assert len(evaluations) == 6
    for line in evaluations:
        assert line["heldout/accuracy"] <= 2 / 3 + 1e-12
        assert line["triples/cyclic"] == 0.0


def test_the_folder_of_a_run(tmp_path):
    result = train(tmp_path / "run")
    folder = result.folder
    assert (result.status, result.steps) == ("finished", 4)
    assert [line["step"] for line in lines(folder)] == [1, 2, 3, 4]
    assert [line["step"] for line in lines(folder, "evaluations.jsonl")] == [0, 2, 4]
    summary = RunFolder(folder).read_json("summary.json")
    provenance = RunFolder(folder).read_json("provenance.json")
    assert {"initial_weights", "preference_data", "plugins"} <= set(provenance)
    model = GeneralPreferenceModel.load(folder / summary["model"])
    assert model.config.model_dump() == {
        "base": "embedded", "dimensions": 2, "eigenvalues": "scaled", "normalise": False, "pinned": False, "tau": 0.1
    }  # fmt: skip
    known = dict(fg.get_trainer("preference-model").metric_meanings)
    keys = {key for name in ("metrics.jsonl", "evaluations.jsonl") for line in lines(folder, name) for key in line}
    own = {key for key in keys if key.split("/")[0] in ("pairs", "heldout", "triples", "dimension")}
    assert {key for key in own if not key.startswith("dimension/")} == {
        k for k in known if not k.startswith("dimension/")
    }
    assert write_report(folder).is_file()
    with pytest.raises(fg.TrainerError, match=r"holds no policy .* it has preference_model"):
        locate(str(folder))


def test_the_first_update_is_that_of_adamw_by_hand(tmp_path):
    """One step of a fresh head: loss and gradient as computed here from the saved start."""
    result = train(tmp_path / "run", "trainer.steps=1", "trainer.warmup_steps=0", "trainer.max_grad_norm=1e9")
    (line,) = lines(result.folder)
    assert line["learning_rate"] == 2e-3
    config = load_config(EXAMPLE, [*TINY, "trainer.steps=1", "trainer.warmup_steps=0"])
    RunFolder.create(tmp_path / "again", config.resolved())
    run = Run(config, config.trainer.checked_options, RunFolder(tmp_path / "again"), make_screen(SHOWN), resume=False)
    start = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    from fdiv_gym_preference_model.pairs import drawn, padded

    pairs = [run.pairs[i] for i in drawn(len(run.pairs), 0, 0, 6)]
    embeddings, values = run.model.encode(*padded(pairs, run.trained.tokenizer.pad_token_id, torch.device("cpu")))
    a, b = embeddings[:6], embeddings[6:]
    s = sum(values[:6, i] * (a[:, 2 * i] * b[:, 2 * i + 1] - a[:, 2 * i + 1] * b[:, 2 * i]) for i in range(2))
    loss = torch.log1p(torch.exp(-s / 0.1)).mean()
    loss.backward()
    assert line["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    norm = torch.cat([p.grad.flatten() for p in run.model.parameters() if p.grad is not None]).norm()
    assert line["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
    after = weights(result.folder, 1)
    for ours, name in (("value_head.weight",) * 2, ("backbone.norm.weight", "model.norm.weight")):
        grad = dict(run.model.named_parameters())[ours].grad
        clear = grad.abs() > 1e-5  # AdamW's first step is lr * sign, where its epsilon does not matter
        change = (after[name] - start[ours])[clear]
        torch.testing.assert_close(change, -2e-3 * grad.sign()[clear], rtol=1e-2, atol=1e-6)
        assert bool(clear.any())


@pytest.mark.parametrize("adapter", [[], LORA], ids=["full", "lora"])
def test_a_resumed_run_is_that_without_interruption(tmp_path, adapter):
    whole = train(tmp_path / "whole", *adapter)
    cut = tmp_path / "cut"
    shutil.copytree(whole.folder, cut)
    for step in (3, 4):
        shutil.rmtree(cut / "checkpoints" / f"step-{step:06d}")
    (cut / "summary.json").unlink()
    assert resume_run(cut).status == "finished"
    assert lines(cut) == lines(whole.folder)
    assert lines(cut, "evaluations.jsonl") == lines(whole.folder, "evaluations.jsonl")
    found, expected = weights(cut, 4), weights(whole.folder, 4)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_an_accepted_change_of_the_optimizer_is_made(tmp_path):
    folder = train(tmp_path / "run", "trainer.steps=2").folder
    before = weights(folder, 2)
    changes = ["trainer.steps=3", "trainer.learning_rate=1e-6", "trainer.weight_decay=0.5", "trainer.warmup_steps=0"]
    resume_run(folder, changes, accept_changes=True)
    assert [line["learning_rate"] for line in lines(folder)] == pytest.approx([1e-3, 2e-3, 1e-6])
    state = torch.load(folder / "checkpoints" / "step-000003" / "state.pt", weights_only=True)
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    for name, tensor in weights(folder, 3).items():  # AdamW moves a weight by a few learning rates at most
        torch.testing.assert_close(tensor, before[name], rtol=1e-6, atol=5e-6)


def test_an_adapter_leaves_the_backbone_and_is_merged_into_the_folder(tmp_path):
    folder = train(tmp_path / "run", *LORA, "trainer.learning_rate=0.01").folder
    first, last = weights(folder, 1), weights(folder, 4)
    full = weights(train(tmp_path / "full").folder, 4)
    assert set(last) == set(full)  # the names of a plain backbone
    changed = {name for name in last if not torch.equal(first[name], last[name])}
    assert "value_head.weight" in changed
    assert "model.layers.0.self_attn.q_proj.weight" in changed
    assert "model.embed_tokens.weight" not in changed
    trained = load_file(folder / "checkpoints" / "step-000004" / "trained.safetensors")
    assert {name for name in trained if "lora_" not in name} == {"value_head.weight", "prompt_head.weight"}


def test_micro_batches_give_the_same_step(tmp_path):
    whole, parts = (train(tmp_path / str(n), f"trainer.micro_batch_size={n}", "trainer.steps=2").folder for n in (6, 4))
    for one, other in zip(lines(whole), lines(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_bf16_is_autocast_with_weights_and_scores_in_fp32(tmp_path):
    exact, lower = (train(tmp_path / p, f"trainer.precision={p}", "trainer.steps=2").folder for p in ("fp32", "bf16"))
    for one, other in zip(lines(exact), lines(lower), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02)
        assert one["grad_norm"] != other["grad_norm"]
    assert {tensor.dtype for tensor in weights(lower, 2).values()} == {torch.float32}


def test_without_held_out_pairs_nothing_is_evaluated(tmp_path):
    result = train(tmp_path / "run", "preferences.heldout_fraction=0")
    assert (result.status, result.summary["before"], result.summary["after"]) == ("finished", {}, {})
    assert lines(result.folder, "evaluations.jsonl") == []


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    losses = Run._losses
    monkeypatch.setattr(Run, "_losses", lambda self, scores: losses(self, scores) * float("nan"))
    with pytest.raises(fg.TrainerError, match="step 1: the gradient is not finite"):
        train(tmp_path / "run")


@pytest.mark.parametrize("every", [0, 1])
def test_weights_that_are_not_finite_are_neither_saved_nor_called_finished(tmp_path, every):
    options = ["trainer.learning_rate=1e30", "trainer.weight_decay=1e9", "trainer.warmup_steps=0", "trainer.steps=1"]
    with pytest.raises(fg.TrainerError, match=r"step 1: the weights .* are not finite and not saved; lower"):
        train(tmp_path / "run", *options, f"trainer.checkpoint_every={every}")
    assert RunFolder(tmp_path / "run").checkpoints() == []
    assert not (tmp_path / "run" / "summary.json").exists()


def test_held_out_scores_that_are_not_finite_stop_the_run(tmp_path):
    with pytest.raises(fg.TrainerError, match="step 1: the scores of held-out pairs are not finite"):
        train(tmp_path / "run", "trainer.learning_rate=1e25", "trainer.warmup_steps=0", "trainer.steps=1")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_ends_the_run_after_its_step_also_if_it_is_sent_twice(tmp_path, monkeypatch, signals):
    """``timeout`` and launchers send SIGTERM twice."""
    step = Run.train_step

    def interrupted(self):
        step(self)
        if self.step == 2:
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGTERM)

    whole = train(tmp_path / "whole")
    monkeypatch.setattr(Run, "train_step", interrupted)
    result = train(tmp_path / "run", "trainer.checkpoint_every=0")
    assert (result.status, result.steps) == ("interrupted", 2)
    monkeypatch.setattr(Run, "train_step", step)
    assert resume_run(tmp_path / "run").status == "finished"
    assert lines(tmp_path / "run") == lines(whole.folder)


def test_a_damaged_checkpoint_is_put_aside_and_written_again_and_all_damaged_are_refused(tmp_path):
    folder = train(tmp_path / "run").folder
    expected, final = lines(folder), weights(folder, 4)
    (folder / "summary.json").unlink()
    state = folder / "checkpoints" / "step-000004" / "state.pt"
    state.write_bytes(state.read_bytes()[:-10])
    assert resume_run(folder).steps == 4
    assert lines(folder) == expected
    assert RunFolder(folder).damage_of(state.parent) is None
    written = weights(folder, 4)
    assert all(torch.equal(written[name], final[name]) for name in final)
    aside = state.parent.with_name("damaged-step-000004")
    assert "state.pt" in str(RunFolder(folder).damage_of(aside))
    for path in (folder / "checkpoints").glob("step-*"):
        (path / "state.pt").write_bytes(b"x")
    with pytest.raises(fg.TrainerError, match=r"every checkpoint of the run in .* is damaged"):
        resume_run(folder)


def test_other_preference_data_is_refused_on_resume(tmp_path, monkeypatch):
    data = tmp_path / "pairs.jsonl"
    data.write_text((ROOT / "examples" / "preferences" / "rock_paper_scissors.jsonl").read_text())
    folder = train(tmp_path / "run", f"preferences.path={json.dumps(str(data))}").folder
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:-3]))
    with pytest.raises(fg.TrainerError, match=r"started with (initial weights|preference data)"):
        resume_run(folder)


def test_runs_that_cannot_start_leave_no_folder(tmp_path):
    with pytest.raises(fg.ConfigError, match=r"add a table \[preferences\]"):
        fg.train({"trainer": {"name": "preference-model"}}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(fg.ConfigError, match="a preference model has none"):
        train(tmp_path / "run", "model.reference=offload")
    assert not (tmp_path / "run").exists()


def test_a_planted_sign_error_is_found(tmp_path, monkeypatch):
    """A loss with the sides exchanged learns the opposite, which the held-out accuracy shows."""
    losses = Run._losses
    monkeypatch.setattr(Run, "_losses", lambda self, scores: losses(self, -scores))
    after = fg.train(load_config(EXAMPLE), tmp_path / "run").summary["after"]
    assert after["heldout/accuracy"] < 0.1
