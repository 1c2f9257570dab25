"""Risk: a cached embedded model is taken for one that was built from other demonstrations."""

import numpy as np
import pytest

import fdiv_gym as fg
from fdiv_gym.data import PreferenceData, PreferenceDemonstrations
from fdiv_gym.models import ChatEncoder
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.embedded import EnvDemonstrations, character_tokenizer, embedded_model_folder, spoken
from fdiv_gym.types.preference import PreferenceUnit

TINY = EmbeddedModelConfig(layers=1, heads=1, head_dim=32, warm_start_steps=1, warm_start_batch=2)


def folder(env):
    return embedded_model_folder(TINY, EnvDemonstrations(env))


def test_the_same_recipe_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    first = folder(fg.make("math/Addition-v0", digits=1))
    changed = (first / "model.safetensors").stat().st_mtime_ns
    assert folder(fg.make("math/Addition-v0", digits=1)) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == changed
    assert folder(fg.make("math/Addition-v0", digits=2)) != first


def test_other_demonstrations_of_the_same_options_are_another_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    first = folder(fg.make("math/Addition-v0", digits=1))
    env = fg.make("math/Addition-v0", digits=1)
    monkeypatch.setattr(type(env), "demonstrations", lambda env, count, rng: [("1+1=", "3")] * count)
    assert folder(env) != first


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_a_warm_start_may_have_few_steps(tmp_path, monkeypatch, steps):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    few = TINY.model_copy(update={"warm_start_steps": steps})
    assert (embedded_model_folder(few, EnvDemonstrations(fg.make("math/Addition-v0"))) / "recipe.json").is_file()


def test_preferences_with_chats_are_demonstrations_too():
    chat = (fg.Message("system", "Help."), fg.Message("user", "2?"), fg.Message("tool", "4"))
    units = (PreferenceUnit("1?", "1", None), PreferenceUnit(chat, "yes", "no"))
    source = PreferenceDemonstrations(PreferenceData(units, (), {}, False, "x"))
    drawn = source.draw(60, np.random.default_rng(0))
    said = {side: (*chat, fg.Message("assistant", side)) for side in ("yes", "no")}
    assert set(drawn) == {("1?", "1"), *said.values()}
    assert all(15 <= drawn.count(example) <= 25 for example in set(drawn))
    encoder = ChatEncoder(character_tokenizer())
    text = "".join(text for text, _ in spoken(said["yes"])[:-1])
    assert encoder.prompt(chat) == encoder.prompt(text)
