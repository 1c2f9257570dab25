"""Conversations with tools: results, limits, counts, and what the model is told."""

import asyncio
import contextlib
import functools
import json
import threading
import time
from typing import Annotated

import pydantic
import pytest

import fdiv_gym as fg
from fdiv_gym.envs.play import Conversation, advance, play
from fdiv_gym.envs.tools_functions import signature_of

FINAL = "done"


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


async def later(text: str) -> str:
    """Say a text later.

    Args:
        text: What to say.
    """
    await asyncio.sleep(0)
    return text


def broken(kind: str) -> str:
    """Fail.

    Args:
        kind: How.
    """
    if kind == "exit":
        raise SystemExit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(f"no {kind}")


async def broken_later(kind: str) -> str:
    """Fail later.

    Args:
        kind: How.
    """
    await asyncio.sleep(0)
    if kind == "cancelled":
        raise asyncio.CancelledError
    return broken(kind)


def values(kind: str) -> object:
    """Give a value of a kind.

    Args:
        kind: Which.
    """
    endless = []
    endless.append(endless)
    return {
        "none": None, "float": 0.5, "truth": True, "list": [1, "ü"], "bytes": b"x", "long": "x" * 50,
        "endless": endless, "surrogate": "\ud800",
    }[kind]  # fmt: skip


class Tools(fg.ToolEnv):
    tools_given = (add, later, broken, broken_later, values)

    def tasks(self, split):
        return [fg.Task(f"{split} {i}") for i in range(3)]

    def functions(self, task):
        return self.tools_given

    def score(self, task, transcript):
        return fg.Verdict.scored(float(transcript.response == FINAL))


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def said(env, *responses):
    """What the environment says to each response, and the transcript."""
    left = [*responses, FINAL]
    heard = []

    def player(messages):
        heard.append([m.content for m in messages])
        return left.pop(0)

    transcript = play(env, env.task_list("train")[0], player)
    messages = transcript.messages[transcript.opening :]
    return [m.content for m in messages if m.role == env.options.tool_role], transcript


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


class Basket(fg.ToolEpisode):
    """A basket with a total."""

    total = 0

    def functions(self):
        return [self.put]

    def put(self, price: int) -> str:
        """Put something into the basket.

        Args:
            price: What it costs.
        """
        self.total += price
        return f"{self.total}"

    def outcome(self):
        return {**super().outcome(), "total": self.total}


class Shop(Tools):
    def begin(self, task):
        return Basket(self, task)


def test_tools_with_a_state_of_their_episode():
    env = Shop()
    (first, second), transcript = said(env, call("put", price=2), call("put", price=3))
    assert (first, second) == ("2", "5")
    assert transcript.outcome["total"] == 5
    assert said(env, call("put", price=1))[1].outcome["total"] == 1


def test_what_a_model_without_a_template_is_told():
    env = Tools(system_prompt="Be brief.")
    env.tools_given = (add,)
    env.reset(options={"task": 0})
    (system, user) = env.reset(options={"task": 0})[1]["messages"]
    assert (system.role, user.content) == ("system", "train 0")
    assert system.content == (
        "Be brief.\n\nTools:\nadd(a: int, b: int = 1) -> int\n    Add two numbers.\n\n    Args:\n"
        "        a: The first.\n        b: The second.\nTo call one, write\n"
        '<tool_call>{"name": "NAME", "arguments": {"ARGUMENT": VALUE}}</tool_call>\n'
        "The result is told to you. A response without a call is the final answer."
    )
    assert env.tools == ()
    silent = Tools(tools_text="", system_prompt="Be brief.")
    assert [m.content for m in silent.reset(options={"task": 0})[1]["messages"]] == ["Be brief.", "train 0"]
    assert Tools(tools_text="Add!").reset(options={"task": 0})[0] == "Add!\ntrain 0"


def shown_by(encoder, message, tools):
    return encoder.tokenizer.decode(encoder.prompt((message,), {}, tools))


@pytest.mark.slow
def test_schemas_go_to_a_template_that_shows_tools():
    from fdiv_gym.models.chat import ChatEncoder
    from fdiv_gym.models.embedded import character_tokenizer

    tokenizer = character_tokenizer()
    tokenizer.chat_template = (
        "{% for tool in tools or [] %}{{ tool.function.name }};{% endfor %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}"
    )
    encoder = ChatEncoder(tokenizer)
    assert encoder.shows_tools
    for env, function in ((Tools(), add), (Shop(), Basket.put)):
        env.tools_given = (add,)
        env.use_template(True, None)
        (user,) = env.reset(options={"task": 0})[1]["messages"]
        assert user.role == "user"
        (schema,) = env.tools
        assert schema["function"]["name"] == function.__name__
        names = ["a", "b"] if function is add else ["price"]
        assert list(schema["function"]["parameters"]["properties"]) == names
        assert schema["function"]["parameters"]["required"] == names[:1]
        assert shown_by(encoder, user, env.tools) == f"{function.__name__};user:train 0"
        env.use_template(False, None)
        assert len(env.reset(options={"task": 0})[1]["messages"]) == 2
        assert env.tools == ()


def test_the_format_of_calls_follows_the_template():
    parsed = [{"name": "add", "arguments": {"a": 1}}]
    env = Tools()
    env.use_template(True, lambda response: parsed if response == "add!" else [])
    assert env.format == "template"
    env.use_template(False, lambda response: parsed if response == "add!" else [])
    assert said(env, "add!")[0] == ["2"]
    env.use_template(False, None)
    assert env.format == "hermes"
    with pytest.raises(fg.EnvError, match="call_format = 'template', but the model's tokenizer declares no format"):
        Tools(call_format="template").use_template(True, None)


def test_fenced_python_is_the_text_of_the_only_tool():
    env = Tools(call_format="python")
    env.tools_given = (later,)
    texts, transcript = said(env, "```python\n1+1\n```\n```python\n2\n```", "```python\n3")
    assert texts[:2] == ["1+1", "2"]
    assert "not closed" in texts[2]
    assert transcript.outcome["malformed"] == 1
    for wrong in ((later, add), (add,)):
        env.tools_given = wrong
        with pytest.raises(fg.PluginError, match="call_format = 'python' needs one tool with one argument of type str"):
            said(env)


def test_a_decorated_async_tool_is_awaited():
    def counted(function):
        @functools.wraps(function)
        def wrapper(*arguments, **named):
            return function(*arguments, **named)

        return wrapper

    env = Tools(call_timeout_s=5.0)
    env.tools_given = (counted(later), counted(broken_later))
    texts, transcript = said(env, call("later", text="x"), call("broken_later", kind="way"))
    assert texts == ["x", "error: ValueError: no way"]
    assert (transcript.outcome["calls"], transcript.outcome["failed"]) == (2, 1)


def test_limits_in_the_type_of_an_argument_hold():
    def pick(number: Annotated[int, pydantic.Field(ge=1, le=3)]) -> int:
        """Pick a number.

        Args:
            number: From 1 to 3.
        """
        return number

    env = Tools()
    env.tools_given = (pick,)
    texts, _ = said(env, call("pick", number=3), call("pick", number=4))
    assert texts == ["3", "error: pick: argument 'number': Input should be less than or equal to 3"]


def test_functions_that_cannot_be_tools():
    def untyped(a):
        """Say nothing."""

    def without(a: int) -> int:
        return a

    def many(*a: int) -> int:
        """Say nothing."""

    def unknown(a: "Nothing") -> int:  # noqa: F821
        """Say nothing."""

    def no_types(a: "int int") -> int:  # noqa: F722
        """Say nothing."""

    def yielding(a: int) -> int:
        """Say several things."""
        yield a

    async def yielding_later(a: int) -> int:
        """Say several things."""
        yield a

    for function, problem in (
        (no_types, "its types cannot be read: SyntaxError"),
        (yielding, "yields, so it has no result"),
        (yielding_later, "yields, so it has no result"),
        (untyped, "parameter 'a' has no type"),
        (without, "has no docstring"),
        (many, "cannot be given by its name"),
        (unknown, "its types cannot be read: NameError"),
        (3, "must be a function or a method"),
    ):
        with pytest.raises(fg.EnvError, match=problem):
            signature_of(function)
    env = Tools()
    for given, problem in (
        ((), r"tools of different names, got \[\]"),
        ((add, add), r"tools of different names, got \['add', 'add'\]"),
        (None, "functions must return a list of functions, got None"),
    ):
        env.tools_given = given
        with pytest.raises(fg.PluginError, match=problem):
            said(env)


def test_an_episode_without_the_init_of_its_base_is_told_so():
    class Forgets(fg.ToolEpisode):
        def __init__(self, env, task):
            self.total = 0

    class Shop(Tools):
        def begin(self, task):
            return Forgets(self, task)

    with pytest.raises(fg.PluginError, match=r"Forgets.__init__ does not call super\(\).__init__\(env, task\)"):
        said(Shop())


def test_closures_are_not_kept_alive():
    import weakref

    def tool():
        def inner(a: int) -> int:
            """Give it back."""
            return a

        return inner

    function = tool()
    kept = weakref.ref(function)
    assert signature_of(function) is signature_of(function)
    del function
    assert kept() is None
