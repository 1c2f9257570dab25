"""Several updates of one rollout batch: what ends them, what is refused, and an exact resume."""

import copy
import shutil

import pytest
import torch
from conftest_trainer import tiny_config, train, without_times
from updates_harness import Recorder, make_updates, numbers_of, scored, trained, weights_of

import fdiv_gym as fg
from fdiv_gym.models.loading import load_model
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.start import check_counts, check_updates
from fdiv_gym_accelerate.streams import rollout_stream


def test_max_kl_ends_the_updates_before_the_one_that_exceeds_it(tiny, groups):
    tokenizer = tiny[1]
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    settings = {"updates_per_rollout": 4, "minibatches": 4}

    def run(**more):
        model = copy.deepcopy(tiny[0])
        recorder = Recorder(model)
        updates = make_updates(fg.get_objective("rloo"), model, None, 3e-4, recorder, **settings, **more)
        line = updates.run(1, rows)
        return line, [weights_of(m) for m in recorder.models], weights_of(model)

    free, path, _ = run()
    assert free["updates/count"] == 16
    assert "updates/stopped_early" not in free
    limited, stopped_path, final = run(max_kl=5e-3)
    count = int(limited["updates/count"])
    assert 1 < count < 15
    assert limited["updates/stopped_early"] == 1.0
    assert limited["ratio/kl_old"] > 5e-3
    assert len(stopped_path) == count + 1  # the last gradient was computed and dropped
    assert torch.equal(final, path[count])
    far, _, _ = run(max_kl=1e3)
    assert (far["updates/count"], far["updates/stopped_early"]) == (16, 0.0)


def test_an_engine_that_already_exceeds_max_kl_is_told(tiny, groups):
    """No update is made, and a line says why; with recomputed log-probs the updates are made."""
    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    before, messages = weights_of(model), []
    objective, settings = fg.get_objective("grpo", beta=0.0), {"minibatches": 2, "max_kl": 1e-3}
    updates = make_updates(objective, model, None, 1e-5, messages=messages, **settings)
    rows = StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)
    line = updates.run(3, rows)
    assert (line["updates/count"], line["updates/stopped_early"]) == (0, 1.0)
    assert torch.equal(weights_of(model), before)
    assert "step 3: no update, because the engine's log-probs are already" in messages[0]
    recomputed = make_updates(objective, model, None, 1e-5, old_logps="recomputed", messages=messages, **settings)
    line = recomputed.run(3, rows)
    assert (line["updates/count"], line["updates/stopped_early"], len(messages)) == (2, 0.0, 1)
    assert line["engine/logprob_gap"] > 0.01
    assert line["ratio/kl_old"] < 1e-5


def test_recomputed_log_probs_reach_rows_and_groups(tiny, groups):
    model, tokenizer = copy.deepcopy(tiny[0]), tiny[1]
    with torch.no_grad():
        next(model.parameters()).mul_(1.05)
    seen = []

    class Seen(type(fg.get_objective("f-grpo"))):
        def prepare(self, groups, preferences):
            seen.append(groups.old_logps)
            return super().prepare(groups, preferences)

        def loss(self, stream, batch):
            output = super().loss(stream, batch)
            seen.append((batch.log_ratio(batch.old_logps).detach().abs().max(), output))
            return output

    objective = Seen(gamma=1.0, weighting="length_normalised")
    updates = make_updates(objective, model, copy.deepcopy(tiny[0]), old_logps="recomputed")
    stream = rollout_stream(groups, tokenizer.pad_token_id)
    expected = [now.sum() for group in groups for now, _ in numbers_of(model, group)]
    line = updates.run(1, StepRows({"rollouts": stream}, groups))
    assert seen[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert float(seen[1][0]) < 1e-5
    engine = torch.tensor([t.logprob for g in groups for t in g.trajectories])
    assert float((seen[0] - engine).abs().max()) > 0.01
    assert line["engine/logprob_gap"] > 0.01


def test_a_mini_batch_without_signal_takes_no_optimizer_step(tiny, groups):
    """Its momentum would move the policy without any reward."""
    half = [scored(g, [0.5] * 8) if i else g for i, g in enumerate(groups[:2])]
    objective = fg.get_objective("f-grpo")
    moved, line = trained(objective, tiny[0], half, tiny[1], minibatches=2)
    assert line["updates/count"] == 1
    assert float(moved.norm()) > 0
    none, line = trained(objective, tiny[0], [scored(g, [0.5] * 8) for g in half], tiny[1], updates_per_rollout=2)
    assert (line["updates/count"], float(none.norm())) == (0, 0.0)


@pytest.fixture
def some_answers_are_right(monkeypatch):
    """The tiny model is never right: without this every reward is equal and no weight moves."""
    from fdiv_gym_math.addition import Addition

    monkeypatch.setattr(Addition, "score", lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2)))


def test_a_resume_under_four_by_four_equals_a_straight_run(tmp_path, some_answers_are_right):
    config = tiny_config(
        trainer__updates_per_rollout=4, trainer__minibatches=4, objective={"name": "dapo"}, trainer__max_kl=0.5,
        trainer__old_logps="recomputed", trainer__adam_beta2=0.95, trainer__warmup_steps=1,
    )  # fmt: skip
    straight, cut = train(config, tmp_path / "straight").folder, tmp_path / "cut"
    train(config, cut)
    shutil.rmtree(cut / "checkpoints" / "step-000004")
    (cut / "summary.json").unlink()
    assert train(config, cut, resume=True).steps == 4
    for name in ("metrics.jsonl", "evaluations.jsonl", "samples.jsonl"):
        assert without_times(RunFolder(cut).lines(name)) == without_times(RunFolder(straight).lines(name))
    first, last = (load_model(straight / "checkpoints" / f"step-00000{i}" / "model").state_dict() for i in (2, 4))
    resumed = load_model(cut / "checkpoints" / "step-000004" / "model").state_dict()
    assert all(torch.equal(resumed[name], last[name]) for name in last)
    assert any(not torch.equal(first[name], last[name]) for name in last)
    lines = RunFolder(straight).lines("metrics.jsonl")
    assert max(line["updates/count"] for line in lines) > 4
    assert lines[-1]["learning_rate"] == 3e-4  # the schedule moves once a step, not once an update


def test_the_optimizer_has_the_options_of_adamw(tmp_path, monkeypatch):
    made = []

    class Recorded(torch.optim.AdamW):
        def __init__(self, *arguments, **options):
            made.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)
    options = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6, "weight_decay": 0.1}
    train(tiny_config(trainer__steps=1, **{f"trainer__{k}": v for k, v in options.items()}), tmp_path / "run")
    expected = {"lr": 3e-4, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}
    assert made[-1] == expected


def test_what_does_not_fit_is_refused_at_the_start():
    with pytest.raises(
        fg.ConfigError, match=r"prompts_per_step = 4 gives 2 to each of 2 processes, fewer than trainer.mini"
    ):
        check_counts(tiny_config(), TrainerOptions(prompts_per_step=4, minibatches=3), 2, ("rollouts",))
    check_counts(tiny_config(), TrainerOptions(prompts_per_step=4, minibatches=3), 2, ("preferences",))
    with pytest.raises(fg.ConfigError, match="max_kl ends the updates of a step early: it needs"):
        tiny_config(trainer__max_kl=0.1)
    weighted = fg.get_objective("f-grpo", importance="token")
    with pytest.raises(fg.ConfigError, match=r'set trainer.old_logps = "recomputed"'):
        check_updates(weighted, TrainerOptions())
    check_updates(weighted, TrainerOptions(old_logps="recomputed"))
    with pytest.raises(fg.ConfigError, match=r"trainer.old_logps concerns rollouts"):
        check_updates(fg.get_objective("fdo"), TrainerOptions(old_logps="recomputed"))
    with pytest.raises(fg.ConfigError, match=r"trainer.max_kl concerns rollouts"):
        check_updates(fg.get_objective("fdo"), TrainerOptions(max_kl=0.1, minibatches=2))
