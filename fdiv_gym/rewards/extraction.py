"""Extraction of the answer from a response.

Every policy is strict: the answer is in the declared form, and it is one. An ambiguous response has no answer,
because a policy that picks one of several candidates rewards a model for listing candidates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fdiv_gym.rewards.boxes import as_list, find_boxes, joined_boxes
from fdiv_gym.rewards.latex import normalise, squeezed

AnswerFormat = Literal["boxed", "hash", "answer-tag", "last-number", "whole"]

_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+")
_THINK_END = "</think>"
_MOST_COMPARED = 1000
_LONGEST_COMPARED = 2000


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer found in a response, or the reason why there is none.

    Args:
        answer: the text of the answer; ``None`` if the response has none, or several that differ.
        reason: the reason why there is none.
        answers: the different texts in the declared form, if there are several.
        joined: several boxes at the end as one list, if only commas, "and" or "or" stand between them.
    """

    answer: str | None
    reason: str = ""
    answers: tuple[str, ...] = ()
    joined: str = ""


def extract(response: str, policy: AnswerFormat, allow_repeats: bool = True) -> Extracted:
    r"""Find the answer of ``response``.

    Args:
        response: the text of a model. Text up to the last ``</think>`` is ignored.
        policy: ``boxed`` (the content of the one ``\boxed``; placeholders such as ``\boxed{?}`` do not count), ``hash``
            (the line after the one ``####``), ``answer-tag`` (between the one ``<answer>`` and ``</answer>``),
            ``last-number`` or ``whole``.
        allow_repeats: accept several answers if all of them have the same normal form, and report others in
            ``answers`` and ``joined``.
    """
    visible = response.rpartition(_THINK_END)[2]
    if policy == "boxed":
        return _boxed(visible, allow_repeats)
    if policy == "whole":
        found = [visible]
    elif policy == "last-number":
        found = _last_number(visible)
    elif policy == "hash":
        found = [part.split("\n", 1)[0] for part in visible.split("####")[1:]]
    else:
        found = _tags(visible)
    return _single([part.strip() for part in found], policy, allow_repeats)


def in_form(answer: str, policy: AnswerFormat) -> str:
    """The shortest response that gives ``answer`` in the declared form."""
    forms = {"hash": "#### {}", "answer-tag": "<answer>{}</answer>", "boxed": "\\boxed{{{}}}"}
    return forms.get(policy, "{}").format(answer)


def reference_answer(reference: str) -> str:
    r"""The answer in a reference that may be a whole solution.

    This is its last ``\boxed``, the list of its last boxes if only commas, "and" or "or" stand between them, or its
    last ``####`` line.
    """
    boxes = find_boxes(reference)
    if boxes:
        return as_list(reference, joined_boxes(reference, boxes))
    if "\\boxed" in reference or "\\fbox" in reference:
        return ""  # a placeholder
    if "####" in reference:
        return reference.rpartition("####")[2].strip()
    return reference.strip()


def _boxed(text: str, allow_repeats: bool) -> Extracted:
    boxes = find_boxes(text)
    if any(box.content is None for box in boxes):
        return Extracted(None, "a box that is not closed")
    contents = [box.content or "" for box in boxes]
    found = _single(contents, "boxed", allow_repeats)
    if not found.answers:
        return found
    run = joined_boxes(text, boxes)
    members = {_form(box.content or "") for box in run}
    if len(run) < 2 or any(_form(content) not in members for content in contents):
        return found
    return Extracted(None, found.reason, found.answers, as_list(text, run))


def _single(found: list[str], policy: AnswerFormat, allow_repeats: bool) -> Extracted:
    if not found:
        return Extracted(None, f"no answer in the declared form ({policy})")
    reason = f"{len(found)} answers in the declared form ({policy}); one is allowed"
    if len(found) > 1 and not allow_repeats:
        return Extracted(None, reason)
    if len(found) > _MOST_COMPARED:
        return Extracted(None, reason)
    different = found[:1]
    if len(found) > 1:
        different = list({_form(part): part for part in reversed(found)}.values())[::-1]
    if any("\\boxed" in part or "\\fbox" in part for part in different):
        return Extracted(None, "a box in a box")
    if len(different) > 1:
        return Extracted(None, reason, tuple(different))
    return Extracted(found[0]) if found[0] else Extracted(None, "the answer is empty")


def _form(text: str) -> str:
    return squeezed(normalise(text)) if len(text) <= _LONGEST_COMPARED else text


def _tags(text: str) -> list[str]:
    parts = text.split("<answer>")
    if len(parts) - 1 != text.count("</answer>"):
        return [""]
    return [part.partition("</answer>")[0] for part in parts[1:]]


def _last_number(text: str) -> list[str]:
    # The number with its sign, percent or dollar mark; the text around it is ignored.
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    if last is None:
        return []
    start, end = last.span()
    number = last.group().rstrip(",")
    if start and text[start - 1] == "-" and not (start > 1 and text[start - 2].isalnum()):
        number = "-" + number
    if start and text[start - 1] == "/" and start > 1 and text[start - 2] in "0123456789":
        numerator = re.search(r"(-?[0-9]{1,40})\Z", text[max(0, start - 42) : start - 1])
        number = f"{numerator.group(1)}/{number}" if numerator else number
    return [number + ("%" if text[end : end + 1] == "%" or text[end : end + 2] == "\\%" else "")]
