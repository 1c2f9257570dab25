"""The kit finds each planted fault, and says what is wrong."""

import json

import pytest

import fdiv_gym as fg
from fdiv_gym.objectives.batch import MicroBatch, PreferenceBatch
from fdiv_gym.objectives.f_grpo import FGRPO
from fdiv_gym.testing import check_objective
from fdiv_gym_baselines import on_policy
from objectives import broken

# The broken objective, the check that must fail, a part of its message.
FAULTS = [
    (broken.WrongSign(), "sign", "the best of its group must lower the loss, but its derivative is +"),
    (broken.PunishesChosen(), "sign", "a response that is chosen must lower the loss"),
    (broken.DetachesWeights(), "gradient", "central differences of the reported value"),
    (broken.IgnoresMask(), "mask", "outside the mask changes the loss"),
    (broken.MultipliesMask(), "mask", "nan outside the mask changes the loss"),
    (broken.MeanOverColumns(), "padding", "padding changes the loss"),
    (broken.MeanOfMicroBatch(), "micro-batch", "splitting into micro-batches (1 unit"),
    (broken.PairsByPosition(), "permutation", "another order changes the loss"),
    (FGRPO(advantage=broken.NaiveGroup()), "all-equal", "compare minimum and maximum"),
    (FGRPO(advantage=broken.SampleDeviation()), "single-response", "nan"),
    (broken.UnscoredIsZero(), "unscorable", "a response without a score has a gradient"),
    (broken.UnscoredIsZeroInBaseline(), "unscorable", "it must not enter the baseline"),
    (broken.CountsScoredOnly(), "unscorable", "must still count in the denominators"),
    (broken.HalfPrecisionSum(), "bfloat16", "compute in fp32 or wider"),
    (broken.UnguardedRatio(), "extremes", "log-ratios of 100 nats a token: the loss is"),
    (broken.RunningBaseline(), "pure", "other coefficients for the same step"),
    (broken.ChangesRewards(), "pure", "prepare changed its groups"),
    (broken.SkipsTooMuch(), "skip", "an inactive row has a gradient"),
    (broken.NeedlessReference(), "reference", "another reference changes neither loss nor gradient"),
    (broken.HiddenReference(), "form", "raised AssertionError"),
    (broken.UndeclaredStream(), "form", "declares the streams ['rollouts', 'preferences']"),
    (broken.NotAScalar(), "form", "the loss must be a scalar, got shape (12,)"),
    (broken.NoGradient(), "form", "the loss has no gradient"),
    (broken.CountsSteps(), "schedule", "at_step must depend on the step alone"),
    (broken.ForgetsItsAverage(moving_rate=0.1, beta=1.0), "schedule", "state_dict hold what observe changed"),
    (broken.MeanMetric(), "micro-batch", "metric 'logp' does not add up"),
    (broken.IgnoresCarried(), "carried-advantages", "call checked_advantages in place of compute"),
    (broken.UsesAnotherEstimator(), "carried-advantages", "carrying the advantages of the declared estimator changes"),
    (broken.HalvesALoneSide(), "single-preferences", "a side that is alone keeps its weight"),
    (broken.SumOverRows(), "duplicates", "the same pairs given twice change the value"),
    (broken.SubtractsInHalfPrecision(beta=0.0), "bfloat16", "compute in fp32 or wider"),
]


@pytest.mark.parametrize(("objective", "check", "message"), FAULTS, ids=lambda x: type(x).__name__)
def test_the_fault_is_found(objective, check, message):
    report = check_objective(objective)
    messages = [c.message for c in report.failures if c.name == check]
    assert messages, report.text()
    assert any(message in m for m in messages), messages
    assert not report.ok


def test_the_report_names_the_objective_and_is_json():
    report = check_objective(broken.WrongSign(beta=0.3))
    assert report.text().startswith("objective 'WrongSign' (beta=0.3): ")
    record = json.loads(report.to_json())
    assert record["ok"] is False
    assert {c["name"] for c in record["checks"] if not c["passed"]} == {"sign"}


def test_the_kit_leaves_the_objective_alone():
    objective = broken.CountsSteps()
    check_objective(objective)
    assert objective.calls == 0


def test_checked_advantages_that_ignores_the_carried_ones_is_found(monkeypatch):
    monkeypatch.setattr(on_policy, "checked_advantages", lambda advantage, groups: advantage.compute(groups))
    assert {c.name for c in check_objective(fg.get_objective("grpo")).failures} == {"carried-advantages"}


@pytest.mark.parametrize("name", ["dpo", "kto", "fdo", "grpo", "f-grpo"])
def test_a_subtraction_in_half_precision_is_found(name, monkeypatch):
    """The difference that every objective with a ratio takes."""
    monkeypatch.setattr(MicroBatch, "log_ratio", lambda batch, other: batch.tokens(batch.logps - other))
    assert "bfloat16" in {c.name for c in check_objective(fg.get_objective(name)).failures}


@pytest.mark.parametrize("name", ["fdo", "kldo"])
def test_shares_that_halve_a_side_that_is_alone_are_found(name, monkeypatch):
    shares = PreferenceBatch.shares.fget

    def halved(batch):
        return shares(batch) * (1.0 if len(set(batch.chosen.tolist())) == 2 else 0.5)

    monkeypatch.setattr(PreferenceBatch, "shares", property(halved))
    assert "single-preferences" in {c.name for c in check_objective(fg.get_objective(name)).failures}


def test_a_baseline_that_runs_over_the_steps_is_accepted():
    """With equal rewards r its advantage is r minus the baseline, so the gradient depends on r."""
    report = check_objective(broken.RunningMean())
    assert report.ok, report.text()
