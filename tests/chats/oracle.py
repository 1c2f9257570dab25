"""What the tokens of a prompt must be, worked out slowly from the rendered texts alone."""

from fdiv_gym.types import Message

LETTER = "Ж"


def expected(tokenizer, render, messages, sampled):
    """The tokens of the rendered chat, with the sampled ones where the template keeps the reply.

    Args:
        tokenizer: encodes the other pieces.
        render: the text of a chat.
        messages: the chat.
        sampled: for each reply, by the index of its message, its tokens without the end token.
    """
    text, tokens, at = render(messages), [], 0
    for index in sorted(sampled):
        start = kept(render, messages, index)
        if start is not None and start >= at:
            tokens += tokenizer.encode(text[at:start], add_special_tokens=False) + list(sampled[index])
            at = start + len(messages[index].content)
    return tokens + tokenizer.encode(text[at:], add_special_tokens=False)


def kept(render, messages, index):
    """Where the reply begins in the rendered chat; None if the template does not keep it as it is.

    It is kept if it stands there, and if a letter after it gives the same text with that letter at that place. If it
    begins with white space, the same for a letter before it.
    """
    text, content = render(messages), messages[index].content
    longer = render(_with(messages, index, content + LETTER))
    before = render(_with(messages, index, LETTER + content)) if content[:1].isspace() else None
    for start in range(len(text) - len(content) + 1):
        end = start + len(content)
        if text[start:end] == content and longer == text[:end] + LETTER + text[end:]:
            return start if before in (None, text[:start] + LETTER + text[start:]) else None
    return None


def _with(messages, index, content):
    return [Message(m.role, content) if i == index else m for i, m in enumerate(messages)]
