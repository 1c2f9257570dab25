"""Token-exact turns: what the policy sees is the template's text, and its earlier tokens stand there as sampled."""

import random
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from chat_templates import KINDS, NAMES, TEXT_NAMES, need_trl, rendering, template, tokenizer, version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import expected

import fdiv_gym as fg
from fdiv_gym.models import chat, turns
from fdiv_gym.models.chat import ChatEncoder, without_end
from fdiv_gym.models.embedded import character_tokenizer
from fdiv_gym.rollouts.rows import Rows
from fdiv_gym.types import Completion, Message

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
pytestmark = pytest.mark.usefixtures("trusted")


def spelled(tokenizer, text, rng):
    """Tokens of a text, often not the canonical ones: those of its pieces."""
    cuts = sorted(rng.sample(range(1, len(text)), min(len(text) - 1, rng.randint(0, 5)))) if len(text) > 1 else []
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [token for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False)]


def completion(tokenizer, text, rng, cut_off=False):
    """A sampled reply."""
    tokens = spelled(tokenizer, text, rng) + ([] if cut_off else [tokenizer.eos_token_id])
    logprobs = tuple(-rng.random() for _ in tokens)
    return Completion(tuple(tokens), logprobs, text, "length" if cut_off else "eos")


def played(encoder, messages, completions):
    """The rows of a conversation, and each prompt as the policy saw it."""
    rows, prompts = Rows(), {}
    for index, message in enumerate(messages):
        if message.role == "assistant":
            prompts[index] = encoder.prompt(messages[:index], rows.sampled)
            rows.prompt(prompts[index])
            rows.take(index, completions[index])
    conversation = SimpleNamespace(turns=len(completions), transcript=lambda: None)
    return rows.trajectory(conversation, None), prompts


def _fast_tokenizer_with(text):
    tok = character_tokenizer()
    tok.chat_template = text
    return tok


def check_conversation(text, messages, cut_off=(), seed=0):
    """Play a conversation and compare everything with the oracle; the number of its rows, None if it is refused."""
    rng, tok = random.Random(seed), tokenizer(text)
    render = partial(rendering, tok)
    replies = [i for i, m in enumerate(messages) if m.role == "assistant"]
    completions = {i: completion(tok, messages[i].content, rng, i in cut_off) for i in replies}
    encoder = ChatEncoder(tok)
    try:
        for index in replies:
            render(messages[:index])
    except (jinja2.TemplateError, TypeError):
        with pytest.raises(fg.ConfigError, match="chat template fails"):
            played(encoder, messages, completions)
        return None
    trajectory, prompts = played(encoder, messages, completions)
    row, length, rest = [], 0, list(trajectory.token_ids)
    starts, trained = [], 0
    for index in replies:
        earlier = {i: without_end(completions[i]) for i in replies if i < index}
        prompt = expected(tok, render, messages[:index], earlier)
        assert prompts[index] == prompt
        assert tok.decode(prompt) == render(messages[:index])
        if not starts or prompt[: len(row)] != row:
            starts.append(length)
            row = []
        said = [*prompt[len(row) :], *completions[index].token_ids]
        assert rest[: len(said)] == said
        mask = trajectory.loss_mask[length : length + len(said)]
        assert mask == (False,) * (len(prompt) - len(row)) + (True,) * len(completions[index].token_ids)
        end = length + len(said)
        assert trajectory.logprobs[end - len(completions[index].logprobs) : end] == completions[index].logprobs
        row, rest, length = [*prompt, *completions[index].token_ids], rest[len(said) :], end
        trained += len(completions[index].token_ids)
    assert rest == []
    assert trajectory.row_starts == tuple(starts)
    assert trajectory.response_length == trained
    assert not any(trajectory.loss_mask[start] for start in starts)
    return len(starts)


def two_turns(reply):
    return [
        Message("user", "The capital of France?"), Message("assistant", reply),
        Message("user", "And of Spain?"), Message("assistant", "Madrid."),
    ]  # fmt: skip


# How many templates there are, in how many of them the second turn continues the row of the first, by the reply.
COUNTS = {"1.16.0": {"all": 72, "of texts": 66, "plain": 40, "thinking": 36, "spaces": 22}}


@need_trl
def test_every_template_of_trl_is_rendered_exactly():
    found = {"all": len(NAMES), "of texts": len(TEXT_NAMES)} | dict.fromkeys(KINDS, 0)
    for name in TEXT_NAMES:
        for kind, reply in KINDS.items():
            rows = check_conversation(template(name), two_turns(reply))
            assert rows in (1, 2), (name, kind)
            found[kind] += rows == 1
    assert found == COUNTS.get(version(), found)


def test_the_guide_has_these_counts():
    page = (Path(__file__).parents[2] / "docs" / "guides" / "conversations" / "tokens.md").read_text(encoding="utf-8")
    (release, counts), *_ = COUNTS.items()
    texts = counts["of texts"]
    assert f"trl {release} ships. Of its {counts['all']} templates {texts} take messages of plain text" in page
    for kind, words in (("plain", "plain: "), ("thinking", "with thinking: "), ("spaces", "with white space")):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {words}")]
        assert row.endswith(f"| {counts[kind]} | {texts - counts[kind]} |")


@need_trl
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(TEXT_NAMES)))
def test_a_template_that_shows_no_text_is_refused(name, monkeypatch):
    monkeypatch.undo()
    tok = _fast_tokenizer_with(template(name))
    with pytest.raises(fg.ConfigError, match="does not show the user's message 'hello'"):
        ChatEncoder(tok)


TEXTS = st.lists(
    st.sampled_from([
        "Paris", " ", "\n", "\t", "<think>", "</think>", "<|im_end|>", "<|im_start|>", "<eos>", "Z", "q", "Zq1x", "Zq",
        "Zqq3", "{{ x }}", "{% raw %}", "hm", "é", "漢", "\u2028", "<tool_call>", "[INST]", "/nothink", "<|",
        "im_end|>",
    ]),
    max_size=6,
).map("".join)  # fmt: skip


@st.composite
def conversations(draw):
    """Messages with one or more replies; which of them were cut off."""
    messages = [Message("system", draw(TEXTS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        heard = draw(st.lists(st.sampled_from(["user", "tool"]), min_size=1, max_size=2))
        messages += [Message(role if len(messages) > 1 else "user", draw(TEXTS)) for role in heard]
        messages.append(Message("assistant", draw(TEXTS)))
    replies = [i for i, m in enumerate(messages) if m.role == "assistant"]
    return messages, frozenset(draw(st.sets(st.sampled_from(replies))))


TEMPLATES = [CHATML, *(template(name) for name in TEXT_NAMES)]
PROPERTY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}


@given(st.sampled_from(TEMPLATES), conversations(), st.integers(0, 2**16))
@settings(max_examples=40, **PROPERTY)
def test_random_conversations_are_exact(text, chat, seed):
    check_conversation(text, *chat, seed)


@pytest.mark.slow
@given(st.sampled_from(TEMPLATES), conversations(), st.integers(0, 2**16))
@settings(max_examples=1500, **PROPERTY)
def test_many_random_conversations_are_exact(text, chat, seed):
    check_conversation(text, *chat, seed)


# ---- by hand ---------------------------------------------------------------------------------------


def row_text(tok, trajectory):
    """The whole of each row as text."""
    ends = [*trajectory.row_starts[1:], len(trajectory.token_ids)]
    return [tok.decode(list(trajectory.token_ids[a:b])) for a, b in zip(trajectory.row_starts, ends, strict=True)]


def rows_of(text, reply):
    tok = tokenizer(text)
    messages = [Message("user", "c"), Message("assistant", reply), Message("user", "x"), Message("assistant", "2")]
    completions = {i: completion(tok, messages[i].content, random.Random(i)) for i in (1, 3)}
    return row_text(tok, played(ChatEncoder(tok), messages, completions)[0])


def turn(role, content):
    return f"<|im_start|>{role}\n{content}<|im_end|>"


QWEN3 = pytest.param("qwen3", marks=need_trl)


@pytest.mark.parametrize("name", ["plain ChatML", QWEN3])
def test_the_second_turn_of_chatml_continues_the_row(name):
    """With Qwen3's template a run once trained on an invented user message; with plain ChatML without a line feed."""
    text = CHATML if name == "plain ChatML" else template(name)
    parts = [turn("user", "c"), turn("assistant", "1*1"), turn("user", "x"), turn("assistant", "2")]
    assert rows_of(text, "1*1") == ["\n".join(parts)]


@need_trl
def test_a_template_that_drops_thinking_begins_a_new_row():
    thinking = "<think>\nhm\n</think>\n\n1*1"
    first, second = [turn("user", "c"), turn("assistant", thinking)], [turn("user", "c"), turn("assistant", "1*1")]
    assert rows_of(template("qwen3"), thinking) == [
        "\n".join(first), "\n".join([*second, turn("user", "x"), turn("assistant", "2")]),
    ]  # fmt: skip


def test_a_template_that_strips_begins_a_new_row():
    strips = CHATML.replace("m.content", "m.content | trim")
    first, second = [turn("user", "c"), turn("assistant", " 1 ")], [turn("user", "c"), turn("assistant", "1")]
    assert rows_of(strips, " 1 ") == [
        "\n".join(first), "\n".join([*second, turn("user", "x"), turn("assistant", "2")]),
    ]  # fmt: skip
    assert rows_of(strips, "1") == ["\n".join([*second, turn("user", "x"), turn("assistant", "2")])]


def test_sampled_tokens_stand_as_sampled():
    tok = tokenizer(CHATML)
    letters = [token for letter in "Paris" for token in tok.encode(letter)]
    assert letters != tok.encode("Paris")
    said = Completion((*letters, tok.eos_token_id), (-1.0,) * (len(letters) + 1), "Paris", "eos")
    chat = [Message("user", "c"), Message("assistant", "Paris"), Message("user", "x")]
    prompt = ChatEncoder(tok).prompt(chat, {1: said})
    begin, end = tok.encode("<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"), tok.encode("<|im_end|>\n")
    assert prompt[: len(begin)] == begin
    assert prompt[len(begin) :][: len(letters) + len(end)] == letters + end
    assert ChatEncoder(tok).prompt(chat) == tok.encode(rendering(tok, chat))  # what was not sampled is encoded as text


FAULTS = {
    "texts are tokenised again": ("kept_spans", lambda *given: {}, CHATML, "Paris"),
    "a mark that a reply completes too early": ("_marks", lambda *given: {1: "Zq1qZ"}, CHATML, "Paris Zq1q"),
    "white space of the template is taken for the reply's": (
        "_owns_begin", lambda *given: True, CHATML.replace("m.content", "m.content | trim"), "\nParis",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_sees_a_planted_fault(monkeypatch, fault):
    name, instead, text, reply = FAULTS[fault]
    check_conversation(text, two_turns(reply))
    monkeypatch.setattr(chat if name == "kept_spans" else turns, name, instead)
    with pytest.raises(AssertionError):
        [check_conversation(text, two_turns(reply), seed=seed) for seed in range(20)]


@pytest.mark.slow
def test_smollm2_is_rendered_exactly(smollm2, monkeypatch):
    from fdiv_gym.models import load_tokenizer

    own = load_tokenizer(smollm2)
    monkeypatch.setattr(sys.modules[__name__], "tokenizer", lambda text: own)
    system = Message("system", "Answer briefly.")
    for reply in (*KINDS.values(), "", "<|im_end|>", "  \n"):
        for opening in ([], [system]):
            for seed in range(3):
                assert check_conversation(own.chat_template, [*opening, *two_turns(reply)], seed=seed) == 1
