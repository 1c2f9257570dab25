"""Replies of a vLLM server, read strictly: another program may answer, or a version with other names."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import fdiv_gym as fg
from fdiv_gym_vllm.backend import Sample

SHOWN = 200


@dataclass(frozen=True)
class Asked:
    """What the samples of a request must keep to.

    Args:
        n: their number.
        max_new_tokens: of each.
        eos: the tokens that end a sample.
        vocabulary: number of tokens that the model knows.
    """

    n: int
    max_new_tokens: int
    eos: Collection[int]
    vocabulary: int


def card_of(address: str, reply: Any) -> tuple[str, int]:
    """Name and context of the served model.

    Raises:
        EngineError: the reply does not have them.
    """
    card = _item(_value(reply, "data"), 0)
    name, context = _value(card, "id"), _value(card, "max_model_len")
    if not isinstance(name, str) or not _is_integer(context) or context < 1:
        _refuse(address, "did not name a model with its max_model_len", reply)
    return name, int(context)


def samples_of(address: str, reply: Any, asked: Asked) -> list[Sample]:
    """The samples of a prompt, in the order of their indices.

    Raises:
        EngineError: another number of samples than asked for, or one that is not what vLLM would return.
    """
    choices = _value(reply, "choices")
    if not isinstance(choices, list):
        _refuse(address, "did not return the samples of a prompt", reply)
    if len(choices) != asked.n:
        raise fg.EngineError(f"the server {address} returned {len(choices)} samples of a prompt, asked for {asked.n}")
    by_index = {_value(choice, "index"): choice for choice in choices if _is_integer(_value(choice, "index"))}
    if sorted(by_index) != list(range(asked.n)):
        _refuse(address, f"did not number its samples from 0 to {asked.n - 1}", choices)
    return [_sample(address, by_index[i], asked) for i in range(asked.n)]


def scores_of(address: str, reply: Any, tokens: Sequence[int]) -> tuple[float, ...]:
    """The log-prob of each token but the first.

    Raises:
        EngineError: one is missing, or not finite.
    """
    places = _value(_item(_value(reply, "choices"), 0), "prompt_logprobs")
    if not isinstance(places, list) or len(places) != len(tokens):
        _refuse(address, f"did not return the log-probs of {len(tokens)} prompt tokens", reply)
    scores = [_value(_value(place, str(token)), "logprob") for token, place in zip(tokens[1:], places[1:], strict=True)]
    if not all(_is_finite(score) for score in scores):
        _refuse(address, "returned log-probs of prompt tokens that are missing or not finite", scores)
    return tuple(float(score) for score in scores)


def _sample(address: str, choice: Any, asked: Asked) -> Sample:
    tokens, logprobs = _value(choice, "token_ids"), _value(_value(choice, "logprobs"), "token_logprobs")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs) or not tokens:
        raise fg.EngineError(
            f"the server {address} did not return the token ids with one log-prob each: it must be a vLLM server "
            "that knows return_token_ids"
        )
    if not all(_is_integer(token) and 0 <= token < asked.vocabulary for token in tokens):
        _refuse(address, f"returned token ids outside of the model's vocabulary of {asked.vocabulary}", tokens)
    if not all(_is_finite(logprob) for logprob in logprobs):
        _refuse(address, "returned log-probs that are missing or not finite", logprobs)
    end = next((i for i, token in enumerate(tokens) if token in asked.eos), len(tokens)) + 1
    complete = end == len(tokens) or (end > len(tokens) and len(tokens) == asked.max_new_tokens)
    if not complete or len(tokens) > asked.max_new_tokens:
        _refuse(
            address,
            f"returned a sample that ends neither at its first end token ({', '.join(map(str, sorted(asked.eos)))}) "
            f"nor after engine.max_new_tokens = {asked.max_new_tokens} tokens",
            tokens,
        )
    return Sample(tuple(tokens), tuple(float(p) for p in logprobs))


def _refuse(address: str, what: str, given: object) -> NoReturn:
    shown = str(given)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    raise fg.EngineError(f"the server {address} {what}: {shown}; it must be a vLLM server that serves this model")


def _value(given: Any, key: str) -> Any:
    return given.get(key) if isinstance(given, dict) else None


def _item(given: Any, place: int) -> Any:
    return given[place] if isinstance(given, list) and len(given) > place else None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
