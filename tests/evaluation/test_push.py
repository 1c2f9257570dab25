"""``fdiv-gym push``: the files and the card, in a folder and at a small server in the place of the hub."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation import push_model, write_model
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
        self.repositories, self.files, self.tokens, self.refuse = {}, {}, set(), False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                hub.tokens.add(self.headers.get("Authorization"))
                status, answer = hub.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
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
            return 403, {"error": "no write access"}
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
            self.repositories[name] = given
            return 200, {"url": f"{self.address}/{name}", "id": name, "name": name}
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
    from fdiv_gym.evaluation.card import model_card

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
    hub.refuse = True
    with pytest.raises(fg.TrainerError, match="the hub did not take owner/name") as refused:
        push_model(str(run), "owner/name")
    assert SECRET not in str(refused.value)
    assert hub.files == {}


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
