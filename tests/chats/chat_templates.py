"""The chat templates that the installed trl ships, and a tokenizer for each that knows its special tokens."""

import functools
import importlib.metadata
import importlib.util
import re
from pathlib import Path

import pytest

from fdiv_gym.types import Message

TRL = importlib.util.find_spec("trl")  # not imported: that takes seconds
FOLDER = Path(TRL.origin).parent / "chat_templates" if TRL is not None else Path("no trl")
OF_IMAGES = ("idefics3", "llava_next", "smolvlm")
"""Families whose templates take messages of parts and show none of a text."""
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
TEXT_NAMES = [name for name in NAMES if name.removesuffix("_training") not in OF_IMAGES]
MARKS = re.compile(r"<[^<>\s{}'\"+]{1,40}>|\[/?[A-Z_]{3,20}\]")
"""What looks like a special token in a template."""
OWN = ("<bos>", "<eos>", "<pad>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
KINDS = {"plain": "Paris.", "thinking": "<think>\nhm\n</think>\n\nParis.", "spaces": "  Paris. \n"}
"""The replies of the issue's count."""

need_trl = pytest.mark.skipif(TRL is None, reason="trl is not installed")


def version():
    """Of the installed trl."""
    return importlib.metadata.version("trl")


def template(name):
    """The text of a template."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


@functools.cache
def _fast():
    """A byte-level BPE with some merges, so that most texts have several tokenisations, and all special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["the capital of France is Paris. user assistant system thinking hm " * 20], trainer)
    special = dict.fromkeys(mark for name in NAMES for mark in MARKS.findall(template(name)))
    inner.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in [*special, *OWN]])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


class ChatTokenizer:
    """The tokenizer with one template; its end token is the one that the template writes after a reply."""

    response_schema = None

    def __init__(self, text):
        self.chat_template = text
        self.eos_token_id = _fast().eos_token_id
        reply = "a reply like no other"
        rendered = rendering(self, [Message("user", "u"), Message("assistant", reply), Message("user", "v")])
        after = MARKS.match(rendered.partition(reply)[2].lstrip())
        if after is not None:
            self.eos_token_id = _fast().convert_tokens_to_ids(after.group())

    def encode(self, text, add_special_tokens=True):
        return _fast().encode(text, add_special_tokens=add_special_tokens)

    def decode(self, tokens):
        return _fast().decode(tokens)

    def apply_chat_template(self, chat, tokenize, add_generation_prompt, **options):
        return _fast().apply_chat_template(
            chat, chat_template=self.chat_template, tokenize=tokenize, add_generation_prompt=add_generation_prompt,
            **options,
        )  # fmt: skip


tokenizer = functools.cache(ChatTokenizer)


def rendering(tokenizer, messages, **options):
    """The text of a chat by transformers itself."""
    chat = [{"role": m.role, "content": m.content} for m in messages]
    return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **options)
