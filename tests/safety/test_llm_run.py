"""A run whose judge is a server: usage is logged, too many failures stop it, and no key is written."""

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import METRICS, RunFolder
from fdiv_gym.testing.servers import FaultyServer

KEY = "sk-planted-fedcba9876543210"


def configuration(address):
    judge = {"name": "llm", "model": "m", "base_url": address}
    judge |= {"backoff_s": 0.01, "retries": 1, "price_prompt": 2.0, "rubric": "short"}
    small = {"layers": 1, "heads": 1, "warm_start_steps": 5, "warm_start_batch": 8}
    trainer = {"steps": 2, "prompts_per_step": 2, "group_size": 2, "evaluate_tasks": 2, "evaluate_samples": 1}
    return parse_config(
        {
            "env": {"id": "safety/Preference-v0", "judge": judge},
            "model": {"embedded": small},
            "engine": {"max_new_tokens": 4},
            "trainer": trainer,
        }
    )


def said(folder, capsys):
    streams = capsys.readouterr()
    files = [p.read_bytes().decode("utf-8", "replace") for p in folder.rglob("*") if p.is_file()]
    return "\n".join([streams.out, streams.err, *files])


def test_usage_is_logged_and_no_key_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    with FaultyServer() as server:
        (tmp_path / "keys.toml").write_text(f'["{server.address.split("/")[2]}"]\nenv = "PLANTED_KEY"\n')
        monkeypatch.setenv("FDIV_GYM_KEYS", str(tmp_path / "keys.toml"))
        config = configuration(server.address)
        run = RunFolder.create(tmp_path / "run", config.resolved())
        config.trainer.build().fit(config, run.path)
        assert f"Bearer {KEY}" in server.heard
    last = run.lines(METRICS)[-1]
    assert last["total/calls"] > 0
    assert last["total/prompt_tokens"] == 10 * last["total/calls"]
    assert last["total/cost"] == pytest.approx(2e-6 * last["total/prompt_tokens"])
    assert last["total/judged"] == 4 + 4 + 4  # evaluation: sampled and greedy of two tasks; two steps of four
    assert KEY not in said(tmp_path, capsys)


def test_a_judge_that_always_fails_stops_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    config = configuration("http://127.0.0.1:9/v1")
    run = RunFolder.create(tmp_path / "run", config.resolved())
    with pytest.raises(fg.TrainerError, match="100% of the responses have no score") as stopped:
        config.trainer.build().fit(config, run.path)
    assert "APIConnectionError" in str(stopped.value)
    assert KEY not in said(tmp_path, capsys) + repr(stopped.value)
