"""The conformance kit of trainers finds planted faults, each with a complete message."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from kit_assertions import assert_found

import fdiv_gym as fg
from fdiv_gym import testing


def test_the_trainer_passes_and_faults_are_found(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    sound = type(fg.get_trainer("accelerate"))
    report = testing.check_trainer(sound())
    assert report.ok, report.text()
    assert report.metrics["and after"] > report.metrics["probability of a rewarded letter before"] + 0.1
    assert sound.registered_name() == "accelerate"

    class Uphill(sound):
        """Reverses every gradient, and ignores `resume`."""

        def fit(self, config, folder, *, resume=False):
            from fdiv_gym.runs.folder import RunFolder

            if resume:
                for checkpoint in RunFolder(folder).checkpoints():
                    import shutil

                    shutil.rmtree(checkpoint)
            with pytest.MonkeyPatch.context() as patch:
                step = torch.optim.AdamW.step

                def turned(self, *arguments, **options):
                    for group in self.param_groups:
                        for parameter in group["params"]:
                            if parameter.grad is not None:
                                parameter.grad.neg_()
                    return step(self, *arguments, **options)

                patch.setattr(torch.optim.AdamW, "step", turned)
                return super().fit(config, folder, resume=resume)

    assert_found(testing.check_trainer(Uphill()), "learns", "the probability of a rewarded letter went from")


def test_a_trainer_that_leaves_out_the_metrics_of_callbacks_is_found(monkeypatch):
    monkeypatch.setattr("fdiv_gym_accelerate.callbacks.Callbacks.metrics", lambda *_: {})
    report = testing.check_trainer(fg.get_trainer("accelerate"))
    assert_found(report, "callbacks", "metrics.jsonl lacks what Callback.metrics returned at the steps [1, 2,")


def in_micro_batches(change):
    """Every output of the objective passed through ``change(output, batch)``."""
    from fdiv_gym_accelerate import update

    output_of = update.output_of

    def changed(objective, name, batch):
        return change(output_of(objective, name, batch), batch)

    return update, "output_of", changed


def in_groups(change):
    """What ``prepare`` gets, with ``change(groups, stream)`` in place of some fields."""
    from fdiv_gym_accelerate import minibatches

    whole_groups = minibatches.whole_groups

    def changed(groups, stream):
        whole, own = whole_groups(groups, stream)
        return replace(whole, **change(whole, stream)), own

    return minibatches, "whole_groups", changed


def in_parts(change):
    """Every mini-batch passed through ``change(part, whole)``."""
    from fdiv_gym_accelerate.streams import StreamBatch

    part = StreamBatch.part

    def changed(self, units):
        result = part(self, units)
        change(result, self)
        return result

    return StreamBatch, "part", changed


def drifting_reference():
    from fdiv_gym_accelerate.update import Updater

    def score(self, stream):
        stream.ref_logps = self._token_logps(self.model, stream)

    return Updater, "score_in_advance", score


def policy_of_the_reference():
    from fdiv_gym_accelerate.update import Updater

    return Updater, "policy_logps", Updater.reference_logps


def sums_over_prompts():
    """Each token of the prompt, which has no log-prob of its own, counts as one of -1."""
    from fdiv_gym_accelerate.streams import StreamBatch

    def summed(self, values):
        return None if values is None else torch.where(self.padded.mask, values.double(), -1.0).sum(-1)

    return StreamBatch, "sequence_sum", summed


def lost_micro_batch():
    from fdiv_gym_accelerate.streams import StreamBatch

    slices = StreamBatch.slices
    return StreamBatch, "slices", lambda *args, **options: iter(list(slices(*args, **options))[:-1])


def rolled_coefficients():
    from fdiv_gym_accelerate.update import Updater

    micro_batch = Updater._micro_batch

    def rolled(self, stream, index, rows):
        return micro_batch(self, stream, index, {name: values.roll(1, 0) for name, values in rows.items()})

    return Updater, "_micro_batch", rolled


def trained_with_dropout():
    from fdiv_gym_accelerate.passes import Passes

    scores = Passes.scores

    def dropped(self, model, *arguments):
        return scores(self, model.train(), *arguments)

    return Passes, "scores", dropped


def prompts_in_the_mask():
    from fdiv_gym_accelerate import streams

    pad = streams.pad

    def padded(*arguments):
        result = pad(*arguments)
        return replace(result, mask=result.attention[:, 1:].bool())

    return streams, "pad", padded


def first_rows(part, whole):
    part.ref_logps = whole.ref_logps[: len(part.units)]


def no_advantages(part, whole):
    part.advantages = None


ROW_FAULTS = {
    "drifting reference": (drifting_reference, "reference", "nats away from those of the initial weights"),
    "policy of the reference": (policy_of_the_reference, "rows", "log-prob under the policy in prepare is"),
    "sums over prompts": (sums_over_prompts, "rows", "log-prob under the reference in prepare is"),
    "lost micro-batch": (lost_micro_batch, "rows", "of 16 rows loss got"),
    "rolled coefficients": (rolled_coefficients, "rows", "nats away from the sum of its tokens in loss"),
    "dropout": (trained_with_dropout, "rows", "log-prob under the policy in prepare is"),
    "prompts in the mask": (prompts_in_the_mask, "groups", "the lengths that prepare got"),
    "lengths of prompt and response": (
        lambda: in_groups(lambda whole, stream: {"lengths": stream.padded.attention.sum(-1)}),
        "groups", "response tokens alone count",
    ),
    "unscored is 0": (
        lambda: in_groups(lambda whole, stream: {"rewards": torch.nan_to_num(whole.rewards)}),
        "groups", "prepare asks for advantages other than those of the step",
    ),
    "divided by rows": (
        lambda: in_micro_batches(lambda output, batch: replace(output, loss=output.loss / len(batch.mask))),
        "micro-batches", "arrives with factors between 0.3333 and 1",
    ),
    "advantages of mini-batches": (lambda: in_parts(no_advantages), "carried-advantages", "one got no advantages"),
    "first rows of the reference": (lambda: in_parts(first_rows), "reference", "nats away from those of the initial"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_faults_in_what_a_trainer_gives_the_objective(fault, monkeypatch):
    from fdiv_gym.testing.trainer import check_given_rows

    make, check, message = ROW_FAULTS[fault]
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.setattr(*make())
    report = testing.Report(fault)
    # Some of these faults would end the run by themselves: the engine disagrees with such a policy.
    check_given_rows(fg.get_trainer("accelerate", logprob_tolerance=100.0), report)
    assert_found(report, check, message)


def test_an_ignored_bound_of_the_gradient_is_found(monkeypatch):
    from fdiv_gym.testing.trainer_options import check_bounded_gradient

    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.setattr(torch.nn.utils, "clip_grads_with_norm_", lambda parameters, bound, norm: None)
    report = testing.Report("unbounded")
    check_bounded_gradient(fg.get_trainer("accelerate"), report)
    assert_found(report, "max_grad_norm", "the gradient is not scaled down")


@pytest.mark.parametrize("place", ["loss", "prepare"])
def test_log_probs_of_the_engine_in_place_of_recomputed_ones_are_found(place, monkeypatch):
    from fdiv_gym.testing.trainer_options import check_recomputed
    from fdiv_gym_accelerate.streams import StreamBatch

    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    if place == "loss":
        monkeypatch.setattr(StreamBatch, "old_logps", property(lambda self: self.padded.old_logps))
    else:
        old = in_groups(lambda whole, stream: {"old_logps": stream.sequence_sum(stream.padded.old_logps)})
        monkeypatch.setattr(*old)
    report = testing.Report("engine")
    check_recomputed(fg.get_trainer("accelerate"), report)
    assert_found(report, "recomputed" if place == "loss" else "rows", "nats away from")
