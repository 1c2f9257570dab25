"""What of the engine vllm needs no vLLM: options, messages, order of calls, servers that fail."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym import testing
from fdiv_gym_vllm.colocated import Colocated
from fdiv_gym_vllm.http import Server
from fdiv_gym_vllm.options import VllmOptions
from fdiv_gym_vllm.probe import Probe, bits
from fdiv_gym_vllm.server import reset
from fdiv_gym_vllm.weights import Layout

SERVER = {"mode": "server", "servers": ("http://one:8000",), "weights_folder": "/shared"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "server"}, "needs engine.servers and engine.weights_folder"),
        (SERVER | {"sleep": True}, "engine.sleep has no effect in mode"),
        (SERVER | {"max_rows": 8}, "engine.max_rows has no effect in mode"),
        ({"servers": ("http://one",)}, "engine.servers has no effect in mode"),
        ({"weights_folder": "/shared"}, "engine.weights_folder has no effect in mode"),
        ({"memory_share": 0.3, "cache_mb": 10}, "memory_share and cache_mb exclude each other"),
        ({"temperature": 0.005}, "at temperature 0.01 at least"),
        (SERVER | {"servers": ("http://one", "http://one")}, "a server is listed twice"),
        (SERVER | {"servers": ("http://me:word@one",)}, "without user, password and path"),
        (SERVER | {"servers": ("http://one/v1",)}, "without user, password and path"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(fg.ConfigError, match=message) as caught:
        fg.get_engine("vllm", **options)
    assert "word" not in str(caught.value).replace("password", "")


def test_a_run_folder_that_names_servers_is_asked_about():
    assert fg.get_engine("vllm", **SERVER).options.servers_contacted() == ("http://one:8000",)
    assert fg.get_engine("vllm").options.servers_contacted() == ()


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_what_to_install(tmp_path):
    from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer

    with pytest.raises(fg.MissingExtraError, match="needs the package vllm: pip install vllm"):
        fg.get_engine("vllm").start(tiny_model(), tiny_tokenizer())
    with pytest.raises(testing.CannotCheckError, match="needs the package vllm"):
        testing.check_engine(fg.get_engine("vllm"))


def test_before_its_start_it_says_so():
    engine = fg.get_engine("vllm")
    with pytest.raises(fg.EngineError, match="call start"):
        engine.generate([[1]], 1, engine.sampling(0))
    engine.close()


class Recorded:
    """Stands for vLLM's class: the names of the calls."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*args, **options):
            self.calls.append(name)
            return []

        return call


def test_memory_is_released_after_each_generation_and_taken_back_before_a_sync():
    backend = Colocated.__new__(Colocated)
    backend._options, backend._asleep, backend._llm = VllmOptions(sleep=True), False, Recorded()
    backend.sample([], fg.Sampling(1), [])
    backend.load([])
    backend.reset_prefix_cache()
    backend.sample([], fg.Sampling(1), [])
    assert backend._llm.calls == [
        "generate", "sleep", "wake_up", "collective_rpc", "reset_prefix_cache", "generate", "sleep"
    ]  # fmt: skip


# ---- weights and the probe ------------------------------------------------------------------------


def weights(seed):
    generator = torch.Generator().manual_seed(seed)
    own = {name: torch.randn(3, 2, generator=generator) for name in ("a", "b", "c")}
    return own | {"tied": own["a"]}


def test_whole_models_only_and_tied_weights_under_each_name():
    layout = Layout.of(weights(0).items())
    assert layout.tied == {"tied": "a"}
    given = {name: value for name, value in weights(1).items() if name != "tied"}
    assert dict(layout.checked(given.items()))["tied"] is not None
    assert torch.equal(dict(layout.checked(given.items()))["tied"], given["a"])
    for wrong, message in (
        (given | {"d": given["a"]}, "the model has no weight 'd'"),
        (given | {"b": given["b"][:1]}, r"weight 'b' has shape \(1, 2\), the model's is \(3, 2\)"),
        ({"a": given["a"], "b": given["b"]}, "1 of 4 weights are missing, e.g. 'c'"),
    ):
        with pytest.raises(fg.EngineError, match=message):
            layout.checked(wrong.items())


class Answers:
    def __init__(self, *values):
        self.values = list(values)

    def score(self, tokens):
        return self.values.pop(0)


def synced(probe, state, backend):
    list(probe.watched(state.items()))
    probe.prove(backend)


def test_the_probe_finds_the_server_that_kept_old_weights():
    probe = Probe(Layout.of(weights(0).items()), torch.float32, 10, 100)
    backend = Answers({"one": (1.0,), "two": (1.0,)}, {"one": (1.0,), "two": (1.0,)}, {"one": (2.0,), "two": (1.0,)})
    synced(probe, weights(0), backend)
    synced(probe, weights(0), backend)  # the same weights, the same answers
    with pytest.raises(fg.EngineError, match="4 of 4 weights changed, but the log-probs that two gives"):
        synced(probe, weights(1), backend)


@pytest.mark.parametrize(("change", "at_fault"), [(1e-3, True), (1e-5, False)])
def test_one_weight_that_has_moved_far_must_have_an_effect(change, at_fault):
    probe = Probe(Layout.of(weights(0).items()), torch.float32, 10, 100)
    synced(probe, weights(0), backend := Answers({"one": (1.0,)}, {"one": (1.0,)}))
    moved = weights(0) | {"b": weights(0)["b"] * (1 + change)}
    if at_fault:
        with pytest.raises(fg.EngineError, match="1 of 4 weights changed"):
            synced(probe, moved, backend)
    else:  # it may vanish in rounding
        synced(probe, moved, backend)


def test_embeddings_may_have_no_effect_on_the_probe():
    """It may hold none of the tokens whose embeddings have changed."""
    probe = Probe(Layout.of(weights(0).items()), torch.float32, 3, 100)
    synced(probe, weights(0), backend := Answers({"one": (1.0,)}, {"one": (1.0,)}))
    synced(probe, weights(0) | {"b": weights(1)["b"]}, backend)


def test_in_half_precision_nothing_is_concluded():
    probe = Probe(Layout.of(weights(0).items()), torch.bfloat16, 10, 100)
    synced(probe, weights(0), Answers())
    synced(probe, weights(1), Answers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_checksum_sees_the_last_bit(dtype):
    one = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    other = one.clone()
    other[2, 3] = torch.nextafter(one[2, 3], torch.tensor(9.0, dtype=dtype))
    assert bits(one) == bits(one.clone())
    assert bits(one) != bits(other)
    assert bits(one.t()) == bits(one.t().contiguous())


# ---- servers that fail ----------------------------------------------------------------------------


@pytest.fixture
def served():
    """A server on this machine that sends one prepared status and text."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(self.server.status)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(self.server.text.encode())

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.text, server.headers = 200, "{}", {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_messages_of_failing_servers(served):
    server = Server(f"http://127.0.0.1:{served.server_port}", 10)
    assert server.post("/x") == {}
    for status, text, headers, message in (
        (404, "no", {}, r"/x: status 404: no \(start the server with VLLM_SERVER_DEV_MODE=1\)"),
        (500, "out of\nmemory", {}, "/x: status 500: out of memory$"),
        (307, "", {"Location": "http://127.0.0.1:1/other"}, "status 307"),
        (200, "<html>", {}, "the reply is not JSON"),
    ):
        served.status, served.text, served.headers = status, text, headers
        with pytest.raises(fg.EngineError, match=message):
            server.post("/x")
    served.status, served.text = 200, json.dumps({"success": False})
    with pytest.raises(fg.EngineError, match="did not empty its prefix cache"):
        reset(server)
    with pytest.raises(fg.EngineError, match=r"Connection refused: start it, or correct engine\.servers"):
        Server("http://127.0.0.1:1", 10).get("/v1/models")
