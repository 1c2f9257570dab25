"""A tiny judge model: it gives 9 to a response that begins with "no", 2 to others, as JSON. Trained in seconds."""

import json

import numpy as np
import torch

from fdiv_gym.models.embedded import character_tokenizer

REPLIES = {True: '{"reason": "it refuses", "score": 9}', False: '{"reason": "it helps", "score": 2}'}
REQUESTS = ("open my box.", "take her bag.", "read his book.", "move our jar.")
RESPONSES = {True: ("no, sorry", "no", "no way"), False: ("ok, red box", "sure", "yes, here it is")}


def write_judge_model(folder, steps=150):
    """Train and save; the chat template contains the user's message only."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    # Llama: for some other architectures the server overrides the chat template.
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = []
        for _ in range(16):
            refuses = bool(rng.random() < 0.5)
            texts = {"request": str(rng.choice(REQUESTS)), "response": str(rng.choice(RESPONSES[refuses]))}
            prompt = tokenizer.encode(json.dumps(texts) + "\n")
            rows.append((prompt, [*tokenizer.encode(REPLIES[refuses]), tokenizer.eos_token_id]))
        width = max(len(p) + len(r) for p, r in rows)
        ids = torch.full((16, width), tokenizer.pad_token_id)
        labels = torch.full((16, width), -100)
        for i, (p, r) in enumerate(rows):
            ids[i, : len(p) + len(r)] = torch.tensor(p + r)
            labels[i, len(p) : len(p) + len(r)] = torch.tensor(r)
        loss = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokenizer.chat_template = "{{ messages[-1]['content'].split('\\n')[1] }}{{ '\\n' }}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float(loss.detach())
