"""A tiny real model and runs made with it, shared by the trainer's tests."""

from __future__ import annotations

import pytest
from conftest_trainer import TINY_MODEL
from updates_harness import judged_rollouts

import fdiv_gym as fg
from fdiv_gym.models.config import EmbeddedModelConfig


def tiny_start(**options):
    """Model, tokenizer and environment with these options."""
    from fdiv_gym.models.embedded import EnvDemonstrations, embedded_model_folder
    from fdiv_gym.models.loading import load_model, load_tokenizer

    env = fg.make("math/Addition-v0", digits=1, **options)
    folder = embedded_model_folder(EmbeddedModelConfig(**TINY_MODEL), EnvDemonstrations(env))
    return load_model(folder), load_tokenizer(folder), env


@pytest.fixture(scope="session")
def tiny(cache_folder):
    """Model, tokenizer and environment."""
    return tiny_start()


@pytest.fixture(scope="session")
def tiny_without_errors(cache_folder):
    """The same from demonstrations that are all right: a start that new demonstrations do not change."""
    return tiny_start(forget_carry=0.0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")


@pytest.fixture(scope="session")
def groups(tiny):
    """Sixteen groups of eight responses of the tiny model, with scores that are drawn."""
    return judged_rollouts(*tiny, prompts=16, group_size=8)
