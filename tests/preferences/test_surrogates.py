import json

import pytest

from fdiv_gym.data import read_records
from fdiv_gym.data.config import PreferencesConfig
from fdiv_gym.data.preferences import load_preferences
from fdiv_gym.types.unicode import NormalisedTextWarning, normalised, normalised_json


def test_normalised_text():
    assert normalised("cut \ud83d") == "cut \ufffd"
    assert normalised("\ude00\ud83d") == "\ufffd\ufffd"
    assert normalised("\ud83d\ude00") == "\U0001f600"
    assert normalised("plain 🎈") == "plain 🎈"
    assert normalised_json({"\ud800": ["a", "\ud800", {"b": 1}]}) == ({"\ufffd": ["a", "\ufffd", {"b": 1}]}, 2)


def test_a_data_set_with_lone_surrogates_is_read_and_counted(tmp_path):
    path = tmp_path / "p.jsonl"
    rows = [{"prompt": f"p{i}", "chosen": "cut \ud83d", "rejected": [{"role": "x", "content": "b"}]} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(
        NormalisedTextWarning, match=r"data .*p.jsonl: 3 texts held lone surrogates, replaced by U\+FFFD"
    ):
        records = read_records(str(path))
    assert [record["chosen"] for _, record in records] == ["cut \ufffd"] * 3


def test_preferences_with_a_lone_surrogate_are_kept(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "cut \ud83d", "chosen": "a", "rejected": "b"}))
    with pytest.warns(NormalisedTextWarning, match="preferences .*: 1 text held"):
        data = load_preferences(PreferencesConfig(path=str(path)))
    assert (data.counts["kept"], data.counts["invalid"]) == (1, 0)
    data.units[0].prompt.encode()
