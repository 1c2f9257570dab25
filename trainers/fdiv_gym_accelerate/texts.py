"""Whether the text of each response, which is scored, is that of its tokens, which are trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fdiv_gym as fg

SHOWN = 60


@dataclass(frozen=True)
class TextFault:
    """Responses with a text that is not that of their tokens.

    Args:
        count: how many.
        responses: of how many.
        finding: the likely cause.
        example: text and decoded tokens of the first of them.
    """

    count: int
    responses: int
    finding: str
    example: str


@dataclass(frozen=True)
class Response:
    """One sampled response.

    Args:
        place: number of its trajectory, and of its turn if it has several.
        text: what is judged.
        tokens: without the end token, as far as that is known.
        open: whether the last of the tokens may be an end token other than the tokenizer's own.
    """

    place: str
    text: str
    tokens: list[int]
    open: bool = False


def text_fault(groups: Sequence[fg.TrajectoryGroup], tokenizer: Any) -> TextFault | None:
    """Compare the text of each response with its decoded tokens; None if all agree.

    Tokens are decoded, and texts never encoded: sampled tokens need not be those that the tokenizer would choose for
    the text. White space at the ends and an incomplete character at the end may differ, since engines that decode
    token by token treat them differently. Of an episode whose responses cannot be told apart in its tokens, because
    nothing stands between them, none is compared.
    """
    trajectories = [t for group in groups for t in group.trajectories]
    end_token = getattr(tokenizer, "eos_token_id", None)
    responses = [found for i, t in enumerate(trajectories) for found in responses_of(t, i, end_token)]
    decoded: list[str] = tokenizer.batch_decode([r.tokens for r in responses], skip_special_tokens=False)
    wrong = [i for i, r in enumerate(responses) if bare(r.text) != bare(decoded[i])]
    wrong = [i for i in wrong if not (responses[i].open and _ends_specially(responses[i], tokenizer))]
    if not wrong:
        return None
    plain: list[str] = tokenizer.batch_decode([responses[i].tokens for i in wrong], skip_special_tokens=True)
    pairs = [(bare(responses[i].text), bare(decoded[i])) for i in wrong]
    others = {bare(text) for text in decoded}
    if all(text == bare(other) for (text, _), other in zip(pairs, plain, strict=True)):
        finding = "special tokens are missing from the text, where a verifier would see them"
    elif any(text for text, _ in pairs) and all(text in others for text, _ in pairs):
        finding = "the texts are those of other responses of the batch"
    elif all(whole.startswith(text) for text, whole in pairs):
        finding = "the texts end before their tokens do"
    else:
        finding = "the texts are not the decoded tokens"
    first, whole = responses[wrong[0]], decoded[wrong[0]]
    example = f"response {first.place} has the text {quoted(first.text)}, and its tokens decode to {quoted(whole)}"
    return TextFault(len(wrong), len(responses), finding, example)


def responses_of(trajectory: fg.Trajectory, number: int, end_token: int | None) -> list[Response]:
    """The responses of a trajectory with their tokens, from all of its rows."""
    transcript = trajectory.transcript
    if transcript is None or len(transcript.responses) <= 1:
        return [Response(str(number), trajectory.text, body_of(trajectory))]
    runs = [part for run in runs_of(trajectory) for part in _split(run, end_token)]
    if len(runs) != len(transcript.responses):
        return []
    found = []
    for turn, (text, run) in enumerate(zip(transcript.responses, runs, strict=True), 1):
        last = turn == len(runs)
        ended = trajectory.stop_reason == "eos" if last else run[-1] == end_token
        place = f"{number}, turn {turn},"
        found.append(Response(place, text, run[:-1] if ended else run, open=not last and not ended))
    return found


def _ends_specially(response: Response, tokenizer: Any) -> bool:
    """Whether the text is that of the tokens before the last one, which is a special token and so ended the turn."""
    *body, last = response.tokens
    special: str = tokenizer.decode([last], skip_special_tokens=True)
    return not special and bare(tokenizer.decode(body, skip_special_tokens=False)) == bare(response.text)


def runs_of(trajectory: fg.Trajectory) -> list[list[int]]:
    """The sampled tokens of a trajectory, a list for each stretch of them within a row."""
    runs: list[list[int]] = []
    starts, before = set(trajectory.row_starts), False
    for place, (token, sampled) in enumerate(zip(trajectory.token_ids, trajectory.loss_mask, strict=True)):
        if sampled and (not before or place in starts):
            runs.append([])
        if sampled:
            runs[-1].append(token)
        before = sampled
    return runs


def _split(run: list[int], end_token: int | None) -> list[list[int]]:
    """A stretch of sampled tokens behind each end token in it."""
    ends = [i + 1 for i, token in enumerate(run[:-1]) if token == end_token]
    return [run[a:b] for a, b in itertools.pairwise((0, *ends, len(run)))]


def body_of(trajectory: fg.Trajectory) -> list[int]:
    """The tokens of the last response, without its end token."""
    runs = runs_of(trajectory)
    run = runs[-1] if runs else []
    return run[:-1] if trajectory.stop_reason == "eos" else run


def bare(text: str) -> str:
    """The text without what may differ between two ways to decode the same tokens."""
    return text.strip().rstrip("\ufffd").rstrip()


def quoted(text: str) -> str:
    """The text as one short line."""
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")
