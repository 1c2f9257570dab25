"""Every number of a bundle is altered, one at a time, by someone who corrects all that follows from it.

The alteration is found and named, except for the numbers of ``ONLY_BY_DIGEST``, which nothing else in a bundle implies.
"""

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
from bundle_harness import read_values, reseal, write_values

from fdiv_gym.bench import verify_bundle
from fdiv_gym.errors import FdivGymError
from fdiv_gym.types.task import Task

pytestmark = pytest.mark.slow

SOURCES = (
    "bench.json", "records/table.jsonl.gz", "after.jsonl.gz", "tuning.json",
    "untrained/untrained--addition--embedded.json",
    "samples/cells/grpo--addition--embedded--seed1.jsonl.gz",
    "samples/tuning/grpo--addition--embedded--seed7--trial1.jsonl.gz",
    "samples/controls/untrained--addition--embedded/temperature-1.jsonl.gz",
)  # fmt: skip
"""Files from which others follow; those of other cells are made and checked in the same way."""

ONLY_BY_DIGEST = {
    "bench.json": {"hardware.cores"},
    "records": {
        "record.attempts", "record.seconds", "record.budget.tokens", "record.budget.seconds",
        "record.curve.score/sampled[]", "record.curve.score/greedy[]", "record.curve.unscored[]",
        "record.curve.response_tokens[]", "record.curve.divergence/kl[]",
        "record.events.clipped.count", "record.events.clipped.first_step", "record.events.clipped.last_step",
    },
    "after.jsonl.gz": {"after.log_ratio[]", "after.entropy[]"},
    "samples": {"responses[].logprob", "responses[].environment_tokens"},
    "samples/controls/untrained--addition--embedded": {
        "responses[].tokens", "responses[].logprob", "responses[].environment_tokens",
    },
}  # fmt: skip
"""By the start of the file's name: the numbers that only the SHA-256 of the manifest covers. docs/guides/bundles.md has
the same list."""


def leaves(value, path=()):
    """(path, number) of every number in nested JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, (*path, place))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def pattern(path, lines):
    """The kind of a number: its keys, with ``[]`` for a place in a list; a curve's last point is another kind."""
    text = "".join("[]" if isinstance(key, int) else f".{key}" for key in (path[1:] if lines else path)).lstrip(".")
    last = "curve" in path and path[-1] == 2
    return text[:-2] + "[-1]" if last else text


def kinds_of(values):
    """One path for each kind of number."""
    found = {}
    for path, _ in leaves(values):
        found.setdefault(pattern(path, isinstance(values, list)), path)
    return found


def altered(values, path):
    """The values with another number there."""
    values = copy.deepcopy(values)
    place = values
    for key in path[:-1]:
        place = place[key]
    number = place[path[-1]]
    place[path[-1]] = number + 1 if float(number).is_integer() else number * 0.75 + 0.013
    return values


def only_by_digest(name):
    starts = [start for start in ONLY_BY_DIGEST if name.startswith(start)]
    return ONLY_BY_DIGEST[max(starts, key=len)] if starts else set()


def attack(bundle, name, path):
    """Alter a number, correct what follows from it and the manifest; returns what is found."""
    values = read_values(bundle, name)
    write_values(bundle, name, altered(values, path))
    try:
        reseal(bundle, derived=True)
    except (FdivGymError, KeyError, TypeError):  # nothing follows from what contradicts itself
        reseal(bundle)
    return verify_bundle(bundle)


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_number_is_recomputed_or_listed(name, bundle, tmp_path):
    kinds = kinds_of(read_values(bundle, name))
    assert kinds
    unfound = set()
    for number, (kind, path) in enumerate(kinds.items()):
        copied = shutil.copytree(bundle, tmp_path / str(number))
        done = attack(copied, name, path)
        if done.clean:
            unfound.add(kind)
        shutil.rmtree(copied)
    assert unfound == only_by_digest(name) & kinds.keys()


def test_the_planted_bundle_is_clean(bundle):
    done = verify_bundle(bundle)
    assert done.faults == ()
    assert done.counts["rewards"] == 108
    assert done.counts["cells"] == 11
    assert re.fullmatch("[0-9a-f]{64}", done.digest)


def test_a_changed_file_is_named_by_its_hash(bundle):
    changed = []
    for path in sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "manifest.json"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        changed.append(path.relative_to(bundle).as_posix())
    done = verify_bundle(bundle)
    found = {fault.file for fault in done.faults if fault.key == "in manifest.json.sha256"}
    assert found == set(changed)


def key_of(path):
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def test_every_number_of_the_tables_is_recomputed(bundle):
    name = "report/tables.json"
    values = read_values(bundle, name)
    paths = [path for path, _ in leaves(values)]
    assert len(paths) > 500
    for path in paths:
        values = altered(values, path)
    write_values(bundle, name, values)
    reseal(bundle)
    found = {fault.key for fault in verify_bundle(bundle).faults if fault.file == name}
    assert {key_of(path) for path in paths} <= found


def test_every_number_of_the_configurations_follows_from_the_matrix(bundle):
    name = "configs.jsonl.gz"
    values = read_values(bundle, name)
    paths = [path for path, _ in leaves(values)]
    assert len(paths) > 400
    for path in paths:
        values = altered(values, path)
    write_values(bundle, name, values)
    reseal(bundle)
    found = {fault.key for fault in verify_bundle(bundle).faults if fault.file == name}
    assert {f"{values[path[0]]['cell']}: {key_of(path[1:])}" for path in paths} <= found


@pytest.mark.parametrize("kind", ["table", "tuning", "control"])
def test_a_score_is_found_where_its_curve_is_altered_too(bundle, kind):
    name = f"records/{kind}.jsonl.gz"
    values = read_values(bundle, name)
    record = values[0]["record"]
    record["final"]["score/greedy"] = record["curve"]["score/greedy"][-1] = 0.875
    write_values(bundle, name, values)
    reseal(bundle, derived=True)
    faults = [fault for fault in verify_bundle(bundle).faults if fault.file == name]
    assert [(fault.key, fault.found) for fault in faults] == [
        (f"{values[0]['cell']}: final.score/greedy", 0.875),
    ]


def test_a_task_of_its_own_is_found(bundle):
    name = "tasks/addition.jsonl.gz"
    values = read_values(bundle, name)
    old = dict(values[0])
    values[0]["answer"] += "1"
    assert not attacked(bundle, name, values)
    values[0]["task_hash"] = Task(values[0]["prompt"], values[0]["answer"], values[0]["data"]).hash
    for path in (bundle / "samples").rglob("*.gz"):
        inner = path.relative_to(bundle).as_posix()
        lines = read_values(bundle, inner)
        for line in lines:
            line["task"] = values[0]["task_hash"] if line["task"] == old["task_hash"] else line["task"]
        write_values(bundle, inner, lines)
    assert not attacked(bundle, name, values)


def attacked(bundle, name, values):
    """Whether altered values pass."""
    write_values(bundle, name, values)
    reseal(bundle)
    return verify_bundle(bundle).clean


@pytest.mark.parametrize("name", ["tables.csv", "tables.md", "tables.tex", "index.html"])
def test_a_number_of_the_report_is_compared(bundle, name):
    path = bundle / "report" / name
    text = path.read_text()
    place = next(m for m in re.finditer(r"0\.[0-9]{2,}", text) if m.start() > len(text) // 3)
    path.write_text(text[: place.start()] + "0.98765" + text[place.end() :])
    reseal(bundle)
    faults = [fault for fault in verify_bundle(bundle).faults if fault.file == f"report/{name}"]
    assert len(faults) == 1
    assert "0.98765" in str(faults[0])


@pytest.mark.parametrize(("name", "old", "new"), [
    ("matrix.toml", "digits = 1", "digits = 2"),
    ("matrix.toml", "steps = 4", "steps = 5"),
    ("matrix.toml", "seeds = [0, 1]", "seeds = [0, 2]"),
    ("lock.txt", "2.5.1", "2.5.2"),
    ("CITATION.cff", "0.1.0", "0.2.0"),
    ("plugins.json", '"source": "', '"source": "0'),
])  # fmt: skip
def test_a_number_of_a_text_is_compared(bundle, name, old, new):
    text = (bundle / name).read_text()
    assert old in text
    (bundle / name).write_text(text.replace(old, new, 1))
    reseal(bundle)
    assert not verify_bundle(bundle).clean


@pytest.mark.parametrize(("name", "path", "key"), [
    ("records/table.jsonl.gz", (0, "record", "final", "score/sampled"), "final is not the last point"),
    ("records/control.jsonl.gz", (0, "record", "rate"), "rate"),
    ("records/tuning.jsonl.gz", (0, "record", "budget", "verifications"), "budget.verifications"),
    ("samples/cells/grpo--addition--embedded--seed1.jsonl.gz", (0, "responses", 0, "verdict", "score"), "task 0"),
    ("configs.jsonl.gz", (0, "config", "trainer", "learning_rate"), "trainer.learning_rate"),
    ("after.jsonl.gz", (0, "after", "tokens", 0), "tokens"),
    ("tuning.json", ("trials", 0, "value"), "value"),
    ("untrained/untrained--addition--embedded.json", ("rows", 1, "metrics", "avg@2", "low"), "avg@2.low"),
])  # fmt: skip
def test_an_altered_number_is_named(bundle, name, path, key):
    done = attack(bundle, name, path)
    assert any(fault.file == name and key in str(fault) for fault in done.faults), [str(f) for f in done.faults]


def test_numbers_of_the_digest_change_the_digest(bundle):
    before = verify_bundle(bundle).digest
    done = attack(bundle, "records/table.jsonl.gz", (0, "record", "seconds"))
    assert done.clean
    assert done.digest != before


def test_the_list_of_the_guide_is_this_one():
    text = (Path(__file__).parents[2] / "docs" / "guides" / "bundles.md").read_text("utf-8")
    part = text.split("<!-- only by digest -->")[1].split("<!-- end -->")[0]
    listed = dict.fromkeys(ONLY_BY_DIGEST)
    for start, names in re.findall(r"^\| `([^`]+)` \| (.+?) \|", part, re.MULTILINE):
        listed[start] = set(re.findall(r"`([^`]+)`", names))
    assert listed == ONLY_BY_DIGEST


def test_altered_keeps_the_rest():
    assert altered({"a": [1, {"b": 0.5}]}, ("a", 1, "b")) == {"a": [1, {"b": 0.388}]}
    assert json.dumps(kinds_of({"a": [1, 2], "b": {"c": 0.5}})) == '{"a[]": ["a", 0], "b.c": ["b", "c"]}'
