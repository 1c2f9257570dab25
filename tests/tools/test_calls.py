"""Reading tool calls: what is a call, what is malformed and told, what is a final answer."""

import json
import time

import pytest

from fdiv_gym.envs.tools_calls import Call, MalformedCall, declared_calls, hermes_calls, python_calls


def hermes(text):
    return f"<tool_call>{text}</tool_call>"


ADD = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
ADDED = Call("add", {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("response", "calls"),
    [
        (hermes(ADD), [ADDED]),
        (f"First I add.\n<tool_call>\n{ADD}\n</tool_call>\n", [ADDED]),
        (hermes(ADD) + "\n" + hermes('{"arguments": {}, "name": "stop"}'), [ADDED, Call("stop", {})]),
        ("<think>maybe <tool_call>?</think>" + hermes(ADD), [ADDED]),
        (f"<think>no: {hermes(ADD)}</think>3", []),
        (f"<think>no: {hermes(ADD)}", []),
        ("The answer is 3.", []),
        ("", []),
        ("<toolcall>{}</toolcall>", []),
        (hermes('{"name": "__class__", "arguments": {"__init__": 1}}'), [Call("__class__", {"__init__": 1})]),
        (hermes('{"name": "\\u0061dd", "arguments": {"a": "\\ud800"}}'), [Call("add", {"a": "\ud800"})]),
    ],
)
def test_hermes_calls(response, calls):
    assert hermes_calls(response) == calls


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (f"<tool_call>{ADD}", "<tool_call> is not closed by </tool_call>"),
        (f"{ADD}</tool_call>", "</tool_call> without <tool_call>"),
        (hermes(""), "no valid JSON"),
        (hermes("add(1, 2)"), "no valid JSON"),
        (hermes(ADD + ADD), "no valid JSON"),
        (hermes("```json\n" + ADD + "\n```"), "no valid JSON"),
        (hermes(f"[{ADD}]"), "must be an object"),
        (hermes('"add"'), "must be an object"),
        (hermes('{"name": "add"}'), "must be an object"),
        (hermes('{"name": "add", "arguments": {}, "id": 1}'), "nothing else"),
        (hermes('{"name": 1, "arguments": {}}'), '"name" must be a text'),
        (hermes('{"name": "add", "arguments": [1, 2]}'), '"arguments" must be an object'),
        (hermes('{"name": "add", "arguments": "{}"}'), '"arguments" must be an object'),
        (hermes('{"name": "add", "arguments": null}'), '"arguments" must be an object'),
        (hermes('{"name": "add", "name": "stop", "arguments": {}}'), "a name stands twice"),
        (hermes('{"name": "add", "arguments": {"a": 1, "a": 2}}'), "a name stands twice"),
        (hermes('{"name": "add", "arguments": {"a": NaN}}'), "NaN is no number"),
        (hermes('{"name": "add", "arguments": {"a": -Infinity}}'), "-Infinity is no number"),
        (hermes('{"name": "add", "arguments": {"a": 1e999}}'), "a number is too large"),
        (hermes('{"name": "add", "arguments": {"a": ' + "9" * 5000 + "}}"), "no valid JSON"),
        (hermes('{"name": "add", "arguments": {"a": ' + "[" * 40_000 + "]" * 40_000 + "}}"), "nested too deeply"),
        (hermes('{"name": "add", "arguments": {"a": "' + "x" * 1_000_000 + '"}}'), "at most 100000 characters"),
    ],
)
def test_malformed_hermes_calls(response, reason):
    (call,) = hermes_calls(response)
    assert isinstance(call, MalformedCall)
    assert reason in call.reason
    assert len(call.reason) < 200


def test_a_good_call_beside_malformed_ones_is_kept_in_order():
    first, second, third = hermes_calls(f"<tool_call><tool_call>{ADD}</tool_call></tool_call>")
    assert first == MalformedCall("<tool_call> is not closed by </tool_call>")
    assert second == ADDED
    assert third == MalformedCall("</tool_call> without <tool_call>")


@pytest.mark.parametrize("text", ["<tool_call>", "</tool_call>", "```python\n", "```", "<think>", "{", '"', "\\", "\n"])
def test_a_megabyte_of_anything_is_read_in_linear_time(text):
    short, long = text * (20_000 // len(text)), text * (1_000_000 // len(text))
    for read in (hermes_calls, python_calls):
        begun = time.process_time()
        read(short)
        small = time.process_time() - begun
        begun = time.process_time()
        assert isinstance(read(long), list)
        # 50 times as long: a quadratic reader takes 2 500 times as long.
        assert time.process_time() - begun < 0.5 + 600 * small


@pytest.mark.parametrize(
    ("response", "codes"),
    [
        ("```python\n37*84\n```", ["37*84"]),
        ("I compute:\n```py\n1+1\n```\nand\n  ```python  \n2*2\n\n3\n ``` ", ["1+1", "2*2\n\n3"]),
        ("```json\n{}\n```", []),
        ("```\n1+1\n```", []),
        ("```pythonic\n1+1\n```", []),
        ("`python` 1+1", []),
        ("see ```python\n1+1", []),
        ("3108", []),
        ("<think>\n```python\n1\n```\n</think>\n2", []),
        ("```text\n```python\n1\n```", []),
    ],
)
def test_python_calls(response, codes):
    assert python_calls(response) == [Call(None, {"": code}) for code in codes]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("```python\n37*84", "not closed"),
        ("```python", "not closed"),
        ("```python\n1\n```python\n2\n```", "not closed"),
        ("```python 37*84\n```", "nothing may follow"),
        ("```python\n\n```", "empty"),
        ("```python\n" + "1" * 100_001 + "\n```", "at most 100000 characters"),
    ],
)
def test_malformed_python_calls(response, reason):
    (call,) = python_calls(response)
    assert isinstance(call, MalformedCall)
    assert reason in call.reason


def test_calls_in_a_declared_format_are_checked_too():
    def parsed(calls):
        return declared_calls(lambda response: calls, "response")

    assert parsed([]) == []
    assert parsed([{"name": "add", "arguments": {"a": 1}}]) == [Call("add", {"a": 1})]
    for wrong in ({"name": "add"}, {"name": None, "arguments": {}}, {"name": "add", "arguments": "{}"}, {}):
        (call,) = parsed([wrong])
        assert isinstance(call, MalformedCall)

    def refuses(response):
        raise ValueError("no match")

    assert declared_calls(refuses, "x") == [
        MalformedCall("the response does not follow the format of tool calls: no match")
    ]


@pytest.mark.slow
def test_the_format_that_a_real_tokenizer_declares():
    from trl.chat_template_utils import qwen3_schema, qwen3_template

    from fdiv_gym.models.chat import ChatEncoder
    from fdiv_gym.models.embedded import character_tokenizer

    tokenizer = character_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}"
    encoder = ChatEncoder(tokenizer)
    assert not encoder.declares_calls
    tokenizer.response_template, tokenizer.response_schema = qwen3_template, qwen3_schema  # new and old transformers
    assert encoder.declares_calls
    parse = encoder.parse_calls
    assert declared_calls(parse, "The answer is 3.") == []
    assert declared_calls(parse, hermes(json.dumps({"name": "add", "arguments": {"a": 1}}))) == [Call("add", {"a": 1})]
    for text in (f"<tool_call>{ADD[:-3]}", hermes("add")):
        (malformed,) = declared_calls(parse, text)
        assert isinstance(malformed, MalformedCall), text
