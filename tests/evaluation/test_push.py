"""``fdiv-gym push``: the files and the card, in a folder and at a small server in the place of the hub."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation import push_model, write_model
from fdiv_gym.evaluation.card import model_card
from fdiv_gym.runs import RunFolder
from fdiv_gym.runs.config import parse_config

SECRET = "hf_never_in_a_message"
VALUES = {
    "env": {"id": "math/Addition-v0", "digits": 1},
    "model": {"embedded": {"layers": 1, "heads": 1, "warm_start_steps": 2, "warm_start_batch": 4}},
    "engine": {"max_new_tokens": 4},
    "objective": {"name": "f-grpo", "divergence": "pearson", "beta": 0.25},
    "trainer": {"steps": 1, "prompts_per_step": 2, "group_size": 4, "evaluate_tasks": 2, "evaluate_samples": 1},
}


def trained(folder, **model):
    """A run of one step."""
    config = parse_config(VALUES | {"model": VALUES["model"] | model})
    RunFolder.create(folder, config.resolved())
    config.trainer.build().fit(config, folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FDIV_GYM_QUIET", "1")
        return trained(tmp_path_factory.mktemp("push") / "run")


class Hub:
    """A server of the few requests that a repository and one commit of small files take.

    It stands in for the hub's protocol of regular files; uploads of large ones to its storage are not imitated.
    """

    def __init__(self):
        self.repositories, self.files, self.tokens, self.refuse = {}, {}, set(), None
        self.private = None  # of every repository; None: as it was created
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.do_POST()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                hub.tokens.add(self.headers.get("Authorization"))
                status, answer = hub.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", answer)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, path, body):
        if self.refuse:
            return self.refuse
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
            self.repositories[name] = given
            return 200, {"url": f"{self.address}/{name}", "id": name, "name": name}
        if path.startswith("/api/models/") and path.count("/") == 4:
            name = path.removeprefix("/api/models/")
            made = self.repositories[name]
            private = made.get("private") is True or made.get("visibility") == "private"
            return 200, {"id": name, "private": private if self.private is None else self.private}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            done = {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.address}/owner/name/commit/{'0' * 40}"}
            return 200, done
        return 404, {"error": f"unexpected request {path}"}


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants
    import huggingface_hub.hf_api

    found = Hub()
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for module in (huggingface_hub.constants, huggingface_hub.hf_api):
        if hasattr(module, "ENDPOINT"):
            monkeypatch.setattr(module, "ENDPOINT", found.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield found
    found.server.shutdown()
    found.server.server_close()
    found.thread.join()


def test_the_folder_holds_the_model_and_a_card_of_the_runs_own_figures(run, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = write_model(str(run), tmp_path / "out")
    AutoModelForCausalLM.from_pretrained(folder)
    card = (folder / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "transformers"\ntags: ["fdiv-gym"]\n---\n')
    last = RunFolder(run).lines("evaluations.jsonl")[-1]
    assert f"| `score/greedy` | {RunFolder(run).lines('evaluations.jsonl')[0]['score/greedy']:.4g} |" in card
    assert f"| {last['score/sampled']:.4g} | Mean score of the sampled responses" in card
    shown = ("math/Addition-v0", "divergence = pearson", "beta = 0.25", "at step 1", "No licence is stated", "torch")
    for words in shown:
        assert words in card, words
    assert str(run.parent) not in card


def test_paths_of_this_machine_stay_out_of_the_card(run, tmp_path):
    changed = tmp_path / "run"
    changed.mkdir()
    for name, base in (("a", "/home/me/secret"), ("b", "owner/base")):
        config = RunFolder(run).config() | {"model": {"name_or_path": base}}
        (changed / "config.json").write_text(json.dumps(config))
        card = model_card(RunFolder(changed), 1, adapter=name == "b")
        assert ("secret" in card, 'base_model: "owner/base"' in card) == (False, name == "b")
        assert "was not evaluated at step 1" in card


def test_push_sends_every_file_and_never_shows_the_token(run, hub, tmp_path):
    done = CliRunner().invoke(app, ["push", str(run), "--repo", "owner/name", "--private"])
    assert done.exit_code == 0, done.output
    assert f"sent to {hub.address}/owner/name" in done.output.replace("\n", "")
    created = hub.repositories["owner/name"]
    assert created.get("private") is True or created.get("visibility") == "private"
    local = write_model(str(run), tmp_path / "out")
    assert hub.files == {path.name: path.read_bytes() for path in local.iterdir()}
    assert "model.safetensors" in hub.files
    assert hub.tokens == {f"Bearer {SECRET}"}
    assert SECRET not in done.output
    assert not any(SECRET.encode() in content for content in hub.files.values())


def test_a_hub_that_refuses_is_one_message_without_the_token(run, hub):
    hub.refuse = 403, {"error": "no write access"}
    with pytest.raises(fg.TrainerError, match="the hub did not take owner/name") as refused:
        push_model(str(run), "owner/name")
    assert SECRET not in str(refused.value)
    assert hub.files == {}


ANSWERS = {
    "the token echoed": (403, {"error": f"no access with {SECRET}"}),
    "no address": (200, {}),
    "no table": (200, []),
    "a failure": (501, {"error": "not here"}),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_strange_answer_is_one_message_without_the_token(run, hub, answer):
    hub.refuse = ANSWERS[answer]
    with pytest.raises(fg.TrainerError, match="the hub did not take owner/name") as refused:
        push_model(str(run), "owner/name")
    assert SECRET not in str(refused.value)


def test_a_hub_that_cannot_be_reached_is_one_message(run, hub, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "nowhere")
    with pytest.raises(fg.TrainerError, match=r"the hub did not take owner/name .*HF_ENDPOINT"):
        push_model(str(run), "owner/name")


def test_a_redirect_to_another_server_takes_no_token_along(run, hub):
    other = Hub()
    hub.refuse = 307, f"{other.address}/api/repos/create"
    try:
        with contextlib.suppress(fg.TrainerError):
            push_model(str(run), "owner/name")
    finally:
        other.server.shutdown()
        other.server.server_close()
        other.thread.join()
    assert other.tokens <= {None}


def test_nothing_private_is_sent_to_a_public_repository(run, hub):
    hub.private = False
    with pytest.raises(fg.TrainerError, match=r"owner/name exists and is public, .*nothing was sent"):
        push_model(str(run), "owner/name", private=True)
    assert hub.files == {}
    push_model(str(run), "owner/name")  # not asked for
    assert "model.safetensors" in hub.files


@pytest.mark.parametrize("plant", ["link", "file", "hidden", "folder"])
def test_only_what_training_wrote_is_published(run, tmp_path, plant):
    planted = shutil.copytree(run, tmp_path / "run")
    place = next((planted / "checkpoints").glob("step-*/model"))
    (tmp_path / "secret").write_text("a key of the user")
    match plant:
        case "link":
            (place / "added_tokens.json").symlink_to(tmp_path / "secret")
        case "folder":
            (place / "notes").mkdir()
        case _:
            (place / {"file": "notes.txt", "hidden": ".env"}[plant]).write_text("a key of the user")
    with pytest.raises(fg.TrainerError, match=r"what training did not write, .*(added_tokens|notes|\.env)"):
        write_model(str(planted), tmp_path / "out")
    assert not [*tmp_path.glob("*out*")]


def edited(run, folder, **changes):
    """A copy of a run of which JSON files are changed: the name without its ending, and a function."""
    copy = shutil.copytree(run, folder)
    for name, change in changes.items():
        record = json.loads((copy / f"{name}.json").read_text())
        change(record)
        (copy / f"{name}.json").write_text(json.dumps(record))
    return copy


HOSTILE = "x\n\n# Licence: MIT\n<script>alert(1)</script> ![t](http://evil.example) | `a` \x1b[31m"


def test_text_of_a_run_is_no_markup_in_the_card(run, tmp_path):
    copy = edited(
        run, tmp_path / "run",
        config=lambda record: (record["env"].update(id=HOSTILE), record["objective"].update(name=HOSTILE)),
        provenance=lambda record: (record.update(platform=HOSTILE), record["packages"].update({HOSTILE: HOSTILE})),
    )  # fmt: skip
    lines = RunFolder(copy).lines("evaluations.jsonl")
    lines[0]["score/greedy"] = HOSTILE
    lines[-1] |= {HOSTILE: 1.0, "flag": True}
    (copy / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = (write_model(str(copy), tmp_path / "out") / "README.md").read_text()
    for markup in ("<script", "![t]", "\n# Licence: MIT", "\x1b"):
        assert markup not in card, markup
    assert "| `score/greedy` |  | " in card
    assert "flag" not in card
    for row in card.splitlines():
        if row.startswith("| "):
            assert row.count("|") in (3, 5), row


def test_the_path_of_a_base_model_is_no_hub_id(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"models/mine": False, "C:/mine": False, "owner/name\n": False, "owner/name": True}
    for i, (name, expected) in enumerate(names.items()):
        if name == "models/mine":
            (tmp_path / name).mkdir(parents=True)
        copy = edited(
            run, tmp_path / f"run-{i}",
            config=lambda record, name=name: record["model"].update(name_or_path=name),
        )  # fmt: skip
        card = model_card(RunFolder(copy), 1, adapter=False)
        assert ("base_model:" in card, "mine" in card) == (expected, False), name


def test_a_checkpoint_of_another_name_is_none_of_a_run(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    renamed = next((copy / "checkpoints").glob("step-*")).rename(copy / "checkpoints" / "step-abc")
    with pytest.raises(fg.ConfigError, match="is no checkpoint of a run"):
        write_model(str(renamed), tmp_path / "out")


@pytest.mark.slow
def test_an_adapter_is_sent_as_a_peft_folder_without_local_paths(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    base = write_model(str(run), tmp_path / "base")  # a model at a path of this machine
    folder = write_model(str(trained(tmp_path / "run", name_or_path=str(base), lora={"rank": 2})), tmp_path / "out")
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= {p.name for p in folder.iterdir()}
    assert 'library_name: "peft"' in (folder / "README.md").read_text()
    for path in folder.glob("*.json"):
        assert str(tmp_path) not in path.read_text(), path.name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of --repo"),
        (["--repo", "name"], "owner/name"),
        (["--repo", "a/b", "--to", "x"], "give one of --repo"),
        (["--to", "new", "--private"], "--private concerns a repository"),
        (["--to", "new", "--step", "0"], "only what a run trained is published"),
    ],
)
def test_wrong_arguments_are_named(run, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["push", str(run), *arguments])
    assert done.exit_code != 0
    assert words in str(done.exception)
