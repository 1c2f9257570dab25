"""A server of chat completions in the test's process: a model that adds, with a log and planted faults."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SUM = re.compile(r"(\d+)\+(\d+)=")


def adds(text: str, rng: random.Random, temperature: float) -> tuple[str, str]:
    """The sum; at a temperature above 0 the next number in two of five answers. Greedily wrong if it is odd."""
    found = SUM.search(text)
    total = sum(map(int, found.groups())) if found else 0
    wrong = rng.random() < 0.4 if temperature else total % 2 == 1
    return str(total + wrong), "stop"


class ModelServer:
    """Speaks the protocol on loopback; ``posts`` holds (path, headers, body) of every request, ``sent`` every text.

    Args:
        answer: (text of all messages, random generator, temperature) to (response, finish_reason).
        several: what a request for n > 1 responses gets: ``yes``, ``ignored`` (one response) or ``refused`` (400).
        cards: the cards of ``/v1/models``; None for a server without that list.
        usage: whether tokens are counted; a token is a character here.
    """

    def __init__(self, answer=adds, several="yes", cards=(("adder", "somebody"),), usage=True) -> None:
        self.answer, self.several, self.cards, self.usage = answer, several, cards, usage
        self.fault: Callable[[Handler, dict[str, Any], int], bool] | None = None
        self.posts: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.sent: list[tuple[str, str]] = []
        self.busiest = self._under_way = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.posts]

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def completion(self, body: dict[str, Any], chat: bool) -> dict[str, Any]:
        text = "\n".join(m["content"] for m in body["messages"]) if chat else body["prompt"]
        count = 1 if self.several == "ignored" else body.get("n", 1)
        choices = []
        for index in range(count):
            rng = random.Random(f"{text} {body.get('seed')} {index}")
            said, reason = self.answer(text, rng, body["temperature"])
            limit = body.get("max_tokens") or body.get("max_completion_tokens")
            if isinstance(said, str) and len(said) > limit:
                said, reason = said[:limit], "length"
            part = {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
            choices.append({"index": index, "finish_reason": reason, **part})
            with self.lock:
                self.sent.append((text, said))
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": choices}
        tokens = sum(len(c["message"]["content"] or "" if chat else c["text"]) for c in choices)
        if self.usage:
            reply["usage"] = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
        return reply


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ModelServer

    def do_GET(self) -> None:
        owner = self.owner
        if owner.cards is None:
            self.send({"error": {"message": "no such page"}}, 500)  # as transformers serve without a network
        else:
            data = [{"id": i, "object": "model", "created": 0, "owned_by": by} for i, by in owner.cards]
            self.send({"object": "list", "data": data})

    def do_POST(self) -> None:
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with owner.lock:
            heads = {name.lower(): value for name, value in self.headers.items()}
            owner.posts.append((self.path, heads, body))
            count = len(owner.posts)
            owner._under_way += 1
            owner.busiest = max(owner.busiest, owner._under_way)
        try:
            if owner.fault is not None and owner.fault(self, body, count):
                return
            if owner.several == "refused" and body.get("n", 1) > 1:
                self.send({"error": {"message": "n must be 1"}}, 400)
                return
            self.send(owner.completion(body, self.path.endswith("/chat/completions")))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has disconnected
        finally:
            with owner.lock:
                owner._under_way -= 1

    def send(self, value: Any, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""
