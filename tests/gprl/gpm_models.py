"""Tiny preference models, and a folder of the layout of the released checkpoints."""

import json

import torch
from safetensors.torch import save_file

from fdiv_gym.testing.tiny import tiny_model, tiny_tokenizer
from fdiv_gym_gprl import GeneralPreferenceModel, GPMConfig


def small(seed=0, **options):
    """A preference model with a random backbone and heads of size 1, so that scores are not tiny."""
    model = GeneralPreferenceModel(GPMConfig(base="tiny", **options), tiny_model(seed).model).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    for head in (model.value_head, model.prompt_head):
        if head is not None:
            head.weight.data.normal_(generator=generator)
    return model


def batch(*texts, prompt="which one "):
    """ids, mask and prompt_lengths of the prompt with each text, padded on the right."""
    tokenizer = tiny_tokenizer()
    rows = [[*tokenizer.encode(prompt + text), tokenizer.eos_token_id] for text in texts]
    width = max(map(len, rows)) + 1
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask, torch.tensor([len(tokenizer.encode(prompt))] * len(rows))


def write_released(folder, outputs=6, prompt_head=True, seed=0):
    """A checkpoint as the release writes it: causal language model and heads in shards with an index, bf16.

    Returns the weights by name.
    """
    folder.mkdir()
    causal = tiny_model(seed)
    causal.config.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    state = {name: tensor.bfloat16().clone() for name, tensor in causal.state_dict().items()}
    state["value_head.weight"] = torch.randn(outputs, 32, generator=generator).bfloat16()
    if prompt_head:
        state["prompt_head.weight"] = torch.randn(outputs // 2, 32, generator=generator).bfloat16()
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return state
