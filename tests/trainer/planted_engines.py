"""Engines with one fault each; apart from it they are the engine ``transformers``."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import ClassVar

import torch

import fdiv_gym as fg

Transformers = type(fg.get_engine("transformers"))


def rotated(items):
    """The items, each at the place of the one before."""
    return [*items[1:], *items[:1]]


class Stale(Transformers):
    """Samples a copy of the weights that is never renewed."""

    def start(self, model, tokenizer):
        super().start(copy.deepcopy(model), tokenizer)

    def update_weights(self, weights):
        pass


class OneBehind(Stale):
    """Samples the weights before the last that it was given."""

    waiting = None

    def update_weights(self, weights):
        if self.waiting is not None:
            self.model.load_state_dict(self.waiting)
        self.waiting = {name: value.clone() for name, value in weights}


class Hot(Transformers):
    """Samples at another temperature, and returns the log-probs of that."""

    def generate(self, prompts, n, sampling):
        return super().generate(prompts, n, replace(sampling, temperature=1.5))


class Raw(Transformers):
    """Returns the log-probs before temperature."""

    def generate(self, prompts, n, sampling):
        groups = super().generate(prompts, n, sampling)
        return [
            [replace(c, logprobs=self.untempered(p, c)) for c in group]
            for p, group in zip(prompts, groups, strict=True)
        ]

    def untempered(self, prompt, completion):
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([[*prompt, *completion.token_ids]])).logits[
                0, len(prompt) - 1 : -1
            ]
        chosen = logits.log_softmax(-1).gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        return tuple(chosen.clamp(max=0).tolist())


class Changed(Transformers):
    """Every completion passes through ``change``."""

    def generate(self, prompts, n, sampling):
        return [[self.change(c) for c in group] for group in super().generate(prompts, n, sampling)]


class Offset(Changed):
    """Log-probs that are not normalised."""

    def change(self, completion):
        return replace(completion, logprobs=tuple(p - 0.5 for p in completion.logprobs))


class BaseTwo(Changed):
    """Logarithms to base 2."""

    def change(self, completion):
        return replace(completion, logprobs=tuple(p / math.log(2) for p in completion.logprobs))


class Late(Changed):
    """Each token has the log-prob of the token before."""

    def change(self, completion):
        return replace(completion, logprobs=(-1.0, *completion.logprobs[:-1]))


class OtherText(Changed):
    """A text that is not that of the tokens."""

    def change(self, completion):
        return replace(completion, text=completion.text[::-1] + "1")


class Permuted(Transformers):
    """The log-probs of another response of the same length."""

    def generate(self, prompts, n, sampling):
        groups = super().generate(prompts, n, sampling)
        flat = [c for group in groups for c in group]
        places = {}
        for i, completion in enumerate(flat):
            places.setdefault(len(completion.token_ids), []).append(i)
        other = {i: j for same in places.values() for i, j in zip(same, rotated(same), strict=True)}
        changed = [replace(c, logprobs=flat[other[i]].logprobs) for i, c in enumerate(flat)]
        return [changed[i : i + n] for i in range(0, len(changed), n)]


class SwappedPrompts(Transformers):
    """Completions of the next prompt."""

    def generate(self, prompts, n, sampling):
        return rotated(super().generate(prompts, n, sampling))


class SwappedTexts(Transformers):
    """The texts of the next prompt's completions."""

    def generate(self, prompts, n, sampling):
        groups = super().generate(prompts, n, sampling)
        pairs = [zip(a, b, strict=True) for a, b in zip(groups, rotated(groups), strict=True)]
        return [[replace(c, text=other.text) for c, other in pair] for pair in pairs]


class TopP(Transformers):
    """Keeps the most likely tokens without being told to."""

    change: ClassVar = {"top_p": 0.9}

    def generate(self, prompts, n, sampling):
        return super().generate(prompts, n, replace(sampling, **self.change))


class TopK(TopP):
    """The same with a number of tokens."""

    change: ClassVar = {"top_k": 3}
