"""A tiny random model and its tokenizer for checks of engines and trainers, built in milliseconds."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
ALPHABET = string.ascii_lowercase + string.digits + " "
CONTEXT = 64
#: The random logits are multiplied by this, so that the distribution of the next token is far from uniform.
SHARPNESS = 8.0


def tiny_tokenizer() -> Any:
    """One token for each lower-case letter, digit and the space."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([PAD, EOS, UNKNOWN, *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def tiny_model(seed: int = 0) -> Any:
    """A random Qwen3 of one layer, in fp32; the global random generators stay unchanged."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = tiny_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
        attention_dropout=0.1,  # a policy that is trained with it is not the one that was sampled
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config).float().eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(SHARPNESS)
    return model


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write the model and its tokenizer to a folder for ``model.name_or_path``."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tiny_model(seed).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
    return folder
