"""Objectives with one fault each, for the tests of the conformance kit."""

import dataclasses

import torch

from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.batch import Coefficients, ObjectiveOutput, StepAdvantages
from fdiv_gym.objectives.f_grpo import FGRPO
from fdiv_gym.objectives.fdo import FDO
from fdiv_gym.objectives.kldo import KLDO
from fdiv_gym_baselines.dapo import DAPO
from fdiv_gym_baselines.grpo import GRPO
from fdiv_gym_baselines.kto import KTO
from fdiv_gym_baselines.pairs import Pairs
from fdiv_gym_baselines.reinforce import Reinforce


def changed_rows(prepared, change):
    """The prepared coefficients with ``change(name, values)`` applied to every row tensor."""
    return {
        stream: dataclasses.replace(c, rows={name: change(name, values) for name, values in c.rows.items()})
        for stream, c in prepared.items()
    }


class WrongSign(FGRPO):
    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return ObjectiveOutput(-output.loss, output.metrics)


class PunishesChosen(FDO):
    def prepare(self, groups, preferences):
        return super().prepare(groups, dataclasses.replace(preferences, chosen=~preferences.chosen))


class DetachesWeights(KLDO):
    """The mean of exponentials, exponentiated per row: right value, wrong gradient."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return ObjectiveOutput(output.loss * 0.5, output.metrics, output.value)


class IgnoresMask(Reinforce):
    def loss(self, stream, batch):
        return super().loss(stream, dataclasses.replace(batch, mask=torch.ones_like(batch.mask)))


class MultipliesMask(Reinforce):
    """0 times NaN is NaN."""

    def loss(self, stream, batch):
        logps = (batch.logps * batch.mask).sum(-1)
        return ObjectiveOutput(-(batch.row("weight") * batch.row("advantage") * logps).sum())


class MeanOverColumns(GRPO):
    """Divides by the padded width."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return ObjectiveOutput(output.loss * 6 / batch.mask.shape[1], output.metrics)


class MeanOfMicroBatch(DAPO):
    """Normalises by what it happens to see."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return ObjectiveOutput(output.loss / len(batch.mask), output.metrics)


class PairsByPosition(Pairs):
    """Takes rows 0, 1 of a micro-batch for a pair, regardless of prepare."""

    def score(self, batch):
        position = torch.arange(len(batch.mask), dtype=torch.float64)
        return batch.sequence_sum(batch.logps) * (1 + position / len(position))

    def pair_loss(self, margin):
        return -margin


class NaiveGroup(Advantage):
    """Subtracts the mean and divides by the standard deviation without a check for equality."""

    def compute(self, groups):
        centred = groups.rewards - groups.mean(groups.rewards)
        spread = groups.mean(centred**2).sqrt()
        return torch.where(groups.scored, centred / (spread + 1e-300), 0.0)


class SampleDeviation(Advantage):
    """Divides by n - 1: a group of one is 0/0."""

    def compute(self, groups):
        centred = groups.rewards - groups.mean(groups.rewards)
        spread = (groups.sum(centred**2) / (groups.sum(torch.ones_like(centred)) - 1)).sqrt()
        return torch.where(groups.scored & ~((spread + 1e-6) < 2e-6), centred / (spread + 1e-6), 0.0)


class UnscoredIsZero(FGRPO):
    def prepare(self, groups, preferences):
        return super().prepare(dataclasses.replace(groups, rewards=torch.nan_to_num(groups.rewards)), None)


class UnscoredIsZeroInBaseline(FGRPO):
    """Left out of the loss, but its 0 still moves the others' mean."""

    def prepare(self, groups, preferences):
        scored = groups.scored
        prepared = super().prepare(dataclasses.replace(groups, rewards=torch.nan_to_num(groups.rewards)), None)
        return changed_rows(prepared, lambda name, values: torch.where(scored, values, 0.0))


class CountsScoredOnly(FGRPO):
    """Divides by the number of scored responses."""

    def prepare(self, groups, preferences):
        factor = groups.sizes / groups.sum(torch.ones_like(groups.rewards)).clamp(min=1)
        return changed_rows(super().prepare(groups, None), lambda name, values: values * factor)


class HalfPrecisionSum(Reinforce):
    """Sums the log-probs of a response in the precision they come in."""

    def loss(self, stream, batch):
        logps = torch.where(batch.mask, batch.logps, 0.0).sum(-1)
        return ObjectiveOutput(-(batch.row("weight") * batch.row("advantage") * logps).sum())


class UnguardedRatio(GRPO):
    def token_loss(self, log_ratio, advantages, batch):
        return -torch.exp(log_ratio) * advantages, {}


class RunningBaseline(FGRPO):
    """Stores the number of steps."""

    seen = 0

    def prepare(self, groups, preferences):
        self.seen += 1
        return changed_rows(super().prepare(groups, preferences), lambda name, values: values / self.seen)


class ChangesRewards(FGRPO):
    def prepare(self, groups, preferences):
        groups.rewards.sub_(1.0)
        return super().prepare(groups, preferences)


class SkipsTooMuch(GRPO):
    """Declares rows without advantage skippable, but they carry the k3 term."""

    def prepare(self, groups, preferences):
        self.skips_inactive = True
        prepared = super().prepare(groups, preferences)["rollouts"]
        return {"rollouts": Coefficients(prepared.rows, prepared.rows["advantage"] != 0, prepared.metrics)}


class NeedlessReference(Reinforce):
    def __init__(self, **options):
        super().__init__(**options)
        self.needs_reference = True


class HiddenReference(FDO):
    needs_reference = False


class UndeclaredStream(FGRPO):
    streams = ("rollouts", "preferences")


class NotAScalar(Reinforce):
    def loss(self, stream, batch):
        return ObjectiveOutput(batch.sequence_sum(batch.logps))


class NoGradient(Reinforce):
    def loss(self, stream, batch):
        return ObjectiveOutput(super().loss(stream, batch).loss.detach())


class CountsSteps(FGRPO):
    """Its schedule depends on how often it was called: a resumed run differs."""

    calls = 0

    def at_step(self, step, steps):
        self.calls += 1

    def prepare(self, groups, preferences):
        return changed_rows(super().prepare(groups, preferences), lambda name, values: values * (1 + self.calls))


class ForgetsItsAverage(KLDO):
    """Its average runs over steps, but no checkpoint holds it."""

    def state_dict(self):
        return {}


class MeanMetric(Reinforce):
    """A metric that is a mean of the micro-batch and so does not add up."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        return ObjectiveOutput(output.loss, {"logp": batch.logps.detach().mean()})


class IgnoresCarried(GRPO):
    """Computes its advantages on the mini-batch, whatever the groups carry."""

    def prepare(self, groups, preferences):
        return super().prepare(dataclasses.replace(groups, advantages=None), preferences)


class UsesAnotherEstimator(GRPO):
    """Declares an estimator that it does not use."""

    def prepare(self, groups, preferences):
        own = FGRPO(advantage="leave-one-out").advantage
        if groups.advantages is None:
            carried = StepAdvantages(own.compute(groups), self.advantage, groups.rewards, groups.components)
            groups = dataclasses.replace(groups, advantages=carried)
        return super().prepare(groups, preferences)


class RunningMean(Reinforce):
    """A correct one: the baseline is the mean reward of earlier steps."""

    running = True
    mean = 0.5

    def __init__(self, **options):
        super().__init__(**options)
        self.advantage = None

    def prepare(self, groups, preferences):
        scored = groups.scored
        values = torch.where(scored, groups.rewards - self.mean, 0.0)
        rows = {"advantage": values, "weight": groups.shares, "mean": torch.where(scored, groups.rewards, self.mean)}
        share = {"token_share": scored / (groups.lengths * scored).sum().clamp(min=1), "every": scored.double()}
        return {"rollouts": Coefficients(rows | share, scored)}

    def observe(self, prepared):
        self.mean = 0.9 * self.mean + 0.1 * float(prepared["rollouts"].rows["mean"].mean())

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


class HalvesALoneSide(FDO):
    """Gives a side half of the weight if the other is absent."""

    def prepare(self, groups, preferences):
        prepared = super().prepare(groups, preferences)
        factor = 1.0 if len(set(preferences.chosen.tolist())) == 2 else 0.5
        return changed_rows(prepared, lambda name, values: values * factor)


class SumOverRows(KTO):
    """Adds up the rows in place of their mean."""

    def loss(self, stream, batch):
        output = super().loss(stream, batch)
        factor = self.rows
        return dataclasses.replace(output, loss=output.loss * factor, true_value=output.value * factor)

    def prepare(self, groups, preferences):
        self.rows = len(preferences.chosen)
        return super().prepare(groups, preferences)


class SubtractsInHalfPrecision(GRPO):
    """Subtracts log-probs in the precision they come in."""

    def loss(self, stream, batch):
        log_ratio = batch.tokens(batch.logps - batch.old_logps)
        return super().loss(stream, dataclasses.replace(batch, logps=log_ratio, old_logps=torch.zeros_like(log_ratio)))
