"""Turns: the tokens of a rendered chat, with earlier sampled tokens verbatim where the template keeps their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fdiv_gym.types.message import Message

Render = Callable[[Sequence[Message]], str]


def kept_spans(messages: Sequence[Message], sampled: Sequence[int], text: str, render: Render) -> dict[int, int]:
    """Where a template keeps sampled responses unchanged: the begin of each in the rendered text, by its message.

    Each place is found by rendering the chat again with a mark at the end of the response: removing the mark must give
    the same text, and the response must stand before it. A template that strips a response or drops its thinking
    does not keep it.

    Args:
        messages: the chat.
        sampled: indices of the responses that a policy sampled.
        text: the rendered chat.
        render: renders a chat.
    """
    if not sampled:
        return {}
    marks = {index: _mark(index, text) for index in sampled}
    ends = _ends(messages, marks, text, render)
    if ends is None:
        ends = {}
        for index, mark in marks.items():
            ends |= _ends(messages, {index: mark}, text, render) or {}
    starts: dict[int, int] = {}
    last = 0
    for index in sorted(ends):
        content = messages[index].content
        start = ends[index] - len(content)
        if start >= last and text.startswith(content, start):
            starts[index], last = start, ends[index]
    return starts


def _mark(index: int, text: str) -> str:
    mark = f"Zq{index}qZ"
    while mark in text:
        mark = f"Z{mark}Z"
    return mark


def _ends(messages: Sequence[Message], marks: Mapping[int, str], text: str, render: Render) -> dict[int, int] | None:
    """The end of each marked response in the text; None if the marks change the rendering otherwise."""
    marked = render([Message(m.role, m.content + marks.get(i, "")) for i, m in enumerate(messages)])
    ends: dict[int, int] = {}
    plain, at = "", 0
    for index in sorted(marks):
        place = marked.find(marks[index], at)
        if place < 0:
            return None
        plain += marked[at:place]
        ends[index] = len(plain)
        at = place + len(marks[index])
    return ends if plain + marked[at:] == text else None
