"""Conversations of a tiny random model with templates that keep, drop and strip earlier replies."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import torch

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.rollouts import run_episodes

SPECIAL = ("<pad>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
CONTENT = "{{ '<|im_start|>' + m.role[0] + (CONTENT) + '<|im_end|>' + '\n' }}"
TEMPLATES = {
    kind: "{% for m in messages %}"
    + CONTENT.replace("CONTENT", content)
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>a' }}{% endif %}"
    for kind, content in {
        "extends": "m.content",
        "drops thinking": "m.content.split('</think>')[-1] if m.role == 'assistant' else m.content",
        "strips spaces": "m.content | trim",
    }.items()
}


@functools.cache
def tokenizer_of(kind):
    """Twelve tokens: a random policy often thinks, and often begins or ends with white space."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, " ", "\n", *"abstu"])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(list(SPECIAL))
    found = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>", clean_up_tokenization_spaces=False
    )
    found.chat_template = TEMPLATES[kind]
    return found


@functools.cache
def _model():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=12, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=128, bos_token_id=None, eos_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():  # far from the small initial weights, so that attention matters
            weight.add_(0.15 * torch.randn(weight.shape))
    return model.eval()


def new_model():
    """A copy of the tiny model."""
    return copy.deepcopy(_model())


class Chatter(fg.Episode):
    """Answers with a letter until its turns are over."""

    def __init__(self, turns):
        self.left = turns

    def reply(self, response):
        self.left -= 1
        return "bu"[self.left % 2] if self.left else None


class Chat(fg.ConversationEnv):
    """Conversations of one turn and of three."""

    default_turns = 5

    def tasks(self, split):
        return [fg.Task("ab"[i % 2] * (1 + i), data={"turns": 1 if i % 3 == 2 else 3}) for i in range(6)]

    def begin(self, task):
        return Chatter(task.data["turns"])

    def score(self, task, transcript):
        return fg.Verdict.scored(sum(map(ord, "".join(transcript.responses))) % 3 / 2)


def rollouts(kind, engine=None, groups=3, size=4):
    """Judged groups of the tiny model, by the real engine, or another one."""
    tokenizer = tokenizer_of(kind)
    engine = fg.get_engine("transformers" if engine is None else engine, max_new_tokens=5)
    engine.start(new_model(), tokenizer)
    env = Chat(isolate=False)
    return run_episodes(env, engine, ChatEncoder(tokenizer), env.task_list("train")[:groups], size, engine.sampling(3))


def row_logps(model, trajectory, temperature=1.0):
    """Log-probs of a trajectory's sampled tokens, in order: each row alone through the model."""
    found = []
    ends = [*trajectory.row_starts[1:], len(trajectory.token_ids)]
    for start, end in zip(trajectory.row_starts, ends, strict=True):
        ids = torch.tensor([trajectory.token_ids[start:end]])
        logps = torch.log_softmax(model(input_ids=ids).logits[0].float() / temperature, -1)
        for place in range(start + 1, end):
            if trajectory.loss_mask[place]:
                found.append(logps[place - 1 - start, trajectory.token_ids[place]])
    return torch.stack(found)


def hand_output(objective, model, reference, groups):
    """The loss of an objective on log-probs of separate forward passes, and its value."""
    from torch.nn.utils.rnn import pad_sequence

    from fdiv_gym.registry import coefficients_of

    trajectories = [t for group in groups for t in group.trajectories]

    def padded(rows):
        return pad_sequence(rows, batch_first=True)

    logps = [row_logps(model, t) for t in trajectories]
    with torch.no_grad():
        ref = None if reference is None else [row_logps(reference, t) for t in trajectories]
    old = [torch.tensor([p for p, m in zip(t.logprobs, t.loss_mask, strict=True) if m]) for t in trajectories]
    lengths = torch.tensor([len(row) for row in logps])
    whole = fg.GroupBatch(
        rewards=torch.tensor([r for group in groups for r in group.rewards], dtype=torch.float64),
        index=torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(g.trajectories) for g in groups])),
        old_logps=torch.stack([row.double().sum() for row in old]),
        lengths=lengths,
    )
    coefficients = coefficients_of(objective, whole, None)["rollouts"]
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    batch = fg.MicroBatch(padded(logps), mask, None if ref is None else padded(ref), padded(old), coefficients.rows)
    return objective.loss("rollouts", batch)


def without_rows(groups):
    """The same tokens as if each trajectory were one row: the fault that the tests must see."""
    return [replace(g, trajectories=tuple(replace(t, row_starts=(0,)) for t in g.trajectories)) for g in groups]
