"""Turns: where a rendered chat keeps the text of earlier responses, so that their sampled tokens can stand there."""

from __future__ import annotations

import re
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
    marks = _marks(messages, sampled, text)
    ends = _ends(messages, marks, text, render)
    if ends is None:  # one response is dropped, or rendered otherwise with a mark: each on its own
        ends = {}
        for index, mark in marks.items():
            ends |= _ends(messages, {index: mark}, text, render) or {}
    starts: dict[int, int] = {}
    last = 0
    for index in sorted(ends):
        content = messages[index].content
        start = ends[index] - len(content)
        if start >= last and text.startswith(content, start) and _owns_begin(messages, index, start, text, render):
            starts[index], last = start, ends[index]
    return starts


def _marks(messages: Sequence[Message], sampled: Sequence[int], text: str) -> dict[int, str]:
    """A word for each response that stands nowhere in the chat, and that no text before it can complete too early.

    ``Z`` stands at its begin only: so no end of the word is a begin of it.
    """
    everything = "\n".join([text, *(message.content for message in messages)])
    begin = "Z" + "q" * max(map(len, re.findall("Zq*", everything)), default=1)
    return {index: f"{begin}{index}x" for index in sampled}


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


def _owns_begin(messages: Sequence[Message], index: int, start: int, text: str, render: Render) -> bool:
    """Whether white space at the begin of a response is its own, and not the template's after a response stripped.

    If it is kept, one character more of it gives one character more of text.
    """
    space = messages[index].content[:1]
    if not space.isspace():
        return True
    longer = [Message(m.role, space + m.content) if i == index else m for i, m in enumerate(messages)]
    return render(longer) == text[:start] + space + text[start:]
