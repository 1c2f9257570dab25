"""Guards around the completions of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, SupportsIndex, get_args

from fdiv_gym.errors import EngineError
from fdiv_gym.registry.guard.boundaries import Plugin, boundary, label_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.types.message import Message
from fdiv_gym.types.text import TextCompletion
from fdiv_gym.types.trajectory import Completion, Sampling, StopReason
from fdiv_gym.types.unicode import normalised, tell_normalised
from fdiv_gym.types.verdict import is_finite_number

#: Rounding may raise the log-prob of a token of probability 1 slightly above 0.
MOST_LOGPROB = 1e-3


class Generator(Plugin, Protocol):
    """The engine methods called here."""

    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling) -> Any: ...  # noqa: D102


class Sampler(Plugin, Protocol):
    """The engine method that ``sampling_of`` calls."""

    def sampling(self, seed: int, greedy: bool = False) -> Any: ...  # noqa: D102


class Respondent(Plugin, Protocol):
    """The engine method that ``texts_of`` calls."""

    def respond(self, chats: Sequence[Sequence[Message]], n: int, sampling: Sampling) -> Any: ...  # noqa: D102


def completions_of(
    engine: Generator, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling
) -> list[list[Completion]]:
    """``engine.generate``, checked.

    Raises:
        PluginError: it failed.
        EngineError: it did not return ``n`` completions for each prompt.
    """
    with boundary(engine, "generate"):
        result: Any = engine.generate(prompts, n, sampling)
    return check_completions(engine, result, len(prompts), n)


def texts_of(
    engine: Respondent, chats: Sequence[Sequence[Message]], n: int, sampling: Sampling
) -> list[list[TextCompletion]]:
    """``engine.respond``, checked.

    Raises:
        PluginError: it failed.
        EngineError: it did not return ``n`` text completions for each chat.
    """
    with boundary(engine, "respond"):
        result: Any = engine.respond(chats, n, sampling)
    return check_texts(engine, result, len(chats), n)


def sampling_of(engine: Sampler, seed: int, greedy: bool = False) -> Sampling:
    """``engine.sampling``, checked.

    Raises:
        PluginError: it failed.
        EngineError: it returned no Sampling.
    """
    with boundary(engine, "sampling"):
        sampling: object = engine.sampling(seed, greedy)
    if not isinstance(sampling, Sampling):
        raise EngineError(f"{label_of(engine)}: sampling must return a Sampling, got {shorten(sampling)}")
    return sampling


def check_completions(engine: Plugin, result: Any, prompts: int, n: int) -> list[list[Completion]]:
    """Refuse anything but ``n`` completions for each prompt, with a log-prob for each token.

    Raises:
        EngineError: naming the plugin, what it returned and what was expected.
    """
    label = label_of(engine)
    _check_counts(label, result, prompts, n)
    for completion in (c for group in result for c in group):
        if not isinstance(completion, Completion):
            raise EngineError(f"{label} must return Completion objects, got {shorten(completion)}")
        _check_completion(label, completion)
    return _with_valid_text(label, result)


def check_texts(engine: Plugin, result: Any, chats: int, n: int) -> list[list[TextCompletion]]:
    """Refuse anything but ``n`` text completions for each chat.

    Raises:
        EngineError: naming the plugin, what it returned and what was expected.
    """
    label = label_of(engine)
    _check_counts(label, result, chats, n)
    for completion in (c for group in result for c in group):
        if not isinstance(completion, TextCompletion):
            raise EngineError(f"{label} must return TextCompletion objects, got {shorten(completion)}")
        _check_text(label, completion)
        count = completion.tokens
        if count is not None and not (is_finite_number(count) and count >= 0):
            raise EngineError(f"{label} returned tokens = {shorten(count)}, expected a number of at least 0 or None")
        if not isinstance(completion.withheld, str):
            raise EngineError(f"{label} returned withheld = {shorten(completion.withheld)}, expected a string")
        if not isinstance(completion.no_room, bool):
            raise EngineError(f"{label} returned no_room = {shorten(completion.no_room)}, expected True or False")
    changed = sum(normalised(c.text) != c.text for group in result for c in group)
    tell_normalised(changed, label)
    return [[replace(c, text=normalised(c.text), withheld=normalised(c.withheld)) for c in group] for group in result]


def _check_counts(label: str, result: Any, prompts: int, n: int) -> None:
    if not _is_list(result) or not all(_is_list(group) for group in result):
        raise EngineError(f"{label} must return a list of completions for each prompt, got {shorten(result)}")
    counts = [len(group) for group in result]
    if counts != [n] * prompts:
        raise EngineError(f"{label} returned {counts[:8]} completions, expected {n} for each of {prompts} prompts")


def _check_text(label: str, completion: Completion | TextCompletion) -> None:
    if not isinstance(completion.text, str):
        raise EngineError(f"{label} returned the text {shorten(completion.text)}, expected a string")
    if completion.stop_reason not in get_args(StopReason):
        raise EngineError(
            f"{label} returned the stop_reason {shorten(completion.stop_reason)}, expected "
            f"{' or '.join(repr(reason) for reason in get_args(StopReason))}"
        )


def _with_valid_text(label: str, result: list[list[Completion]]) -> list[list[Completion]]:
    """The completions with lone surrogates replaced: every later reader writes or encodes the text."""
    count = sum(normalised(completion.text) != completion.text for group in result for completion in group)
    tell_normalised(count, label)
    return [[replace(c, text=normalised(c.text)) for c in group] for group in result] if count else result


def _check_completion(label: str, completion: Completion) -> None:
    for name in ("token_ids", "logprobs"):
        if not _is_list(getattr(completion, name)):
            raise EngineError(f"{label} returned {name} = {shorten(getattr(completion, name))}, expected a tuple")
    _check_text(label, completion)
    if len(completion.token_ids) != len(completion.logprobs):
        raise EngineError(
            f"{label} returned {len(completion.token_ids)} tokens with {len(completion.logprobs)} log-probs: "
            "every sampled token needs its log-prob"
        )
    strange = [t for t in completion.token_ids if not _is_token(t)]
    if strange:
        raise EngineError(f"{label} returned the token id {shorten(strange[0])}, expected an integer of at least 0")
    wrong = [p for p in completion.logprobs if not is_finite_number(p) or p > MOST_LOGPROB]
    if wrong:
        raise EngineError(f"{label} returned the log-prob {shorten(wrong[0])}, expected a finite number of at most 0")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_token(value: object) -> bool:
    if type(value) is int:  # checking the protocol takes 10 us, and there are many tokens
        return value >= 0
    # numpy's integers support __index__ too; so does bool, which is not a token.
    return isinstance(value, SupportsIndex) and not isinstance(value, bool) and value.__index__() >= 0
