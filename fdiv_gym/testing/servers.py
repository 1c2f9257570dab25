"""A faulty OpenAI-compatible server on loopback, for tests of judges and other clients."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

#: Faults that a request selects by its text; any other request gets a valid answer.
FAULTS = (
    "status-429", "status-429-once", "status-500", "status-500-once", "status-400", "status-401", "slow", "drip",
    "cut", "cut-once", "no-json", "no-object", "no-choices", "two-choices", "null-content", "prose", "fence",
    "out-of-range", "text-score", "nan-score", "bool-score", "missing-score", "empty-body", "two-scores", "giant",
    "wait-once", "wait-date-once",
)  # fmt: skip
WAIT_S = 2
GIANT_BYTES = 8 * 2**20
REPLIES = {
    "prose": "I would give it an 8, or {oops",
    "fence": '```json\n{"reason": "fenced", "score": 8}\n```',
    "out-of-range": '{"reason": "generous", "score": 11}',
    "text-score": '{"reason": "words", "score": "eight"}',
    "nan-score": '{"reason": "none", "score": NaN}',
    "bool-score": '{"reason": "yes", "score": true}',
    "two-scores": '{"reason": "both", "score": 1, "score": 10}',
    "missing-score": '{"reason": "forgot"}',
}


class FaultyServer:
    """A server for chat completions; a message that names a fault (``<slow>``) triggers it.

    A valid answer scores the response by ``<score=n>`` in its text (5 without one); a comparison prefers the
    longer response. ``address`` is the base URL, ``seen`` counts requests by fault, ``heard`` holds every
    request's authorization header, ``busiest`` the largest number of concurrent requests.
    """

    def __init__(self, slow_s: float = 30.0) -> None:
        self.seen: Counter[str] = Counter()
        self.heard: list[str | None] = []
        self.busiest = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._slow_s = slow_s
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with owner._lock:
                    owner.heard.append(self.headers.get("Authorization"))
                    owner._under_way += 1
                    owner.busiest = max(owner.busiest, owner._under_way)
                try:
                    owner._answer(self, json.loads(body)["messages"][-1]["content"])
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client has disconnected, as expected
                finally:
                    with owner._lock:
                        owner._under_way -= 1

            def log_message(self, format: str, *args: Any) -> None:
                """Do not log requests."""

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        fault = next((f for f in FAULTS if f"<{f}>" in text), "")
        with self._lock:
            self.seen[fault] += 1
            again = self.seen[fault] > 1
        if fault.endswith("-once"):
            fault = "" if again else fault.removesuffix("-once")
        if fault.startswith("wait"):
            at = time.time() + WAIT_S
            asked = str(WAIT_S) if fault == "wait" else formatdate(at, usegmt=True)
            self._send(handler, "{}", 429, {"Retry-After": asked})
        elif fault.startswith("status-"):
            echo = {"error": {"message": f"no: {handler.headers.get('Authorization')}", "type": "x", "code": "y"}}
            self._send(handler, json.dumps(echo), int(fault.removeprefix("status-")))
        elif fault == "slow":
            self._stopping.wait(self._slow_s)
            handler.close_connection = True
        elif fault == "giant":
            self._send(handler, " " * GIANT_BYTES)
        elif fault in ("cut", "drip"):
            self._break_off(handler, drip=fault == "drip")
        else:
            self._send(handler, self._body(fault, text))

    def _body(self, fault: str, text: str) -> str:
        if fault == "empty-body":
            return ""
        if fault == "no-json":
            return "<html>a proxy's page</html>"
        if fault == "no-object":
            return "[1, 2]"
        content = None if fault == "null-content" else REPLIES.get(fault) or self._proper(text)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        choices = {"no-choices": [], "two-choices": [choice, choice]}.get(fault, [choice])
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}
        )

    def _proper(self, text: str) -> str:
        record = json.loads(text.split("\n")[1] if text.startswith("<data-") else text)
        if "response_a" in record:
            a, b = len(record["response_a"]), len(record["response_b"])
            score = 1 if "<first>" in text else (a > b) - (a < b)
        else:
            marked = record["response"].partition("<score=")[2].partition(">")[0]
            score = int(marked) if marked else 5
        return json.dumps({"reason": "as asked", "score": score})

    def _send(
        self, handler: BaseHTTPRequestHandler, text: str, status: int = 200, head: Mapping[str, str] | None = None
    ) -> None:
        body = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in (head or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _break_off(self, handler: BaseHTTPRequestHandler, drip: bool) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        handler.wfile.write(b'{"id": "1", ')
        deadline = time.monotonic() + self._slow_s
        while drip and time.monotonic() < deadline and not self._stopping.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()
        handler.close_connection = True
