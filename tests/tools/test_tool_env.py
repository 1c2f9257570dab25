"""Conversations with tools: results, limits and counts."""

import asyncio
import contextlib
import threading
import time

import pytest
from tools_given import Tools, add, call, said

from fdiv_gym.envs.play import Conversation, advance


def test_results_come_as_messages_of_role_tool_and_a_plain_response_ends():
    texts, transcript = said(Tools(), call("add", a=2, b=3) + call("later", text="hi"), call("add", a=4))
    assert texts == ["5", "hi", "5"]
    assert [m.role for m in transcript.messages] == [
        "system", "user", "assistant", "tool", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert transcript.end == "done"
    assert transcript.outcome == {"calls": 3, "malformed": 0, "timeouts": 0, "failed": 0, "refused": 0}
    assert [m.role for m in said(Tools(tool_role="user"), call("add", a=4))[1].messages][3] == "user"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (call("ad", a=1), "error: there is no tool 'ad'; did you mean 'add'?"),
        (call("__class__"), "error: there is no tool '__class__'; there is add, later, broken, broken_later, values"),
        (call("add"), "error: add: argument 'a' is missing"),
        (call("add", a=1, c=2), "error: add has no argument 'c'; there is a, b"),
        (call("later", texts="x"), "error: later has no argument 'texts'; did you mean 'text'?"),
        (call("add", a="1"), "error: add: argument 'a': Input should be a valid integer"),
        (call("add", a=1.5), "error: add: argument 'a': Input should be a valid integer"),
        (call("add", a=True), "error: add: argument 'a': Input should be a valid integer"),
        (call("add", a=None), "error: add: argument 'a': Input should be a valid integer"),
        (call("later", text="\ud800"), "error: later: argument 'text': "),
        ("<tool_call>{}", "error: <tool_call> is not closed by </tool_call>"),
        (call("x" * 5000), f"error: there is no tool '{'x' * 80}'; there is add, later, broken, broken_later, values"),
    ],
)
def test_a_malformed_call_is_told_and_counted(response, text):
    (told,), transcript = said(Tools(), response)
    assert told.startswith(text)
    assert transcript.outcome["malformed"] == 1
    assert transcript.outcome["calls"] == 0
    assert transcript.end == "done"


@pytest.mark.parametrize(
    ("kind", "text"),
    [("exit", "error: SystemExit: 3"), ("interrupt", "error: KeyboardInterrupt"), ("x", "error: ValueError: no x")],
)
@pytest.mark.parametrize("name", ["broken", "broken_later"])
def test_a_tool_that_raises_is_told_and_counted(name, kind, text):
    texts, transcript = said(Tools(), call(name, kind=kind))
    assert texts == [text]
    assert (transcript.outcome["calls"], transcript.outcome["failed"]) == (1, 1)


def test_a_tool_that_cancels_itself_has_failed():
    texts, transcript = said(Tools(), call("broken_later", kind="cancelled"), call("add", a=1))
    assert texts == ["error: CancelledError", "2"]
    assert transcript.outcome["failed"] == 1


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("none", "null"), ("float", "0.5"), ("truth", "true"), ("list", '[1, "ü"]'), ("bytes", "b'x'"),
        ("endless", "[[...]]"), ("surrogate", "\ufffd"), ("long", "xxxxxxxxxxxxxxxxxxxx\n[30 more characters]"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*surrogate")
def test_results_that_are_no_text_or_too_long(kind, text):
    assert said(Tools(max_output_characters=20), call("values", kind=kind))[0] == [text]


def test_calls_beyond_the_limit_are_refused():
    texts, transcript = said(Tools(max_calls=2), "<tool_call>x" + call("add", a=1) + call("add", a=2), call("add", a=3))
    assert texts[1:] == ["2", *2 * ["error: no calls are left; give the final answer"]]
    assert transcript.outcome == {"calls": 1, "malformed": 1, "timeouts": 0, "failed": 0, "refused": 2}


def waiting_tools(stopped):
    def spin() -> str:
        """Compute for ever."""
        try:
            while True:
                pass
        finally:
            stopped.set()

    async def sleep() -> str:
        """Wait for ever."""
        try:
            await asyncio.sleep(10_000)
        finally:
            stopped.set()
        return "never"

    def wait() -> str:
        """Wait in a library for ever."""
        threading.Event().wait()
        return "never"

    async def stay() -> str:
        """Refuse to be cancelled, for a while."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10_000)
        stopped.set()
        await asyncio.sleep(1)
        return "never"

    return spin, sleep, wait, stay


@pytest.mark.parametrize("name", ["spin", "sleep", "wait", "stay"])
def test_an_overrunning_call_is_told_and_stopped_where_that_is_possible(name):
    stopped = threading.Event()

    class Waiting(Tools):
        tools_given = (add, *waiting_tools(stopped))

    texts, transcript = said(Waiting(call_timeout_s=0.1), call(name), call("add", a=1))
    assert texts == [f"error: {name} took more than 0.1 s", "2"]
    assert (transcript.outcome["timeouts"], transcript.outcome["calls"]) == (1, 2)
    if name != "wait":
        assert stopped.wait(60)


def test_thousands_of_episodes_wait_together():
    together = threading.Semaphore(0)
    most, running, lock = [0], [0], threading.Lock()

    def wait() -> str:
        """Wait 10 ms."""
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.acquire(timeout=0.01)
        with lock:
            running[0] -= 1
        return "waited"

    class Waiting(Tools):
        tools_given = (wait,)

    env = Waiting()
    live = Conversation.begin(env, env.task_list("train")[:1] * 2000)
    for one in live:
        one.say(call("wait"))
    before = threading.active_count()
    advance(env, live)
    assert {one.messages[-1].content for one in live} == {"waited"}
    assert all(one.end is None and one.problem is None for one in live)
    # One after the other would give 1; each call has a thread, and at most 256 of them run.
    assert 1 < most[0] <= 256
    for one in live:
        one.close()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
