"""Planted faults of a server: each ends in a clear error within bounded time, never in a low score."""

import json
import logging
import time

import pytest
from model_server import ModelServer

import fdiv_gym as fg
from fdiv_gym.evaluation import evaluate
from fdiv_gym.models import ModelConfig
from fdiv_gym.types import Sampling

KEY = "sk-planted-0123456789abcdef"
BOUND_S = 30
"""Far above what the short limits of these tests allow; a request that is not bounded takes for ever."""


def raw(body, status=200):
    return lambda handler, request, count: handler.send(body, status) or True


def hangs(handler, request, count):
    handler.owner.stopping.wait(BOUND_S * 2)
    handler.close_connection = True
    return True


def endless(handler, request, count):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.owner.stopping.wait(0.02):
        handler.wfile.write(b"1\r\n \r\n")
        handler.wfile.flush()
    return True


def huge(handler, request, count):
    handler.send_response(200)
    handler.send_header("Content-Length", str(2**27))
    handler.end_headers()
    handler.close_connection = True
    return True


def choices(*given):
    return raw({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": list(given)})


ONE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "3"}}
FAULTS = {
    "429": (raw({"error": {"message": "slow down"}}, 429), r"RateLimitError \(status 429\) \(slow down\)", 3),
    "500": (raw({"error": {"message": "no"}}, 500), r"InternalServerError \(status 500\)", 3),
    "401": (raw({"error": {"message": "who?"}}, 401), r"status 401\): there is no key for http://127", 1),
    "400": (raw({"error": {"message": "too long"}}, 400), r"status 400\) \(too long\) \(model 'adder'", 1),
    "hangs": (hangs, r"no reply within 0.5 s \(at most 3 attempts", 3),
    "endless": (endless, r"no reply within 0.5 s", 3),
    "huge": (huge, "larger than 67108864 bytes", 1),
    "no JSON": (raw(b"<html>a proxy's page</html>"), "the reply is not JSON", 3),
    "half JSON": (raw(b'{"choices": [{"message'), "the reply is not JSON", 3),
    "empty": (raw(b""), "APIResponseValidationError|has no list of choices|attempts", None),
    "a list": (raw([1, 2]), "has no list of choices", 1),
    "no choices": (choices(), "sent 0 responses, asked for 1", 1),
    "too many": (choices(ONE, ONE), "sent 2 responses, asked for 1", 1),
    "no reason": (choices({**ONE, "finish_reason": None}), "without finish_reason", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_the_evaluation_in_bounded_time(server, plan_of, tmp_path, fault):
    server.fault, message, tries = FAULTS[fault]
    plan = plan_of("engine.timeout_s=0.5", "engine.retries=2", tasks=1, samples=1)
    begun = time.monotonic()
    with pytest.raises(fg.EngineError, match=message):
        evaluate(plan, tmp_path / "e")
    assert time.monotonic() - begun < BOUND_S
    assert tries is None or len(server.posts) == tries
    assert not (tmp_path / "e").exists()  # no sample with a score of 0


def test_a_server_that_is_down(plan_of, tmp_path):
    with ModelServer() as gone:
        address = gone.address
    with pytest.raises(fg.EngineError, match="APIConnectionError: start it, or correct --base-url"):
        evaluate(plan_of("engine.retries=1", where=address), tmp_path / "e")


def test_a_temporary_fault_changes_no_sample(server, plan_of, tmp_path):
    whole = evaluate(plan_of(), tmp_path / "whole")
    met = []

    def first_time(handler, body, count):
        if body["seed"] in met:
            return False
        met.append(body["seed"])
        headers = {"Retry_After": "0"} if len(met) % 2 else {}
        handler.send({"error": {"message": "busy"}}, 503 if len(met) % 3 else 429, **headers)
        return True

    server.fault = first_time
    again = evaluate(plan_of(), tmp_path / "again")
    assert len(met) == 6
    lines = [(done.folder / "samples.jsonl").read_text() for done in (whole, again)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("role", ["user", "tool"])
def test_a_server_that_refuses_results_of_tools_is_told_from_one_that_refuses_a_field(server, role):
    server.fault = raw({"error": {"message": "no such role"}}, 400)
    engine = fg.get_engine("openai", base_url=server.address)
    engine.load(ModelConfig(name_or_path="adder"))
    chat = [fg.Message("user", "1+1="), fg.Message("assistant", "call"), fg.Message(role, "2")]
    with pytest.raises(fg.EngineError, match="send_seed, length_field, extra") as caught:
        engine.respond([chat], 2, Sampling(max_new_tokens=4))
    assert ('env.tool_role = "user"' in str(caught.value)) == (role == "tool")


def test_the_first_failure_cancels_the_other_requests(server, plan_of, tmp_path):
    def one_fails(handler, body, count):
        if count == 1:
            handler.send({}, 400)
        else:
            server.stopping.wait(BOUND_S)
        return True

    server.fault = one_fails
    begun = time.monotonic()
    with pytest.raises(fg.EngineError, match="status 400"):
        evaluate(plan_of("engine.timeout_s=60", samples=1), tmp_path / "e")
    assert time.monotonic() - begun < BOUND_S / 2


def test_the_key_is_sent_and_kept_nowhere(server, plan_of, tmp_path, keys, monkeypatch, caplog, capsys):
    """Nor where the server repeats it in a response, a reason or an error."""
    monkeypatch.setenv("PLANTED_KEY", KEY)
    keys(f'["{server.address.split("/")[2]}"]\nenv = "PLANTED_KEY"\n')
    caplog.set_level(logging.DEBUG)
    told = []
    server.answer = lambda text, rng, temperature: (f"it is {KEY}", KEY if text.startswith("1") else "stop")
    done = evaluate(plan_of("engine.max_new_tokens=99", tasks=None), tmp_path / "e")
    assert any("it is [key]" in line for line in (done.folder / "samples.jsonl").read_text().splitlines())
    for status in (400, 401, 500):
        server.fault = raw({"error": {"message": f"your key {KEY[:-8]} is wrong"}}, status)
        with pytest.raises(fg.EngineError) as failed:
            evaluate(plan_of("engine.retries=0"), tmp_path / "f")
        told += [repr(failed.value), repr(failed.value.__context__)]
    assert {headers["authorization"] for _, headers, _ in server.posts} == {f"Bearer {KEY}"}
    streams = capsys.readouterr()
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != "keys.toml"]
    everything = "\n".join([*told, *written, json.dumps(done.results), streams.out, streams.err, caplog.text])
    assert KEY[:-8] not in everything
    assert "PLANTED_KEY" not in everything


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_takes_the_key_nowhere(server, plan_of, tmp_path, keys, status):
    keys(f'["{server.address.split("/")[2]}"]\nkey = "{KEY}"\n')
    with ModelServer() as other:
        server.fault = lambda handler, body, count: (
            handler.send({}, status, Location=f"{other.address}/chat/completions") or True
        )
        with pytest.raises(fg.EngineError, match=f"status {status}"):
            evaluate(plan_of("engine.retries=0"), tmp_path / "e")
        assert other.posts == []
