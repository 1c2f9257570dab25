"""A tiny llama with a byte-level tokenizer, written as a GGUF file by the package gguf."""

from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

HIDDEN, HEADS, KEY_HEADS, LAYERS = 64, 2, 1, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), "12"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>"
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tiny_llama():
    """The model whose weights a file holds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(TOKENS), hidden_size=HIDDEN, intermediate_size=96, num_hidden_layers=LAYERS,
                num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, max_position_embeddings=128,
                tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
            )
        )  # fmt: skip


def write_gguf(path: Path, quantization=None, change=lambda name, array: array, template=TEMPLATE):
    """Write the tiny model; its matrices in ``quantization``, each array as ``change(name, array)`` returns it."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_license("apache-2.0")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(["1 2"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    if template is not None:
        writer.add_chat_template(template)
    for name, array in arrays().items():
        array = change(name, array)
        if array is None:
            continue
        if quantization is not None and array.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(array, quantization), raw_dtype=quantization)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def arrays():
    """The tensors by their GGUF names; rows of query and key in the order of llama.cpp's rotary embedding."""
    found = {}
    for name, tensor in tiny_llama().state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if name == "model.embed_tokens.weight":
            found["token_embd.weight"] = array
        elif name == "model.norm.weight":
            found["output_norm.weight"] = array
        elif name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            place = rest.removesuffix(".weight")
            if place.endswith(("q_proj", "k_proj")):
                heads = HEADS if place.endswith("q_proj") else KEY_HEADS
                split = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
                array = np.ascontiguousarray(split.swapaxes(1, 2).reshape(array.shape))
            found[f"blk.{layer}.{NAMES[place]}.weight"] = array
    return found
