import json

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation import rescore
from fdiv_gym.evaluation.plan import configure
from fdiv_gym.manifest import seal
from fdiv_gym.remote.keys import BASE_URL, key_for, keys_file
from fdiv_gym.runs import resume_run
from fdiv_gym.runs.consent import urls
from fdiv_gym.testing.servers import FaultyServer

TASK = fg.Task("How do I open my box?")
SECRET = "aws-secret-0123456789"


def test_a_key_belongs_to_its_host(keys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("MINE", "sk-mine")
    keys('["judge.org"]\nkey = "sk-judge"\n["judge.org:8443"]\nenv = "MINE"\n["http://lab:8000"]\nkey = "sk-lab"\n')
    expected = {
        "https://judge.org/v1": "sk-judge",
        "https://JUDGE.org:443/v1": "sk-judge",
        "https://judge.org:8443/v1": "sk-mine",
        "http://judge.org/v1": "",  # never in plain text, unless the entry says so
        "http://lab:8000/v1": "sk-lab",
        "https://lab:8000/v1": "",
        "https://judge.org.attacker.net/v1": "",
        "https://api.openai.com/v1": "sk-openai",
        "https://api.openai.com:8443/v1": "",
        "http://api.openai.com/v1": "",
        "http://127.0.0.1:8000/v1": "",
        "https://attacker.net/v1": "",
    }
    assert {url: key_for(url) for url in expected} == expected


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ('["a.org"]\nkey = "sk-secret"\n', 0o644, "can be read by other users: chmod 600"),
        ('["a.org"]\nkey = "sk-secret', 0o600, "is not valid TOML"),
        ('["a.org"]\nkey = "sk-secret"\nenv = "X"\n', 0o600, "a table with either key or env"),
        ('"a.org" = "sk-secret"\n', 0o600, "a table with either key or env"),
        ('["a.org"]\nenv = "sk-secret"\n', 0o600, "must be the NAME of an environment variable"),
    ],
)
def test_a_wrong_file_is_refused_without_repeating_a_key(keys, text, mode, message):
    keys(text, mode)
    with pytest.raises(fg.ConfigError, match=message) as refused:
        key_for("https://a.org/v1")
    assert "sk-secret" not in str(refused.value)


def test_the_file_lies_in_the_users_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv("FDIV_GYM_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys_file() == tmp_path / "fdiv-gym" / "keys.toml"


def test_no_configuration_names_a_variable(server, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(fg.ConfigError, match="unknown option 'api_key_env'"):
        fg.get_judge("llm", model="m", base_url=server.address, api_key_env="AWS_SECRET_ACCESS_KEY")


def test_no_other_secret_of_the_environment_is_sent(server, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, SECRET)
    heads = []
    monkeypatch.setattr(server, "_answer", lambda h, text: (heads.append(str(h.headers)), server._send(h, "{}")))
    fg.get_judge("llm", model="m", base_url=server.address, retries=0).judge_batch([TASK], ["x"])
    assert len(heads) == 1
    assert SECRET not in heads[0]


def test_a_redirect_is_not_followed(server, monkeypatch):
    with FaultyServer() as other:

        def redirect(handler, text):
            handler.send_response(307)
            handler.send_header("Location", other.address + "/chat/completions")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        monkeypatch.setattr(server, "_answer", redirect)
        judge = fg.get_judge("llm", model="m", base_url=server.address, retries=0)
        assert judge.judge_batch([TASK], ["x"])[0].status is fg.Status.UNSCORABLE
        assert other.heard == []


@pytest.fixture
def folder(tmp_path, server):
    """Another person's run folder, whose judge is a server."""
    path = tmp_path / "run"
    model = path / "checkpoints" / "step-000001" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    seal(model.parent)
    judge = {"name": "llm", "model": "m", "base_url": server.address, "retries": 0}
    (path / "config.json").write_text(json.dumps({"env": {"id": "safety/Preference-v0", "judge": judge}}))
    task = fg.Task("Hello")
    sample = {
        "step": 1, "split": "train", "mode": "sampled", "index": 0, "sample": 0, "prompt": task.prompt, "answer": None,
        "response": "<score=10>", "turns": 1, "task": task.to_dict() if hasattr(task, "to_dict") else {},
        "task_hash": task.hash, "verdict": fg.Verdict.scored(0.0).to_dict(),
    }  # fmt: skip
    (path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    return path


def resume_changed(folder, **consent):
    """The folder has no record of the run's start: consent is asked for after the changes are accepted."""
    return resume_run(folder, accept_changes=True, **consent)


USES = [rescore, resume_changed, lambda folder, **consent: configure(str(folder), **consent)]


@pytest.mark.parametrize("use", USES, ids=["rescore", "resume", "eval"])
def test_a_server_of_a_run_folder_needs_consent(folder, server, use):
    with pytest.raises(fg.ConfigError, match=f"sends prompts and responses to {server.address}.*--trust-endpoints"):
        use(folder)
    assert server.heard == []


def test_the_default_service_needs_consent_too(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    file = folder / "config.json"
    file.write_text(json.dumps({"env": {"id": "safety/Preference-v0", "judge": {"name": "llm", "model": "m"}}}))
    with pytest.raises(fg.ConfigError, match=r"responses to https://api.openai.com/v1"):
        rescore(folder)


def test_with_consent_the_server_is_shown(folder, server, capsys):
    configure(str(folder), trust_endpoints=True)
    assert f"prompts and responses are sent to {server.address}, named in {folder}" in capsys.readouterr().err


def test_a_server_that_the_user_names_needs_no_consent(folder, server):
    with pytest.raises(fg.ConfigError, match="--trust-endpoints"):
        configure(str(folder), overrides=["engine.batch_rows=3"])
    configure(str(folder), overrides=[f'env.judge.base_url="{server.address}"'])


def test_code_of_a_run_folders_model_needs_consent(tmp_path):
    values = {"env": {"id": "math/Addition-v0"}, "model": {"name_or_path": "x", "trust_remote_code": True}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(fg.ConfigError, match=r"runs Python code of the model 'x'.*--trust-remote-code"):
        resume_run(tmp_path)


def test_every_port_is_accepted_and_none_beyond():
    accepted = [port for port in range(1, 70_000) if BASE_URL.fullmatch(f"http://127.0.0.1:{port}/v1")]
    assert accepted == list(range(1, 65_536))


def test_no_proxy_gets_what_is_for_this_machine(server, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.address.removesuffix("/v1"))
        judge = fg.get_judge("llm", model="m", base_url=server.address, retries=0)
        assert judge.judge_batch([TASK], ["x"])[0].is_scored
        assert (len(proxy.heard), len(server.heard)) == (0, 1)


def test_no_part_of_a_key_stays_in_a_reply_that_is_cut(server, keys, monkeypatch):
    key = "sk-" + "0123456789" * 5
    keys(f'["{server.address.split("/")[2]}"]\nkey = "{key}"\n')
    body = json.loads(server._body("", json.dumps({"response": ""})))
    body["choices"][0]["message"]["content"] = key * 9
    monkeypatch.setattr(server, "_answer", lambda handler, text: server._send(handler, json.dumps(body)))
    judge = fg.get_judge("llm", model="m", base_url=server.address, retries=0)
    detail = judge.judge_batch([TASK], ["x"])[0].detail
    assert "[key]" in detail
    assert "0123" not in detail


@pytest.mark.parametrize(
    "hidden",
    [
        "ht\ntp://a.org",
        "\x01http://a.org",
        "\thttp:\r//a.org",
        "simplecache::https://a.org/x",
        "HTTP://a.org",
        {"http://a.org": 1},
    ],
)
def test_a_url_in_disguise_is_found(hidden):
    assert len(list(urls({"options": [{"server": hidden}]}))) == 1
    assert list(urls({"rubric": "better than what is at http://a.org", "ratio": "1://2"})) == []


def test_a_url_of_several_lines_is_shown_on_one(folder, capsys, monkeypatch):
    monkeypatch.setattr("fdiv_gym.runs.consent.endpoints", lambda config: ["http://a.org/\n\nall is well\x1b[8m"])
    configure(str(folder), trust_endpoints=True)
    assert "sent to http://a.org/ all is well\\x1b[8m, named in" in capsys.readouterr().err
