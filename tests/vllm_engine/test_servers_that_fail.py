"""The engine vllm against servers that fail: the real engine, a stand-in for the server with a real model."""

import copy
import threading
import time

import pytest
import torch
from stand_in import running

import fdiv_gym as fg
from fdiv_gym.models import add_adapter, merged_weights
from fdiv_gym.models.config import LoraOptions
from fdiv_gym.registry import completions_of
from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer


def engine_of(server, folder, timeout_s=60.0):
    return fg.get_engine(
        "vllm", mode="server", servers=(server.address,), weights_folder=folder, max_new_tokens=6, timeout_s=timeout_s
    )


def first_choice(**values):
    """A server whose first sample differs."""

    def change(path, reply):
        if path == "/v1/completions" and "logprobs" in reply["choices"][0]:
            reply = copy.deepcopy(reply)
            reply["choices"][0] |= values
        return reply

    return change


def instead(path_at_fault, reply_at_fault, prompt_logprobs=False):
    """A server with another reply to one kind of request."""

    def change(path, reply):
        scores = path == "/v1/completions" and "prompt_logprobs" in reply["choices"][0]
        return reply_at_fault if path == path_at_fault and scores == prompt_logprobs else reply

    return change


def ids(*tokens, logprob=-1.0):
    return {"token_ids": list(tokens), "logprobs": {"token_logprobs": [logprob] * len(tokens)}}


SAMPLES, MODELS = "/v1/completions", "/v1/models"
NO_SAMPLES, NO_MODEL, NO_SCORES = (
    "did not return the samples",
    "did not name a model",
    "did not return the log-probs of",
)
FAULTS = {
    "models {}": (instead(MODELS, {}), NO_MODEL),
    "models null": (instead(MODELS, None), NO_MODEL),
    "models without length": (instead(MODELS, {"data": [{"id": "x"}]}), NO_MODEL),
    "models with a word": (instead(MODELS, {"data": [{"id": "x", "max_model_len": "long"}]}), NO_MODEL),
    "no choices": (instead(SAMPLES, {}), NO_SAMPLES),
    "null": (instead(SAMPLES, None), NO_SAMPLES),
    "a list": (instead(SAMPLES, []), NO_SAMPLES),
    "an error": (instead(SAMPLES, {"choices": None}), NO_SAMPLES),
    "too few": (instead(SAMPLES, {"choices": [ids(1) | {"index": 0}]}), "returned 1 samples of a prompt, asked for 2"),
    "one twice": (first_choice(index=1), "did not number its samples from 0 to 1"),
    "no log-probs": (first_choice(logprobs=None), "that knows return_token_ids"),
    "one log-prob too few": (first_choice(token_ids=[5] * 9), "that knows return_token_ids"),
    "null log-probs": (first_choice(**ids(5, 1, logprob=None)), "log-probs that are missing or not finite"),
    "NaN log-probs": (first_choice(**ids(5, 1, logprob=float("nan"))), "log-probs that are missing or not finite"),
    "positive log-probs": (first_choice(**ids(5, 1, logprob=3.0)), "expected a finite number of at most 0"),
    "strange tokens": (first_choice(**ids(5.5, 1)), "token ids outside of the model's vocabulary of 40"),
    "other vocabulary": (first_choice(**ids(40, 1)), "token ids outside of the model's vocabulary of 40"),
    "negative token": (first_choice(**ids(-1, 1)), "token ids outside of the model's vocabulary of 40"),
    "too long": (first_choice(**ids(5, 5, 5, 5, 5, 5, 1)), r"ends neither at its first end token \(1\)"),
    "cut": (first_choice(**ids(5, 5)), "nor after engine.max_new_tokens = 6 tokens"),
    "beyond the end": (first_choice(**ids(5, 1, 5)), "ends neither at its first end token"),
    "no scores": (instead(SAMPLES, {}, prompt_logprobs=True), NO_SCORES),
    "few scores": (instead(SAMPLES, {"choices": [{"prompt_logprobs": [None]}]}, prompt_logprobs=True), NO_SCORES),
    "other scores": (
        instead(SAMPLES, {"choices": [{"prompt_logprobs": [None] + [{"x": {}}] * 31}]}, prompt_logprobs=True),
        "log-probs of prompt tokens that are missing or not finite",
    ),
}


def started_and_asked(engine):
    engine.start(tiny_model(), tiny_tokenizer())
    completions_of(engine, [[5, 6, 7]], 2, engine.sampling(0))


@pytest.mark.parametrize("fault", FAULTS)
def test_replies_that_are_not_those_of_vllm_are_named_with_the_server(tmp_path, fault):
    change, message = FAULTS[fault]
    with running(change) as server:
        engine = engine_of(server, tmp_path)
        with pytest.raises(fg.EngineError, match=message) as caught:
            started_and_asked(engine)
    assert server.address in str(caught.value) or "positive" in fault
    engine.close()


def sent(*parts):
    return lambda path, reply: iter(parts) if path == SAMPLES and "logprobs" in reply["choices"][0] else reply


CHUNKED, BRACKETS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"[" * 200_000


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "Remote end closed connection"),
        ([CHUNKED, b'20\r\n{"cho'], "no reply of HTTP: IncompleteRead"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b'{"cho'], "the reply is not JSON"),
        ([b"hello\r\n\r\n"], "no reply of HTTP: BadStatusLine"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", BRACKETS], "the reply is not JSON"),
    ],
)
def test_connections_that_break_are_named_with_the_server(tmp_path, parts, message):
    with running(sent(*parts)) as server:
        engine = engine_of(server, tmp_path)
        engine.start(tiny_model(), tiny_tokenizer())
        with pytest.raises(fg.EngineError, match=f"vLLM server {server.address}/v1/completions: .*{message}"):
            completions_of(engine, [[5, 6, 7]], 2, engine.sampling(0))
    with pytest.raises(fg.EngineError, match=r"refused: start it, or correct engine\.servers"):
        engine.generate([[5, 6, 7]], 2, engine.sampling(0))


@pytest.mark.parametrize("drips", [False, True])
def test_a_server_that_never_ends_its_reply_is_given_up(tmp_path, drips):
    given_up = threading.Event()

    def reply():
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while not given_up.wait(0.01):
            if drips:  # each byte comes in time, the reply never does
                yield b" "

    with running(lambda path, own: reply() if path == SAMPLES and "logprobs" in own["choices"][0] else own) as server:
        engine = engine_of(server, tmp_path)
        engine.start(tiny_model(), tiny_tokenizer())
        engine._backend._servers[0]._timeout_s = 0.5
        begun = time.monotonic()
        with pytest.raises(fg.EngineError, match=r"no complete reply within engine\.timeout_s = 0\.5 s"):
            engine.generate([[5, 6, 7]], 2, engine.sampling(0))
        assert time.monotonic() - begun < 60
        given_up.set()


# ---- weights that do not arrive -------------------------------------------------------------------


def test_an_adapter_that_never_arrives_is_caught_at_its_first_sync(tmp_path):
    """An adapter on one layer of twelve weights; the size of its first update."""
    for deaf in (False, True):
        model = tiny_model(seed=3)  # the weights that the server has
        adapter = add_adapter(model, LoraOptions(rank=4, targets=("q_proj",)), 0, "tiny")
        with running(deaf=deaf) as server:
            engine = engine_of(server, tmp_path)
            engine.start(model, tiny_tokenizer())
            engine.update_weights(merged_weights(model))  # nothing has changed yet
            with torch.no_grad():
                for name, weight in adapter.named_parameters():
                    if "lora_B" in name:
                        weight.fill_(3e-4)
            if deaf:
                with pytest.raises(fg.EngineError, match=r"1 of 14 weights changed, but .* the sync did not arrive"):
                    engine.update_weights(merged_weights(model))
            else:
                engine.update_weights(merged_weights(model))
            engine.close()


def test_every_weight_has_an_effect_on_the_probe(tmp_path):
    """What the probe takes for granted: no false alarm where one weight alone moves a little."""
    state = {name: value.clone() for name, value in tiny_model().state_dict().items()}
    with running() as server:
        engine = engine_of(server, tmp_path)
        engine.start(tiny_model(), tiny_tokenizer())
        generator = torch.Generator().manual_seed(0)
        for name in state:
            noise = torch.randn(state[name].shape, generator=generator)
            state[name] = state[name] + 2e-4 * state[name].std().clamp(min=0.1) * noise
            engine.update_weights(state.items())
        engine.close()


def test_two_runs_may_share_a_folder(tmp_path):
    with running() as one, running() as two:
        first, second = engine_of(one, tmp_path), engine_of(two, tmp_path)
        first.start(tiny_model(), tiny_tokenizer())
        second.start(tiny_model(seed=1), tiny_tokenizer())
        assert len(list(tmp_path.iterdir())) == 2
        first.close()
        assert len(list(tmp_path.iterdir())) == 1
        second.close()
        assert not any(tmp_path.iterdir())
