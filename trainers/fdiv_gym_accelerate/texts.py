"""Whether the text of each response, which is scored, is that of its tokens, which are trained."""

from __future__ import annotations

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


def text_fault(groups: Sequence[fg.TrajectoryGroup], tokenizer: Any) -> TextFault | None:
    """Compare the texts with the decoded tokens of each trajectory's last response; None if all agree.

    Tokens are decoded, and texts never encoded: sampled tokens need not be those that the tokenizer would choose for
    the text. White space at the ends and an incomplete character at the end may differ, since engines that decode
    token by token treat them differently.
    """
    trajectories = [t for group in groups for t in group.trajectories]
    bodies = [body_of(t) for t in trajectories]
    decoded: list[str] = tokenizer.batch_decode(bodies, skip_special_tokens=False)
    wrong = [i for i, t in enumerate(trajectories) if not agree(t, decoded[i])]
    if not wrong:
        return None
    plain: list[str] = tokenizer.batch_decode([bodies[i] for i in wrong], skip_special_tokens=True)
    pairs = [(bare(trajectories[i].text), bare(decoded[i])) for i in wrong]
    others = {bare(text) for text in decoded}
    if all(text == bare(other) for (text, _), other in zip(pairs, plain, strict=True)):
        finding = "special tokens are missing from the text, where a verifier would see them"
    elif any(text for text, _ in pairs) and all(text in others for text, _ in pairs):
        finding = "the texts are those of other responses of the batch"
    elif all(whole.startswith(text) for text, whole in pairs):
        finding = "the texts end before their tokens do"
    else:
        finding = "the texts are not the decoded tokens"
    text, whole = trajectories[wrong[0]].text, decoded[wrong[0]]
    example = f"response {wrong[0]} has the text {quoted(text)}, and its tokens decode to {quoted(whole)}"
    return TextFault(len(wrong), len(trajectories), finding, example)


def agree(trajectory: fg.Trajectory, decoded: str) -> bool:
    """Whether the last response's text is that of its tokens, which may follow earlier responses without a gap."""
    text, whole, mask = bare(trajectory.text), bare(decoded), trajectory.loss_mask
    runs = sum(sampled and not (i and mask[i - 1]) for i, sampled in enumerate(mask))
    return text == whole or (runs < trajectory.turns and whole.endswith(text))


def body_of(trajectory: fg.Trajectory) -> list[int]:
    """The tokens of the last response, without its end token."""
    mask, ids = trajectory.loss_mask, trajectory.token_ids
    end = len(mask)
    while end and not mask[end - 1]:
        end -= 1
    start = end
    while start and mask[start - 1]:
        start -= 1
    return list(ids[start : end - 1 if trajectory.stop_reason == "eos" and end > start else end])


def bare(text: str) -> str:
    """The text without what may differ between two ways to decode the same tokens."""
    return text.strip().rstrip("\ufffd").rstrip()


def quoted(text: str) -> str:
    """The text as one short line."""
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")
