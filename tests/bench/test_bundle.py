"""Bundles: the same bytes twice, nothing private, a limit on size, and hostile ones."""

import gzip
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from bundle_harness import matrix_values, planted_bench, read_values, reseal, write_values
from typer.testing import CliRunner

from fdiv_gym.bench import bundle_files, parse_matrix, report, verify_bundle, write_bundle
from fdiv_gym.bench.bundle_files import Bundle, checked_name, differing
from fdiv_gym.bench.checks import check_matrix
from fdiv_gym.bench.figures import Figure
from fdiv_gym.bench.offline import offline
from fdiv_gym.bench.redaction import Redaction
from fdiv_gym.cli.main import app
from fdiv_gym.errors import BenchError, ConfigError, TrainerError


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def faults(folder):
    return [str(fault) for fault in verify_bundle(folder).faults]


# ---- writing ---------------------------------------------------------------------------------------


def test_the_same_folder_gives_the_same_bytes_and_is_clean(planted, tmp_path):
    again = write_bundle(planted, tmp_path / "again")
    assert contents(again) == contents(planted / "bundle")
    done = verify_bundle(again)
    assert done.faults == ()
    assert (done.counts["cells"], done.counts["rewards"]) == (11, 108)
    assert re.fullmatch("[0-9a-f]{64}", done.digest)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_an_earlier_bundle_is_replaced_and_nothing_else(planted, tmp_path):
    output = tmp_path / "own"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with pytest.raises(BenchError, match="is no bundle: name another folder"):
        write_bundle(planted, output)
    assert (output / "notes.txt").read_text() == "mine"
    shutil.rmtree(output)
    shutil.copytree(planted / "bundle", output)
    write_bundle(planted, output)
    assert contents(output) == contents(planted / "bundle")
    (output / "notes.txt").write_text("mine")
    with pytest.raises(BenchError, match=r"holds 'notes\.txt', which is no part of the bundle there"):
        write_bundle(planted, output)
    assert (output / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("manifest", ['{"name": "an extension"}', '{"format": 1}', "[]", '{"format": 9, "files": {}}'])
def test_a_folder_with_another_manifest_is_no_bundle(planted, tmp_path, manifest):
    output = tmp_path / "web"
    output.mkdir()
    (output / "manifest.json").write_text(manifest)
    (output / "thesis.txt").write_text("mine")
    with pytest.raises(BenchError, match="name another folder"):
        write_bundle(planted, output)
    assert contents(output) == {"manifest.json": manifest.encode(), "thesis.txt": b"mine"}


CELL = "cells/grpo--addition--embedded--seed0"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (f"{CELL}/run/samples.jsonl", None, "other scores at the last evaluation than the record"),
        (f"{CELL}/run/samples.jsonl", "cut", "other scores at the last evaluation|damaged|cannot be read"),
        (f"{CELL}/after.json", None, r"has no after\.json: start the bench again"),
        ("controls/untrained--addition--embedded/untrained.json", None, r"has no untrained\.json"),
        ("tuning.json", '{"trials": [NaN]}', "no bundle can be made|damaged"),
        ("controls/untrained--addition--embedded/untrained.json", '{"rows": 5}', "no bundle can be made|damaged"),
        (f"{CELL}/run/provenance.json", '{"plugins": [1]}', "no bundle can be made|damaged"),
        (f"{CELL}/run/provenance.json", '{"plugins": {"x": {}}}', "no bundle can be made|damaged"),
    ],
)
def test_a_folder_with_missing_or_damaged_evidence_gives_no_bundle(planted, tmp_path, name, content, message):
    folder = shutil.copytree(planted, tmp_path / "bench")
    shutil.rmtree(folder / "bundle")
    if content is None:
        (folder / name).unlink()
    elif content == "cut":
        (folder / name).write_bytes((folder / name).read_bytes()[:-50])
    else:
        (folder / name).write_text(content)
    with pytest.raises((BenchError, TrainerError), match=message):
        write_bundle(folder)
    assert not (folder / "bundle").exists()


def test_a_bench_that_is_not_finished_is_refused(planted, tmp_path):
    folder = shutil.copytree(planted, tmp_path / "bench")
    shutil.rmtree(folder / "cells" / "grpo--addition--embedded--seed1")
    shutil.rmtree(folder / "bundle")
    with pytest.raises(BenchError, match="is not finished: cells/grpo--addition--embedded--seed1 have no record"):
        write_bundle(folder)
    assert "bundle" not in {path.name for path in folder.iterdir()}


def test_samples_beyond_the_limit_are_left_out_by_hash(planted, tmp_path):
    whole = contents(planted / "bundle")
    tuning = [name for name in whole if name.startswith("samples/tuning")]
    others = [name for name in whole if name.startswith("samples/") and name not in tuning]
    size = sum(len(content) for content in whole.values())
    small = write_bundle(planted, tmp_path / "small", limit_mb=(size - 100) / 1e6)
    manifest = json.loads((small / "manifest.json").read_text())
    assert len(manifest["left_out"]) == 1
    assert next(iter(manifest["left_out"])) in tuning
    name, entry = next(iter(manifest["left_out"].items()))
    assert entry == {"sha256": json.loads(whole["manifest.json"])["files"][name]["sha256"], "size": len(whole[name]),
                     "why": "size"}  # fmt: skip
    done = verify_bundle(small)
    assert done.clean
    assert any("1 files of samples are NOT in the bundle" in note for note in done.notes)
    assert set(others) <= contents(small).keys()
    with pytest.raises(BenchError, match=r"without any samples and figures, more than 0\.001"):
        write_bundle(planted, tmp_path / "none", limit_mb=0.001)


def test_figures_are_left_out_first_and_drawn_again_by_verify(planted, tmp_path, monkeypatch):
    figure = Figure("divergence", "a line", "divergence-kl-1", lambda axes: axes.plot([0, 1], [0, 2]))
    monkeypatch.setattr(report, "figures_of", lambda tables: [figure])
    whole = write_bundle(planted, tmp_path / "whole")
    size = sum(len(content) for content in contents(whole).values())
    small = write_bundle(planted, tmp_path / "small", limit_mb=(size - 500) / 1e6)
    manifest = json.loads((small / "manifest.json").read_text())
    assert list(manifest["left_out"]) == ["report/figures/divergence-kl-1.svg"]
    done = verify_bundle(small)
    assert done.clean
    assert any("1 files of figures are NOT in the bundle" in note for note in done.notes)
    manifest["left_out"]["report/figures/divergence-kl-1.svg"]["sha256"] = "0" * 64
    (small / "manifest.json").write_text(json.dumps(manifest))
    assert any("not the figure that follows from the tables" in fault for fault in faults(small))


# ---- what is private -------------------------------------------------------------------------------

PRIVATE = {
    "/home/alice/models/llama": "[path]/llama",
    "/home/alice smith/x y": "[path]/x y",
    "~/models/llama": "[path]/llama",
    "C:\\Users\\bob\\llama": "[path]/llama",
    "file:///data/x.csv": "[path]/x.csv",
    "https://user:pw@example.org:8000/v1?token=abc#x": "https://example.org:8000/v1",
    "http://gpu-box-7:8000/v1": "http://host.invalid:8000/v1",
    "http://10.0.0.3/v1": "http://host.invalid/v1",
    "key sk-abcdefghijklmnop": "key [secret]",
    "hf_abcdefghijklmn": "[secret]",
    "no file '/srv/a/b.txt' here": "no file '[path]/b.txt' here",
}
PUBLIC = ["meta-llama/Llama-3", "3/4 + 5/6", "(3)/(2)", "https://api.openai.com/v1", "and/or", "a token", "1 / 2",
          "in <answer>...</answer>.", "Answer. /no_think", "/no_think", "1 /2", "</think>"]  # fmt: skip


@pytest.mark.parametrize(("given", "shown"), PRIVATE.items())
def test_what_is_private_is_replaced_once(given, shown):
    redaction = Redaction()
    assert redaction.value(given) == shown
    assert redaction.value(shown) == shown


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_stays(text):
    assert Redaction().value(text) == text


@pytest.mark.parametrize("label", ["hf_baseline_v1", "a/home/b c /tmp/x", "sk-learn-style", "on planted-host-7"])
@pytest.mark.parametrize("axis", ["objectives", "environments"])
def test_a_label_that_a_bundle_would_replace_is_refused_before_anything_runs(axis, label, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-host-7")
    values = matrix_values()
    values[axis][0]["label"] = label
    with pytest.raises(ConfigError, match="which a bundle must not show"):
        check_matrix(parse_matrix(values))


def test_texts_under_names_of_secrets_are_replaced():
    values = {"api_key": "x", "hf_token": "y", "max_new_tokens": 4, "pad_token": "<p>", "password": "z"}
    assert Redaction().value(values) == {
        "api_key": "[secret]", "hf_token": "[secret]", "max_new_tokens": 4, "pad_token": "<p>", "password": "[secret]",
    }  # fmt: skip


def test_no_planted_secret_gets_into_a_bundle(planted, tmp_path, monkeypatch):
    secret = "planted-secret-of-the-environment"
    monkeypatch.setenv("SOME_API_KEY", secret)
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-host-7")
    folder = shutil.copytree(planted, tmp_path / "alice" / "bench")
    shutil.rmtree(folder / "bundle")
    bench = json.loads((folder / "bench.json").read_text())
    bench["command"] = ["fdiv-gym", "bench", "/home/alice/m.toml", "--output", str(folder), f"--x={secret}"]
    bench["hardware"]["node"] = "planted-host-7"
    bench["tracker"] = {"token": "abc123xyz", "url": "https://bob:hunter2@wandb.example.org/p?api_key=hunter2"}
    (folder / "bench.json").write_text(json.dumps(bench))
    matrix = (folder / "matrix.toml").read_text()
    (folder / "matrix.toml").write_text(f"# run it in /home/alice/fdiv with {secret}\n{matrix}")
    detail = folder / "cells" / "grpo--addition--embedded--seed0" / "run" / "samples.jsonl"
    lines = [json.loads(line) for line in detail.read_text().splitlines()]
    lines[1]["response"] = lines[1]["transcript"]["messages"][-1]["content"] = f"my key is {secret}"
    detail.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bundle = write_bundle(folder)
    everything = b"".join(
        gzip.decompress(content) if name.endswith(".gz") else content for name, content in contents(bundle).items()
    )
    for private in (secret, "alice", str(tmp_path), "planted-host-7", "hunter2", "abc123xyz", str(Path.home()) + "/"):
        assert private.encode() not in everything, private
    left_out = json.loads((bundle / "manifest.json").read_text())["left_out"]
    assert {name: entry["why"] for name, entry in left_out.items()} == {
        "samples/cells/grpo--addition--embedded--seed0.jsonl.gz": "private"
    }


@pytest.mark.slow
def test_a_private_path_in_the_matrix_does_not_hide_the_rest(tmp_path):
    folder = planted_bench(tmp_path / "bench", base__tracker={"name": "/home/al/x"})
    done = verify_bundle(write_bundle(folder))
    assert done.faults == ()
    assert any("keys of cells" in note for note in done.notes)


# ---- hostile bundles -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "C:x", "a\nb", "x" * 301, 3, None]
)
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(BenchError):
        checked_name(name)


def test_links_and_pipes_are_refused(bundle, tmp_path):
    (bundle / "link").symlink_to("/etc/passwd")
    assert any("is a link, a pipe or a device" in fault for fault in faults(bundle))
    (bundle / "link").unlink()
    os.mkfifo(bundle / "pipe")
    assert any("is a link, a pipe or a device" in fault for fault in faults(bundle))


def test_files_besides_and_missing_ones_are_named(bundle):
    (bundle / "extra.txt").write_text("x")
    (bundle / "lock.txt").unlink()
    found = faults(bundle)
    assert "extra.txt: manifest.json does not name it" in found
    assert "lock.txt: manifest.json names it, and it is missing" in found


HOSTILE = {
    "deep": b'{"a":' * 100_000,
    "nan": b'{"format": NaN}',
    "infinite": b'{"format": 1e999}',
    "twice": b'{"format": 1, "format": 1}',
    "list": b"[]",
    "latin-1": b'{"a": "\xe9"}',
    "long number": b'{"a": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["manifest.json", "tuning.json", "records/table.jsonl.gz"])
def test_hostile_json_is_a_fault_and_no_crash(bundle, name, content):
    (bundle / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    if name != "manifest.json":
        reseal(bundle)
    done = verify_bundle(bundle)
    assert any(name in str(fault) for fault in done.faults), [str(fault) for fault in done.faults]


def test_too_many_lines_are_not_read(bundle, monkeypatch):
    monkeypatch.setattr(bundle_files, "MOST_LINES", 1)
    assert any("more than 1 lines" in fault for fault in faults(bundle))


def without(bundle, name, change):
    """A bundle with other lines in a file, and everything that follows from them."""
    values = [line for line in (change(line) for line in read_values(bundle, name)) if line is not None]
    write_values(bundle, name, values)
    reseal(bundle, derived=True)


def test_a_cell_without_its_after_is_a_fault(bundle):
    without(bundle, "after.jsonl.gz", lambda line: None if line["cell"] == CELL else line)
    assert any("after.jsonl.gz" in fault and "lacks a cell that is done" in fault for fault in faults(bundle))


def test_a_curve_that_lacks_an_evaluation_is_a_fault(bundle):
    def cut(line):
        record = line["record"]
        curve = {name: column[1:] for name, column in record["curve"].items()}
        return {**line, "record": {**record, "curve": curve}} if line["cell"] == CELL else line

    without(bundle, "records/table.jsonl.gz", cut)
    assert any("curve.step" in fault for fault in faults(bundle))


def test_cells_recorded_as_failed_are_told(bundle):
    name = "controls/f-grpo-pearson--addition--embedded--seed0--again"
    changes = {"status": "failed", "attempts": 2, "error": "invented", "budget": None, "curve": {}, "final": None,
               "tasks": {}, "events": {}, "seconds": None}  # fmt: skip

    def fail(line):
        return {**line, "record": {**line["record"], **changes}} if line["cell"] == name else line

    (bundle / "samples" / f"{name}.jsonl.gz").unlink()
    without(bundle, "records/control.jsonl.gz", fail)
    done = verify_bundle(bundle)
    assert f"1 cells are recorded as failed, which cannot be checked: {name}" in done.notes


def test_a_gzip_bomb_is_not_unpacked(bundle, monkeypatch):
    monkeypatch.setattr(bundle_files, "LARGEST_CONTENT", 10**6)
    (bundle / "after.jsonl.gz").write_bytes(gzip.compress(b" " * 2 * 10**6))
    with pytest.raises(BenchError, match="unpacks to more than"):
        Bundle(bundle).lines("after.jsonl.gz")
    (bundle / "after.jsonl.gz").write_bytes(gzip.compress(b"{}") + gzip.compress(b"{}"))
    with pytest.raises(BenchError, match="something follows its end"):
        Bundle(bundle).lines("after.jsonl.gz")


@pytest.mark.parametrize(("old", "new", "message"), [
    ("math/Addition-v0", "os:system", "os:system"),
    ("math/Addition-v0", "python:os:system", "python:os:system"),
    ("seeds = [0, 1]", f"seeds = {list(range(60_000))}", "has a list of more than 2000 items"),
    ('name = "small"', 'name = "\\u202e"', "label"),
])  # fmt: skip
def test_a_hostile_matrix_is_refused(bundle, old, new, message):
    text = (bundle / "matrix.toml").read_text()
    assert old in text
    (bundle / "matrix.toml").write_text(text.replace(old, new, 1))
    reseal(bundle)
    assert any(message in fault for fault in faults(bundle))


def test_an_environment_with_a_server_is_not_built_and_named(bundle, monkeypatch):
    from fdiv_gym.bench import verify

    monkeypatch.setattr("fdiv_gym.bench.rebuilt.why_not", lambda config: "its judge 'llm' needs a model or a server")
    done = verify.verify_bundle(bundle)
    assert done.faults == ()
    assert any("addition were NOT re-checked: its judge 'llm'" in note for note in done.notes)
    assert "rewards" not in done.counts


def test_no_connection_is_made_while_a_bundle_is_verified():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with offline(), pytest.raises(PermissionError, match="no connection"):
            socket.create_connection(server.getsockname(), timeout=1)
        socket.create_connection(server.getsockname(), timeout=1).close()


def test_other_code_of_a_plugin_is_a_note_or_a_fault(bundle):
    values = read_values(bundle, "plugins.json")
    name = next(iter(values))
    values[name]["source"] = "0" * 16
    write_values(bundle, "plugins.json", values)
    reseal(bundle)
    done = verify_bundle(bundle)
    assert any(f"plugin {name} has other code here" in note for note in done.notes)
    assert any("key (of configs.jsonl.gz and plugins.json)" in fault.key for fault in done.faults)
    strict = verify_bundle(bundle, strict_plugins=True)
    assert any(fault.file == "plugins.json" for fault in strict.faults)


def test_differing_names_the_place():
    found = differing("", {"a": [1, 2.0], "b": True, "c": 1}, {"a": [1, 2.1], "b": 1, "d": None})
    assert [(key, str(one), str(other)) for key, one, other in found] == [
        ("a[1]", "2.0", "2.1"), ("b", "True", "1"), ("d", "nothing", "None"), ("c", "1", "nothing"),
    ]  # fmt: skip
    assert not list(differing("", [1.0, 0.0], [1.0 + 1e-12, 1e-17], relative=1e-9))


# ---- commands --------------------------------------------------------------------------------------


def test_the_commands(planted, bundle, tmp_path):
    run = CliRunner().invoke
    made = run(app, ["bundle", str(planted), "--output", str(tmp_path / "made")])
    assert made.exit_code == 0
    digest = verify_bundle(bundle).digest
    assert digest in made.output
    clean = run(app, ["verify", str(bundle), "--digest", digest])
    assert clean.exit_code == 0, clean.output
    assert "verified: nothing disagrees" in clean.output
    assert run(app, ["verify", str(bundle), "--digest", "0" * 64]).exit_code == 1
    values = read_values(bundle, "tuning.json")
    for row in values["trials"]:
        row["value"] = 0.123
    write_values(bundle, "tuning.json", values)
    reseal(bundle)
    dirty = run(app, ["verify", str(bundle)])
    assert dirty.exit_code == 1
    assert "DISAGREES  tuning.json: trials[0].value: found 0.123, recomputed" in dirty.output
    told = json.loads(run(app, ["verify", str(bundle), "--json"]).output)
    assert told["clean"] is False
    assert {"file": "tuning.json", "key": "trials[0].value"}.items() <= told["faults"][0].items()
    assert isinstance(run(app, ["verify", str(tmp_path / "none")]).exception, BenchError)
