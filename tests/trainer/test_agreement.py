"""Engine and policy disagree: planted engines through a real training, each stopped with its cause named."""

from dataclasses import replace

import pytest
import torch
from conftest_trainer import tiny_config, train
from planted_engines import (
    BaseTwo,
    Changed,
    Hot,
    Late,
    Offset,
    OneBehind,
    OtherText,
    Permuted,
    Raw,
    Stale,
    SwappedPrompts,
    SwappedTexts,
    TopK,
    TopP,
    Transformers,
)
from updates_harness import make_updates

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.diagnosis import likely_cause
from fdiv_gym_accelerate.streams import rollout_stream
from fdiv_gym_math.addition import Addition


@pytest.fixture(autouse=True)
def some_answers_are_right(monkeypatch):
    """The tiny model is never right: without this every reward is equal and no weight moves."""
    monkeypatch.setattr(Addition, "score", lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2)))


def planted(engine, **changes):
    """A configuration of two steps whose weights move visibly at the first."""
    return tiny_config(
        engine={"name": engine, "max_new_tokens": 4, **changes.pop("options", {})}, trainer__steps=2,
        trainer__learning_rate=1e-2, trainer__warmup_steps=0, trainer__evaluate_every=0, trainer__checkpoint_every=0,
        **changes,
    )  # fmt: skip


def events_of(folder):
    """Step and record of every event of a run."""
    lines = RunFolder(folder).lines("metrics.jsonl")
    return [(line["step"], event) for line in lines for event in line.get("events", [])]


CASES = {
    "stale from the start": (Stale, {}, 2, "stale", "they are those of the initial weights"),
    "stale by one step": (OneBehind, {}, 2, "stale", "they are those of the initial weights"),
    "stale, no reference": (OneBehind, {"objective": {"name": "rloo"}}, 2, "stale", "they agreed until step 1"),
    "temperature": (Hot, {}, 1, "temperature", "at temperature 1.5, and engine.temperature is 1"),
    "raw": (Raw, {"options": {"temperature": 0.7}}, 1, "temperature", "processed_logprobs"),
    "constant": (Offset, {}, 1, "constant", "off by a constant of -0.5"),
    "base": (BaseTwo, {}, 1, "base", "they are 1.44 times the policy's, logarithms to base 2"),
    "late": (Late, {}, 1, "shifted", "each token has the log-prob of the token before"),
    "permuted": (Permuted, {}, 1, "order", "carry those of another response"),
    "prompts": (SwappedPrompts, {}, 1, "prompts", "fit another prompt of the batch"),
    "top_p": (TopP, {}, 1, "truncation", "renormalised over the most likely tokens, top_p of at most 0.9"),
    "top_k": (TopK, {}, 1, "truncation", "renormalised over the most likely tokens, top_k = 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_planted_engine_stops_at_its_first_step_with_its_cause(tmp_path, case):
    engine, changes, step, cause, words = CASES[case]
    with pytest.raises(fg.TrainerError, match=rf"^step {step}: engine_gap: the engine's log-probs") as caught:
        train(planted(engine, **changes), tmp_path / "run")
    assert words in str(caught.value)
    (event,) = events_of(tmp_path / "run")
    assert (event[0], event[1]["cause"], event[1]["policy"]) == (step, cause, "stop")
    line = RunFolder(tmp_path / "run").lines("metrics.jsonl")[-1]
    assert line["engine/logprob_gap"] == event[1]["largest"] > line["engine/logprob_gap_mean"] == event[1]["mean"]
    assert line["updates/count"] == 0  # seen before the optimizer step


@pytest.mark.parametrize(
    ("engine", "words"),
    [(OtherText, "the texts are not the decoded tokens"), (SwappedTexts, "those of other responses of the batch")],
)
def test_a_text_that_is_not_that_of_the_tokens_stops(tmp_path, engine, words):
    with pytest.raises(fg.TrainerError, match=r"^step 1: engine_text: ") as caught:
        train(planted(engine), tmp_path / "run")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer__minibatches": 2},
        {"trainer__old_logps": "recomputed"},
        {"trainer__precision": "bf16"},
        {"trainer__micro_batch_size": 3},
    ],
    ids=str,
)
def test_every_way_to_measure_sees_it(tmp_path, changes):
    with pytest.raises(fg.TrainerError, match=r"^step 1: engine_gap: .*off by a constant of -0\.(5|49|50)"):
        train(planted(Offset, **changes), tmp_path / "run")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_a_healthy_engine_passes(tmp_path, precision, temperature):
    config = planted(Transformers, trainer__precision=precision, options={"temperature": temperature})
    assert train(config, tmp_path / "run").steps == 2
    assert not [event for _, event in events_of(tmp_path / "run") if event["name"].startswith("engine")]


def test_warn_goes_on_and_names_the_cause_at_every_step(tmp_path):
    config = planted(Offset, trainer__events={"engine_gap": "warn"})
    assert train(config, tmp_path / "run").status == "finished"
    events = [(step, e["cause"]) for step, e in events_of(tmp_path / "run") if e["name"] == "engine_gap"]
    assert events == [(1, "constant"), (2, "constant")]


class Coarse(Offset):
    logprob_tolerance = 0.6


def test_a_declared_tolerance_and_the_option_take_the_place_of_the_bound(tmp_path):
    assert train(planted(Coarse), tmp_path / "declared").status == "finished"
    assert train(planted(Offset, trainer__logprob_tolerance=0.6), tmp_path / "option").status == "finished"
    with pytest.raises(fg.TrainerError, match=r"bounds 0.1 and 3, from trainer.logprob_tolerance"):
        train(planted(Coarse, trainer__logprob_tolerance=0.1), tmp_path / "both")


@pytest.mark.parametrize("option", [{"top_p": 0.9}, {"top_k": 3}])
def test_truncated_sampling_is_refused_unless_it_is_corrected(tmp_path, option):
    with pytest.raises(fg.ConfigError, match=rf"engine.{next(iter(option))} = .*from a truncated distribution"):
        train(planted(Transformers, options=option), tmp_path / "run")
    changes = {"trainer__correction": "token", "trainer__old_logps": "recomputed"}
    assert train(planted(Transformers, options=option, **changes), tmp_path / "corrected").status == "finished"
    line = RunFolder(tmp_path / "corrected").lines("metrics.jsonl")[0]
    assert 0.05 < line["correction/mean"] < 0.999  # the mass of the tokens that are kept
    assert line["correction/cut"] == line["correction/masked"] == 0


def test_no_correction_makes_up_for_log_probs_of_other_responses(tmp_path):
    changes = {"trainer__correction": "token", "trainer__old_logps": "recomputed"}
    with pytest.raises(fg.TrainerError, match=r"^step 1: engine_gap: .*another response"):
        train(planted(Permuted, **changes), tmp_path / "run")
    assert train(planted(Stale, **changes), tmp_path / "stale").status == "finished"
    assert torch.isfinite(torch.tensor(RunFolder(tmp_path / "stale").lines("metrics.jsonl")[1]["correction/mean"]))


def test_a_policy_whose_forward_pass_is_random_is_told(tmp_path, monkeypatch):
    from fdiv_gym_accelerate import passes, sharding

    token_scores = passes.token_scores

    def noisy(*arguments):
        scores = token_scores(*arguments)
        return scores._replace(logps=scores.logps - torch.rand(scores.logps.shape))

    for module in (passes, sharding):
        monkeypatch.setattr(module, "token_scores", noisy)
    with pytest.raises(fg.TrainerError, match=r"engine_gap: .*differ between two forward passes"):
        train(planted(Transformers), tmp_path / "run")


class HalfOffset(Offset):
    """Every second completion only."""

    count = 0

    def change(self, completion):
        self.count += 1
        return super().change(completion) if self.count % 2 else completion


def test_a_fault_in_part_of_the_batch_is_named(tmp_path):
    with pytest.raises(fg.TrainerError, match=r"^step 1: engine_gap: .*off by a constant of -0\.5"):
        train(planted(HalfOffset), tmp_path / "run")


def test_a_step_without_any_gradient_is_compared_too(tmp_path, monkeypatch):
    """Responses that all belong to other prompts score 0, so that no row has a gradient."""
    monkeypatch.setattr(Addition, "score", lambda *given: fg.Verdict.scored(0.0))
    with pytest.raises(fg.TrainerError, match=r"^step 1: engine_gap: .*fit another prompt of the batch"):
        train(planted(SwappedPrompts, objective={"name": "rloo"}), tmp_path / "run")


class Zero(Changed):
    """No log-probs at all."""

    def change(self, completion):
        return replace(completion, logprobs=(0.0,) * len(completion.logprobs))


def test_log_probs_of_zero_are_named(tmp_path):
    with pytest.raises(fg.TrainerError, match=r"Likely cause: they are all 0\. Let the engine return the log-prob"):
        train(planted(Zero), tmp_path / "run")


@pytest.fixture
def compared(tiny, groups):
    """The agreement of a run, the rows of a step, and what was reported."""
    model, tokenizer, _ = tiny
    updates = make_updates(fg.get_objective("rloo"), model, None, logprob_tolerance=1e-3)
    stream = rollout_stream(groups, tokenizer.pad_token_id)
    return updates, stream


def offset(stream, rows, places, by):
    """The rows with the engine's log-probs off by a number at some places of some rows."""
    stream = replace(stream, padded=replace(stream.padded, old_logps=stream.padded.old_logps.clone()))
    for row in rows:
        stream.padded.old_logps[row, stream.padded.mask[row].nonzero()[places, 0]] -= by
    return stream


def test_a_process_without_a_gap_explains_nothing(compared):
    updates, stream = compared
    bound = updates.agreement.bound
    assert likely_cause(updates.updater, stream, bound) is None
    equal = replace(stream, padded=replace(stream.padded, old_logps=updates.updater.token_logps(stream)))
    assert likely_cause(updates.updater, equal, bound) is None
    everything = range(len(stream.lengths))
    assert likely_cause(updates.updater, offset(stream, everything, slice(None), 0.5), bound).name == "constant"


def test_a_fault_that_comes_to_a_corrected_one_is_looked_for(compared, groups):
    updates, stream = compared
    agreement = updates.agreement
    every, kept = range(len(stream.lengths)), []
    agreement.events.policies["engine_gap"] = "warn"
    for by in (0.01, 0.02, 0.1):
        off = offset(stream, every, slice(None), by)
        agreement.check(1, updates.updater.engine_gap(off), off, groups)
        kept.append(agreement.state_dict()["cause"]["finding"])
    assert kept == ["they are off by a constant of -0.01"] * 2 + ["they are off by a constant of -0.1"]
    copy = make_updates(fg.get_objective("rloo"), updates.updater.model, None).agreement
    copy.load_state_dict(agreement.state_dict())
    assert copy.state_dict() == agreement.state_dict()
    agreement.check(2, updates.updater.engine_gap(stream), stream, groups)
    assert agreement.state_dict() == {"agreed_until": 2, "cause": None, "cause_at": pytest.approx(0.1, rel=0.01)}
