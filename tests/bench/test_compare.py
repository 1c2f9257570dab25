"""Plain runs compared: rows, names that tell apart, refusals, the table in the terminal."""

import json
import shutil

import numpy as np
import pytest
from bench_harness import cells_of
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.bench import paired_difference, read_runs, tables_of
from fdiv_gym.cli.main import app
from fdiv_gym.runs import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run: 3 held-out tasks with 2 samples each at steps 0, 1 and 2."""
    folder = tmp_path_factory.mktemp("compared") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        train(cells_of()[0].config, folder)
    return folder


@pytest.fixture
def make(trained, tmp_path):
    """Makes a copy with another configuration and ``right`` right responses, of 6, at the end."""

    def copy(name, right=3, **changes):
        folder = shutil.copytree(trained, tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        for key, value in changes.items():
            *path, last = key.split("__")
            table = config
            for part in path:
                table = table[part]
            table[last] = value
        (folder / "config.json").write_text(json.dumps(config))
        lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
        lines[-1]["score/sampled"] = right / 6
        (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        last = [s for s in samples if (s["split"], s["mode"], s["step"]) == ("heldout", "sampled", 2)]
        for place, sample in enumerate(last):
            sample["verdict"]["score"] = float(place < right)
        (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
        return folder

    return copy


def two_rows(make, seeds=(0, 1, 2)):
    """Two betas on the same seeds; the first is better by about 4 of 6 responses."""
    first = [make(f"a{s}", 5 + (s == 1), seed=s) for s in seeds]
    return first + [make(f"b{s}", 1 + (s == 2), seed=s, objective__beta=0.5) for s in seeds]


def test_runs_that_differ_in_the_seed_are_one_row_named_by_what_differs(make):
    found = read_runs(two_rows(make))
    assert [entry.label for entry in found.matrix.objectives] == ["f-grpo pearson beta=0.1", "f-grpo pearson beta=0.5"]
    assert [entry.label for entry in found.matrix.environments] == ["math/Addition-v0"]
    assert (found.matrix.seeds, found.unused) == ((0, 1, 2), [])
    tables = tables_of(found.matrix, found.records)
    (one,) = tables["comparisons"]
    scores = {name: list(row["math/Addition-v0"]["seeds"].values()) for name, row in one["heatmap"].items()}
    assert scores["f-grpo pearson beta=0.1"] == pytest.approx([5 / 6, 1, 5 / 6])
    assert scores["f-grpo pearson beta=0.5"] == pytest.approx([1 / 6, 1 / 6, 2 / 6])
    (pair,) = one["pairs"]
    assert pair["difference"]["value"] == pytest.approx((5 / 6 + 1 + 5 / 6 - 4 / 6) / 3)
    by_prompt = [np.array([[1, 1, 0.5], [1, 1, 1], [1, 1, 0.5]]), np.array([[0.5, 0, 0], [0.5, 0, 0], [1, 0, 0]])]
    expected = paired_difference({"e": by_prompt[0]}, {"e": by_prompt[1]})
    assert pair["difference"]["low"] == pytest.approx(expected.estimate.low)
    assert tables["budget"] == {"kind": "steps", "limit": 2.0}


def test_the_table_fits_80_columns_and_says_the_verdicts(make, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["compare", *map(str, two_rows(make))])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80 or "detectable" in result.output
    table = [line for line in result.output.splitlines() if "│" in line]
    assert all(len(line) <= 80 for line in table)
    assert "seeds 0, 1, 2" in result.output
    assert "0.889 [" in result.output
    assert "Minimum detectable effect" in result.output


def test_one_seed_is_inconclusive_and_says_so(make):
    result = CliRunner().invoke(app, ["compare", str(make("a", 6)), str(make("b", 0, objective__beta=0.5))])
    assert result.exit_code == 0, result.output
    assert "inconclusive" in result.output
    assert "one seed: no interval" in result.output
    assert "better" not in result.output


def test_the_report_is_written(make, tmp_path):
    runs = two_rows(make)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["compare", *map(str, runs), "--output", str(out)])
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {"index.html", "tables.md", "tables.tex", "tables.csv", "tables.json",
                                               "figures"}  # fmt: skip
    html = (out / "index.html").read_text()
    assert "f-grpo pearson beta=0.1" in html
    assert str(runs[0]) in html  # provenance


def test_a_seed_that_a_row_lacks_is_not_used_and_named(make):
    runs = [*two_rows(make, (0, 1)), make("more", 2, seed=7)]
    assert read_runs(runs).unused == [runs[-1]]
    assert read_runs(runs).matrix.seeds == (0, 1)
    output = CliRunner().invoke(app, ["compare", *map(str, runs)]).output
    assert "not used, because not every row has its seed" in output


def test_settings_of_an_environment_are_told_apart_by_name(make):
    runs = [make("a"), make("b", env__digits=2), make("c", objective__beta=0.5)]
    found = read_runs(runs)
    assert [e.label for e in found.matrix.environments] == ["math/Addition-v0 digits=1", "math/Addition-v0 digits=2"]
    (one,) = tables_of(found.matrix, found.records)["comparisons"]
    assert one["left_out"] == ["math/Addition-v0 digits=2"]  # the other row has no run there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer__group_size": 4}, r"not on equal terms: trainer\.group_size is 2 and 4"),
        ({"trainer__evaluate_samples": 5}, r"trainer\.evaluate_samples is 2 and 5"),
        ({"trainer__evaluate_skip": 4}, r"trainer\.evaluate_skip is 0 and 4"),
        ({"trainer__budget": {"tokens": 9}}, r"trainer\.budget is None and"),
        ({"engine__temperature": 0.5}, r"engine\.temperature is 1\.0 and 0\.5"),
        ({"seed": 5, "objective__beta": 0.5}, "no seed is common to all rows"),
        ({}, "are the same: f-grpo pearson on math/Addition-v0 with seed 0"),
        ({"env": None}, "has no environment"),
        ({"env": "x"}, "env is no table"),
        ({"seed": True}, "no env.id or no seed"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(make, changes, message):
    with pytest.raises(fg.ConfigError, match=message):
        read_runs([make("a"), make("b", **changes)])


def test_one_run_or_one_twice_or_an_unfinished_one_is_refused(make, tmp_path):
    one = make("a")
    with pytest.raises(fg.ConfigError, match="two or more"):
        read_runs([one])
    with pytest.raises(fg.ConfigError, match="a is given twice"):
        read_runs([one, tmp_path / "." / "a"])
    with pytest.raises(fg.TrainerError, match="there is no run in"):
        read_runs([one, tmp_path / "none"])
    other = make("b", objective__beta=0.5)
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(summary | {"status": "interrupted"}))
    with pytest.raises(fg.ConfigError, match="is not finished"):
        read_runs([one, other])


def test_names_of_another_persons_run_act_on_no_reader(make, tmp_path):
    odd = "\x1b[31m<script>alert(1)</script>$\\bad{" + "x" * 90
    runs = [make("a"), make("b", objective__name=odd), make("c", objective__name=odd + "y")]
    labels = [entry.label for entry in read_runs(runs).matrix.objectives]
    assert len(set(labels)) == 3
    assert max(map(len, labels)) <= 60
    result = CliRunner().invoke(app, ["compare", *map(str, runs), "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    html = (tmp_path / "out" / "index.html").read_text()
    assert "<script>alert" not in html
    assert "\x1b" not in html
