"""The device "auto": that of the trainer's process, or a GPU if there is one."""

from __future__ import annotations

import sys

import pytest
import torch
from accelerate import PartialState

from fdiv_gym.models import resolve_device


@pytest.fixture
def unstarted(monkeypatch):
    """accelerate as in a process in which no trainer has started it."""
    monkeypatch.setattr(PartialState, "_shared_state", {})


def test_a_named_device_is_taken_as_it_is():
    assert resolve_device("cuda:3") == "cuda:3"
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(("gpu", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_if_there_is_one_and_starts_no_accelerate(unstarted, monkeypatch, gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert resolve_device("auto") == expected
    assert PartialState._shared_state == {}


def test_auto_is_the_device_of_the_trainer_although_there_is_a_gpu(unstarted, monkeypatch):
    PartialState(cpu=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cpu"


def test_auto_needs_no_accelerate(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)  # importing it raises ImportError
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
