"""The pairs of a run, its tables and its options; nothing is trained."""

import json

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.data import PreferencesConfig, load_preferences
from fdiv_gym.models import ChatEncoder
from fdiv_gym.runs.config import parse_config
from fdiv_gym.testing.tiny import tiny_tokenizer
from fdiv_gym_preference_model.pairs import drawn, encode_pairs, padded, refuse_unpaired

PAIRS = {"path": "pairs.jsonl"}


@pytest.mark.parametrize("size", [1, 5, 8])
def test_every_epoch_draws_each_pair_once(size):
    order = drawn(size, 3, 0, 4 * size)
    for epoch in range(4):
        assert sorted(order[epoch * size : (epoch + 1) * size]) == list(range(size))
    assert drawn(size, 3, 2, 2 * size) == order[2 : 2 + 2 * size]  # any position, as after a resume
    assert size == 1 or drawn(8, 3, 0, 40) != drawn(8, 4, 0, 40)


def pairs_of(tmp_path, rows, context=None, **options):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PreferencesConfig(path=str(tmp_path / "pairs.jsonl"), heldout_fraction=0.0, **options)
    data = load_preferences(config)
    refuse_unpaired(data, config)
    return encode_pairs(data.units, ChatEncoder(tiny_tokenizer()), config, context, required=True)


def test_a_batch_has_the_chosen_responses_first(tmp_path):
    rows = [{"prompt": "ab", "chosen": "c", "rejected": "dd"}, {"prompt": "a", "chosen": "eee", "rejected": "f"}]
    pairs, counts = pairs_of(tmp_path, rows)
    assert counts["encoded"] == 2
    ids, mask, lengths = padded(pairs, 0, torch.device("cpu"))
    texts = [
        tiny_tokenizer().decode(row[: int(m.sum())], skip_special_tokens=False)
        for row, m in zip(ids, mask, strict=True)
    ]
    assert texts == ["abc<eos>", "aeee<eos>", "abdd<eos>", "af<eos>"]
    assert lengths.tolist() == [2, 1, 2, 1]
    assert mask.tolist()[3] == [1, 1, 1, 0, 0]


def test_pairs_that_cannot_be_read_are_refused(tmp_path):
    row = {"prompt": "ab", "chosen": "c", "rejected": "dd"}
    with pytest.raises(fg.ConfigError, match="a pair has 5 tokens, and the model takes 4"):
        pairs_of(tmp_path, [row], context=4)
    pairs, counts = pairs_of(tmp_path, [row], context=4, max_response_tokens=2)
    assert (pairs[0].length, counts["responses_cut"]) == (4, 1)
    with pytest.raises(fg.ConfigError, match="labelled single responses"):
        pairs_of(tmp_path, [{"prompt": "a", "response": "b", "label": True}])


def test_a_file_without_objective_engine_and_environment():
    config = parse_config({"trainer": {"name": "preference-model"}, "preferences": PAIRS})
    assert config.objective is None
    assert config.engine is None
    assert set(config.resolved()) == {"seed", "model", "trainer", "preferences"}
    assert [ref.name for ref in config.references()] == ["preference-model"]
    assert parse_config(config.resolved()).resolved() == config.resolved()


@pytest.mark.parametrize(
    ("table", "value"),
    [("objective", {"name": "fdo"}), ("objective", {}), ("engine", {"max_new_tokens": 8}),
     ("env", {"id": "math/Addition-v0"}), ("callbacks", [{"name": "x"}])],
)  # fmt: skip
def test_tables_that_the_trainer_does_not_read_are_refused(table, value):
    with pytest.raises(fg.ConfigError, match=rf"'preference-model' does not read \[{table}\].*\[preferences\]"):
        parse_config({"trainer": {"name": "preference-model"}, "preferences": PAIRS, table: value})


def test_a_trainer_that_declares_nothing_reads_every_table():
    config = parse_config({"env": {"id": "math/Addition-v0"}})
    assert (config.engine.name, config.objective.name) == ("transformers", "f-grpo")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"pinned": True}, "set dimensions = 1, not 3"), ({"tau": 0}, "greater than 0"),
     ({"pinned": True, "dimensions": 1, "normalise": True}, "remove normalise"),
     ({"dimension": 2}, "did you mean 'dimensions'")],
)  # fmt: skip
def test_wrong_options_are_refused(options, reason):
    with pytest.raises(fg.ConfigError, match=reason):
        fg.get_trainer("preference-model", **options)
