"""A server with vLLM's addresses and a tiny real model, that can be told to fail."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from safetensors.torch import load_file

import fdiv_gym as fg
from fdiv_gym.testing.tiny import CONTEXT, tiny_model, tiny_tokenizer


class StandIn(ThreadingHTTPServer):
    """Answers as vLLM does.

    Args:
        change: gets the path and the reply (anything JSON can hold), and returns what is sent instead: a reply, or
            an iterator of bytes that are sent as they are, after which the connection is closed.
        deaf: accept new weights and keep the old ones.
    """

    daemon_threads = True

    def __init__(self, change=None, deaf=False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.change, self.deaf, self.lock = change, deaf, threading.Lock()
        self.model, self.paths = tiny_model(seed=3), []
        self.engine = fg.get_engine("transformers")
        self.engine.start(self.model, tiny_tokenizer())

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def reply(self, path, body):
        if path == "/v1/models":
            return {"data": [{"id": "tiny", "max_model_len": CONTEXT}]}
        if path == "/collective_rpc":
            if not self.deaf:
                folder = Path(body["kwargs"]["weights_path"])
                self.model.load_state_dict(load_file(folder / "model.safetensors"))
            return {"results": [None]}
        if path == "/reset_prefix_cache":
            return None
        return self.scored(body) if "prompt_logprobs" in body else self.sampled(body)

    @torch.no_grad()
    def scored(self, body):
        ids = body["prompt"]
        logps = self.model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        places = [{str(t): {"logprob": float(logps[i, t])}} for i, t in enumerate(ids[1:])]
        return {"choices": [{"index": 0, "prompt_logprobs": [None, *places]}]}

    def sampled(self, body):
        sampling = fg.Sampling(
            body["max_tokens"], body["temperature"], body["top_p"], max(body["top_k"], 0), body["seed"] % 2**31
        )
        (group,) = self.engine.generate([body["prompt"]], body["n"], sampling)
        choices = [
            {"index": i, "token_ids": list(c.token_ids), "logprobs": {"token_logprobs": list(c.logprobs)}}
            for i, c in enumerate(group)
        ]
        return {"choices": choices}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body):
        with self.server.lock:
            self.server.paths.append(self.path)
            reply = self.server.reply(self.path, body)
        if self.server.change is not None:
            reply = self.server.change(self.path, reply)
        with contextlib.suppress(OSError):  # the client may have given up
            if isinstance(reply, Iterator):
                self.close_connection = True
                for part in reply:
                    self.wfile.write(part)
                return
            text = b"" if reply is None else json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def running(change=None, deaf=False):
    """A server until the context ends."""
    server = StandIn(change, deaf)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
