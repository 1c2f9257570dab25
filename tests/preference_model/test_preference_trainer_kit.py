"""The conformance kit on the trainer, and faults that it must find."""

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym import testing
from fdiv_gym_preference_model import PreferenceModelTrainer
from fdiv_gym_preference_model.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")


def failures(report):
    return [(check.name, check.message) for check in report.failures]


def test_the_trainer_passes():
    for options in ({}, {"dimensions": 1, "pinned": True}):
        report = testing.check_trainer(PreferenceModelTrainer(**options))
        assert report.ok, report.text()
    assert type(fg.get_trainer("preference-model")).registered_name() == "preference-model"


def test_a_loss_that_rises_is_found(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "backward", _turned(torch.Tensor.backward))
    assert any(name == "learns" and "the loss on the same pairs went from" in text for name, text in _found())


def test_a_resume_that_forgets_the_optimizer_is_found(monkeypatch):
    resume = Run._resume

    def forgetful(self):
        resume(self)
        self.trained.optimizer.state.clear()

    monkeypatch.setattr(Run, "_resume", forgetful)
    assert any(name == "resume" and "away from a straight one" in text for name, text in _found())


def test_a_trainer_that_reads_nothing_cannot_be_checked():
    class Idle(fg.Trainer):
        needs = frozenset()

    with pytest.raises(testing.CannotCheckError, match="does neither"):
        testing.check_trainer(Idle())


def _found():
    return failures(testing.check_trainer(PreferenceModelTrainer()))


def _turned(backward):
    return lambda tensor, *arguments, **options: backward(-tensor, *arguments, **options)
