import json

import pytest

from fdiv_gym.data.config import PreferencesConfig
from fdiv_gym.data.preferences import encode_units, load_preferences
from fdiv_gym.errors import ConfigError
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.runs.config import parse_config
from fdiv_gym.types import Message, PreferenceUnit


class Letters:
    """A tokenizer of one token a letter: its code point; the end token is 0."""

    eos_token_id = 0
    chat_template = None

    def encode(self, text, add_special_tokens=True):
        return [ord(letter) for letter in text]


CSV = "prompt,chosen,rejected\np,good,bad\n"


def write(folder, records, name="data.jsonl"):
    path = folder / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records) + "\n")
    return str(path)


def pair(prompt="p", chosen="good", rejected="bad"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def load(path, **options):
    return load_preferences(PreferencesConfig(path=path, **{"heldout_fraction": 0.0, **options}))


def test_plain_pairs(tmp_path):
    data = load(write(tmp_path, [pair(), pair("q")]))
    assert data.units == (PreferenceUnit("p", "good", "bad"), PreferenceUnit("q", "good", "bad"))
    assert data.paired
    assert data.heldout == ()
    assert data.counts == {"read": 2, "kept": 2, "heldout": 0, "duplicates": 0, "contradictions": 0, "invalid": 0}


def test_labelled_single_responses(tmp_path):
    records = [
        {"prompt": "p", "response": "a", "label": True},
        {"prompt": "p", "response": "b", "label": 0},
        {"prompt": "p", "response": "c", "label": "True"},
    ]
    data = load(write(tmp_path, records))
    assert data.units == (
        PreferenceUnit("p", "a", None),
        PreferenceUnit("p", None, "b"),
        PreferenceUnit("p", "c", None),
    )
    assert not data.paired


def test_chats_with_implicit_and_given_prompts(tmp_path):
    user, first, second = (
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes"},
        {"role": "assistant", "content": "no"},
    )
    implicit = {"chosen": [user, first], "rejected": [user, second]}
    given = {"prompt": [user], "chosen": [first], "rejected": [second]}
    beside = {"prompt": "hello", "chosen": [user, first], "rejected": [user, second]}
    data = load(write(tmp_path, [implicit, given, beside]))
    assert data.units == (PreferenceUnit((Message("user", "hello"),), "yes", "no"),)
    assert data.counts["duplicates"] == 2


def test_numbered_responses(tmp_path):
    records = [{"prompt": "p", "a": "first", "b": "second", "safer": 1}]
    data = load(write(tmp_path, records), columns={"responses": ("a", "b"), "better": "safer"})
    assert data.units == (PreferenceUnit("p", "second", "first"),)


def test_json_list_and_csv_and_parquet(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    expected = (PreferenceUnit("p", "good", "bad"),)
    (tmp_path / "data.json").write_text(json.dumps([pair()]))
    (tmp_path / "data.csv").write_text("prompt,chosen,rejected\np,good,bad\n")
    data = datasets.Dataset.from_list([pair()])
    data.to_parquet(tmp_path / "data.parquet")
    data.save_to_disk(str(tmp_path / "folder"))
    for name in ("data.json", "data.csv", "data.parquet", "folder"):
        assert load(str(tmp_path / name)).units == expected, name


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "'chosen' is empty"),
        ({"prompt": "p", "chosen": "b", "rejected": "b"}, "both responses are equal"),
        ({"prompt": "p", "chosen": "b"}, "'rejected' is neither a string nor a list of messages"),
        ({"chosen": "a", "rejected": "b"}, "no 'prompt', and 'chosen' is not a chat that contains one"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "'prompt' is empty"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "'prompt' is neither a string nor a list of messages"),
        (
            {"prompt": "p", "chosen": [{"role": "assistant"}], "rejected": "b"},
            "'chosen' contains a message without role or content",
        ),
        (
            {"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "rejected": "b"},
            "the last message of 'chosen' is not the assistant's",
        ),
        (
            {
                "chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}],
                "rejected": [{"role": "user", "content": "y"}, {"role": "assistant", "content": "b"}],
            },
            "the chats of both responses differ before the last turn",
        ),
    ],
)
def test_invalid_rows_are_counted_by_reason_and_refused_when_too_many(tmp_path, record, reason):
    path = write(tmp_path, [pair(), record])
    assert load(path, max_invalid=0.5).counts == {
        "read": 2, "kept": 1, "heldout": 0, "duplicates": 0, "contradictions": 0, "invalid": 1, f"invalid/{reason}": 1,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"1 of 2 rows are invalid \(line 2: ") as caught:
        load(path, max_invalid=0.4)
    assert reason in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([pair(), "{broken"], "line 2 is not JSON"),
        ([pair(), "[" * 100_000], "line 2 is not JSON"),
        ([pair(), "[1]"], r"line 2: expected one object with named columns, got '\[1\]'"),
        ([{"question": "p", "chosen": "a", "answer": "b"}], "no column 'rejected'"),
        ([{"prompt": "p", "responses": "b", "label": 1}], r"no column 'response' \(did you mean 'responses'"),
        ([], "has no rows"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, lines, message):
    path = write(tmp_path, lines)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_missing_file_and_unreachable_folder(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load(str(tmp_path / "absent.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*; give a file"):
        load(str(tmp_path / "empty"))


def test_a_byte_order_mark_is_ignored(tmp_path):
    for name, text in (("a.jsonl", json.dumps(pair())), ("a.json", json.dumps([pair()])), ("a.csv", CSV)):
        (tmp_path / name).write_text("\ufeff" + text, encoding="utf-8")
        assert len(load(str(tmp_path / name)).units) == 1, name


def test_cells_of_csv_are_texts(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,chosen,rejected\n2+2,4,5.0\nname?,NA,"a, ""b""\nc"\n')
    assert load(str(tmp_path / "a.csv")).units == (
        PreferenceUnit("2+2", "4", "5.0"),
        PreferenceUnit("name?", "NA", 'a, "b"\nc'),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        (CSV.split("\n")[0], "has no rows"),
        (CSV + "a,b,c,d\n", "line 3: the row does not have the 3 cells of the first line"),
        (CSV + "a,b\n", "line 3: the row does not have the 3 cells of the first line"),
        (CSV + "p,,bad\n", r"1 of 2 rows are invalid \(line 3: 'chosen'"),
    ],
)
def test_wrong_csv_is_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(str(tmp_path / "a.csv"))


def test_contradictions_are_kept_and_counted(tmp_path):
    data = load(write(tmp_path, [pair(chosen="a", rejected="b"), pair(chosen="b", rejected="a")]))
    assert len(data.units) == 2
    assert data.counts["contradictions"] == 1


def test_heldout_prompts_are_never_trained_on(tmp_path):
    records = [pair(f"p{i}", f"good {k}") for i in range(40) for k in range(3)]
    data = load(write(tmp_path, records), heldout_fraction=0.25)
    assert (len(data.units), len(data.heldout)) == (90, 30)
    assert not {u.prompt for u in data.units} & {u.prompt for u in data.heldout}
    again = load(write(tmp_path, records[::-1], "turned.jsonl"), heldout_fraction=0.25)
    assert set(again.heldout) == set(data.heldout)
    assert again.fingerprint != data.fingerprint  # the order of training differs
    alone = load(write(tmp_path, [pair()], "one.jsonl"), heldout_fraction=0.5)
    assert (len(alone.units), len(alone.heldout)) == (1, 0)


def test_encoding_cuts_and_counts():
    units = [
        PreferenceUnit("ab", "xy", "z"),
        PreferenceUnit("abcd", "x", "y"),
        PreferenceUnit("a", "same1", "same2"),
        PreferenceUnit("a", None, "long response"),
    ]
    config = PreferencesConfig(path="unused", max_prompt_tokens=3, max_response_tokens=4)
    rows, counts = encode_units(units, ChatEncoder(Letters()), config)
    assert [(r.prompt_ids, r.response_ids, r.chosen, r.unit) for r in rows] == [
        ((97, 98), (120, 121, 0), True, 0),
        ((97, 98), (122, 0), False, 0),
        ((97,), (108, 111, 110, 103), False, 3),
    ]
    assert counts == {"encoded": 2, "prompt_too_long": 1, "same_after_cut": 1, "responses_cut": 1}


def test_encoding_that_leaves_nothing_is_refused():
    config = PreferencesConfig(path="data.jsonl", max_prompt_tokens=1)
    with pytest.raises(ConfigError, match="no unit is left"):
        encode_units([PreferenceUnit("abc", "a", "b")], ChatEncoder(Letters()), config)


def test_heldout_units_that_do_not_fit_are_left_out():
    from fdiv_gym.data.preferences import PreferenceData
    from fdiv_gym_accelerate.sources import PreferenceSource

    short, long = PreferenceUnit("a", "x", "y"), PreferenceUnit("abcd", "x", "y")
    data = PreferenceData((short,), (long,), {"read": 2}, True, "f")
    config = PreferencesConfig(path="unused", max_prompt_tokens=3)
    source = PreferenceSource(data, ChatEncoder(Letters()), config, 0, None)
    assert source.heldout == []
    assert (source.counts["encoded"], source.counts["prompt_too_long"]) == (1, 1)


def test_rows_of_another_models_tokenizer_are_refused():
    from fdiv_gym.data.preferences import PreferenceData
    from fdiv_gym_accelerate.sources import PreferenceSource

    data = PreferenceData((PreferenceUnit("a", "x", "z"),), (), {"read": 1}, True, "f")
    config = PreferencesConfig(path="unused")
    PreferenceSource(data, ChatEncoder(Letters()), config, 0, None, ord("z") + 1)
    with pytest.raises(ConfigError, match=r"unused: a row has the token 122, and the model knows 122 tokens"):
        PreferenceSource(data, ChatEncoder(Letters()), config, 0, None, ord("z"))


def test_without_a_template_the_texts_of_a_chat_follow_one_another():
    config = PreferencesConfig(path="data.jsonl")
    one = PreferenceUnit((Message("user", "a"),), "x", "y")
    two = PreferenceUnit((Message("system", "s"), Message("user", "a")), "x", "y")
    assert encode_units([one], ChatEncoder(Letters()), config)[0][0].prompt_ids == (97,)
    assert encode_units([two], ChatEncoder(Letters()), config)[0][0].prompt_ids == tuple(map(ord, "s\na"))


def test_the_table_is_validated_and_resolved():
    values = {"objective": {"name": "fdo"}, "preferences": {"path": "data.jsonl", "columns": {"chosen": "best"}}}
    resolved = parse_config(values).resolved()
    assert resolved["preferences"]["columns"]["chosen"] == "best"
    assert resolved["preferences"]["pairs_per_step"] == 32
    assert parse_config(resolved).resolved() == resolved
    with pytest.raises(ConfigError, match=r"unknown option 'pair_per_step' .*pairs_per_step"):
        parse_config({**values, "preferences": {"path": "x", "pair_per_step": 3}})
