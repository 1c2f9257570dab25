"""Tools of an episode, what the model is told of them, and which functions can be tools."""

import functools
from typing import Annotated

import pydantic
import pytest
from tools_given import Tools, add, broken_later, call, later, said

import fdiv_gym as fg
from fdiv_gym.envs.tools_functions import signature_of


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
