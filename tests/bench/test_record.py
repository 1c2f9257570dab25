"""Records: what a run leaves, read back with every field checked."""

import json
import math

import pytest
from bench_harness import cells_of

import fdiv_gym as fg
from fdiv_gym.bench import read_record
from fdiv_gym.bench.record import LARGEST, RECORD, write_record
from fdiv_gym.bench.recording import failed_record, record_of
from fdiv_gym.runs import RunFolder, train


@pytest.fixture(scope="module")
def cell():
    return cells_of()[0]


@pytest.fixture(scope="module")
def run(cell, tmp_path_factory):
    """A finished run of two steps."""
    folder = tmp_path_factory.mktemp("bench") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        train(cell.config, folder)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """The run in a folder that a test may damage."""
    import shutil

    return shutil.copytree(run, tmp_path / "run")


@pytest.fixture(scope="module")
def record(cell, run):
    return record_of(cell, run, 1)


def test_a_record_holds_the_results_of_the_run(cell, run, record, tmp_path):
    lines = RunFolder(run).lines("evaluations.jsonl")
    assert (record.status, record.key, record.attempts, record.error) == ("done", cell.key, 1, None)
    assert (record.objective, record.seed, record.updates, record.rate) == ("f-GRPO pearson", 0, 1, 3e-4)
    assert record.curve["step"] == [0, 1, 2]
    assert record.curve["score/sampled"] == [line["score/sampled"] for line in lines]
    assert record.final["score/greedy"] == lines[-1]["score/greedy"]
    assert (record.budget.steps, record.budget.verifications) == (2, 8)
    samples = RunFolder(run).lines("samples.jsonl")
    final = [s for s in samples if (s["split"], s["mode"], s["step"]) == ("heldout", "sampled", 2)]
    assert len(record.tasks) == 3
    for task, scores in record.tasks.items():
        index, _, name = task.partition("-")
        found = [s for s in final if s["index"] == int(index)]
        assert {s["task_hash"] for s in found} == {name}
        assert scores == [s["verdict"]["score"] for s in sorted(found, key=lambda s: s["sample"])]
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_no_record_is_none(tmp_path):
    assert read_record(tmp_path) is None


def test_a_failed_cell_has_no_number(cell, tmp_path):
    write_record(tmp_path, failed_record(cell, 2, "x" * 9000 + "\x1b[31m the end \ud800"))
    record = read_record(tmp_path)
    assert (record.status, record.final, record.tasks, record.curve, record.budget) == ("failed", None, {}, {}, None)
    assert len(record.error) <= 4000
    assert "the end" in record.error
    assert "\x1b" not in record.error


CHANGES = [
    ({"key": "0" * 63}, "key"),
    ({"key": "0" * 64 + "\n"}, "key"),
    ({"status": "won"}, "status"),
    ({"status": "failed"}, "a cell that failed has no result"),
    ({"error": "none"}, "no error"),
    ({"error": "x" * 4001}, "error"),
    ({"attempts": True}, "attempts"),
    ({"seed": -1}, "seed"),
    ({"seed": 10**30}, "seed"),
    ({"rate": math.nan}, "rate"),
    ({"rate": "0.1"}, "rate"),
    ({"objective": "a\nb"}, "objective"),
    ({"kind": "cells"}, "kind"),
    ({"final": None}, "final"),
    ({"final": {}}, "final is not the last point"),
    ({"budget": {"steps": 2}}, "budget.tokens"),
    ({"curve": {}}, "curve.step"),
    ({"tasks": {}}, "tasks"),
    ({"tasks": {"0-a": [1.0, 2.0], "1-b": [1.0]}}, "the same number of scores"),
    ({"tasks": {"0-a": [math.inf]}}, "tasks"),
    ({"tasks": {"0-a": ["1"]}}, "tasks"),
    ({"tasks": {"0-a": [7.0]}}, "the mean of their scores is 7"),
    ({"events": {"x": {"policy": "warn"}}}, "events.x"),
    ({"seconds": -1}, "seconds"),
    ({"more": 1}, "unknown option 'more'"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES)
def test_every_altered_field_is_found(changes, message, record, tmp_path):
    (tmp_path / RECORD).write_text(json.dumps(record.model_dump(mode="json") | changes))
    with pytest.raises(fg.ConfigError, match=message):
        read_record(tmp_path)


def test_every_number_of_the_final_scores_is_bound_to_another(record, tmp_path):
    plain = record.model_dump(mode="json")
    for name in plain["final"]:
        if plain["final"][name] is None:
            continue
        changed = json.loads(json.dumps(plain))
        changed["final"][name] += 0.25
        (tmp_path / RECORD).write_text(json.dumps(changed))
        with pytest.raises(fg.ConfigError, match="final is not the last point"):
            read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"key": 1}', "\x00", '{"seed": ' + "9" * 9000 + "}"])
def test_damaged_files_are_refused(text, tmp_path):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(fg.ConfigError, match="damaged"):
        read_record(tmp_path)


def test_every_truncation_is_refused(record, tmp_path):
    text = json.dumps(record.model_dump(mode="json"))
    for length in range(0, len(text), max(1, len(text) // 40)):
        (tmp_path / RECORD).write_text(text[:length])
        with pytest.raises(fg.ConfigError, match="damaged"):
            read_record(tmp_path)


def test_a_long_file_is_not_parsed(tmp_path):
    with open(tmp_path / RECORD, "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(fg.ConfigError, match="more than 64 MB"):
        read_record(tmp_path)


def test_runs_that_are_not_the_cells_are_refused(run, copy, cell):
    other = cells_of(base__trainer={"max_grad_norm": 0.5})[0]
    with pytest.raises(fg.ConfigError, match=r"another configuration.*max_grad_norm \(1.0 -> 0.5\)"):
        record_of(other, run, 1)
    folder = RunFolder(copy)
    provenance = folder.read_json("provenance.json")
    name = next(iter(provenance["plugins"]))
    provenance["plugins"][name]["source"] = "0" * 16
    folder.write_json("provenance.json", provenance)
    with pytest.raises(fg.ConfigError, match="their code has changed"):
        record_of(cell, copy, 1)


def test_unfinished_and_incomplete_runs_are_refused(copy, cell):
    folder = RunFolder(copy)
    summary = folder.read_json("summary.json")
    folder.write_json("summary.json", summary | {"status": "interrupted"})
    with pytest.raises(fg.ConfigError, match="not finished"):
        record_of(cell, copy, 1)
    folder.write_json("summary.json", summary | {"ended_by": "tokens"})
    with pytest.raises(fg.ConfigError, match="was ended by tokens and not by its budget of steps"):
        record_of(cell, copy, 1)
    folder.write_json("summary.json", summary)
    samples = folder.lines("samples.jsonl")
    folder.rewrite("samples.jsonl", [s for s in samples if (s["step"], s["sample"]) != (2, 1)])
    with pytest.raises(fg.ConfigError, match=r"does not hold the 2 sampled responses"):
        record_of(cell, copy, 1)
    changed = [s | {"verdict": s["verdict"] | {"score": 1.0 - s["verdict"]["score"]}} for s in samples]
    folder.rewrite("samples.jsonl", changed)
    with pytest.raises(fg.ConfigError, match="the mean of their scores"):
        record_of(cell, copy, 1)
    folder.rewrite("samples.jsonl", samples)
    folder.rewrite("evaluations.jsonl", folder.lines("evaluations.jsonl")[:-1])
    with pytest.raises(fg.ConfigError, match="no evaluation of its last step"):
        record_of(cell, copy, 1)
