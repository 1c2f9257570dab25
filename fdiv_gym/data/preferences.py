"""Preference data: pairs or labelled single responses, local or from the hub, validated and deduplicated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdiv_gym.data.config import PreferencesConfig
from fdiv_gym.data.parsing import parse_rows
from fdiv_gym.data.records import read_records
from fdiv_gym.errors import ConfigError
from fdiv_gym.types.message import plain_prompt
from fdiv_gym.types.preference import PreferenceUnit, digest

if TYPE_CHECKING:
    from fdiv_gym.models.chat import ChatEncoder


@dataclass(frozen=True)
class PreferenceData:
    """A preference data set after validation.

    Args:
        units: the training units, in the order of the source.
        heldout: the held-out units; none of their prompts occurs in ``units``.
        counts: ``read``, ``kept``, ``heldout``, ``duplicates``, ``contradictions`` (the same two responses
            preferred both ways; they are kept), ``invalid`` and ``invalid/<reason>``.
        paired: whether every unit is a pair.
        fingerprint: SHA-256 (first 16 hex digits) over all units, to check that a resumed run has the same data.
    """

    units: tuple[PreferenceUnit, ...]
    heldout: tuple[PreferenceUnit, ...]
    counts: dict[str, int]
    paired: bool
    fingerprint: str


@dataclass(frozen=True)
class PreferenceRow:
    """One response as tokens, with the end token unless it was cut; ``unit`` is the index of its unit."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    chosen: bool
    unit: int


def load_preferences(config: PreferencesConfig) -> PreferenceData:
    """Read, check, deduplicate and split a preference data set.

    Raises:
        ConfigError: no such data, no such column, no valid row or too many invalid ones; the message
            names the file and the line.
        MissingExtraError: the ``datasets`` package is needed and not installed.
    """
    rows = read_records(config.path, config.split, config.revision, "preferences")
    units, invalid = parse_rows(rows, config)
    if len(invalid) > config.max_invalid * len(rows):
        shown = "; ".join(f"{place}: {reason}" for place, reason in invalid[:5])
        raise ConfigError(
            f"preferences {config.path}: {len(invalid)} of {len(rows)} rows are invalid ({shown}); "
            f"correct them, or allow a larger share with preferences.max_invalid (now {config.max_invalid})"
        )
    distinct = list(dict.fromkeys(units))
    if not distinct:
        raise ConfigError(f"preferences {config.path} has no rows: give a file with pairs or labelled responses")
    kept, heldout = _split(distinct, config.heldout_fraction)
    counts = {
        "read": len(rows),
        "kept": len(kept),
        "heldout": len(heldout),
        "duplicates": len(units) - len(distinct),
        "contradictions": _contradictions(distinct),
        "invalid": len(invalid),
        **{f"invalid/{reason}": n for reason, n in sorted(Counter(r for _, r in invalid).items())},
    }
    fingerprint = digest([unit.key() for unit in distinct])[:16]
    return PreferenceData(tuple(kept), tuple(heldout), counts, all(u.paired for u in distinct), fingerprint)


def encode_units(
    units: Sequence[PreferenceUnit], encoder: ChatEncoder, config: PreferencesConfig, *, required: bool = True
) -> tuple[list[PreferenceRow], dict[str, int]]:
    """Tokens of every unit that fits, a pair as its chosen row followed by its rejected row.

    Args:
        units: the units to encode.
        encoder: the policy's tokenizer.
        config: the limits on lengths.
        required: whether it is an error if no unit fits.

    Returns:
        The rows, and counts: ``encoded`` (units), ``prompt_too_long`` (units left out),
        ``same_after_cut`` (pairs left out, since both responses are equal after the cut) and ``responses_cut``.

    Raises:
        ConfigError: no unit fits, or a prompt has several messages and the tokenizer no chat template.
    """
    rows: list[PreferenceRow] = []
    counts = dict.fromkeys(("encoded", "prompt_too_long", "same_after_cut", "responses_cut"), 0)
    for number, unit in enumerate(units):
        prompt = tuple(encoder.prompt(unit.prompt))
        if config.max_prompt_tokens is not None and len(prompt) > config.max_prompt_tokens:
            counts["prompt_too_long"] += 1
            continue
        sides = [(text, chosen) for text, chosen in ((unit.chosen, True), (unit.rejected, False)) if text is not None]
        whole = [encoder.response(text) for text, _ in sides]
        cut = [tuple(ids[: config.max_response_tokens]) for ids in whole]
        if len(cut) == 2 and cut[0] == cut[1]:
            counts["same_after_cut"] += 1
            continue
        counts["encoded"] += 1
        counts["responses_cut"] += sum(len(a) < len(b) for a, b in zip(cut, whole, strict=True))
        rows += [PreferenceRow(prompt, ids, chosen, number) for ids, (_, chosen) in zip(cut, sides, strict=True)]
    if units and not rows and required:
        raise ConfigError(
            f"preferences {config.path}: no unit is left after cutting ({counts}): increase "
            "preferences.max_prompt_tokens or preferences.max_response_tokens"
        )
    return rows, counts


def _split(units: list[PreferenceUnit], fraction: float) -> tuple[list[PreferenceUnit], list[PreferenceUnit]]:
    """Split the units by prompt; the prompts with the smallest hashes are held out."""
    prompts = {u.prompt: digest(plain_prompt(u.prompt)) for u in units}
    count = min(max(round(fraction * len(prompts)), 1 if fraction > 0 else 0), len(prompts) - 1)
    chosen = set(sorted(prompts, key=prompts.__getitem__)[:count])
    return [u for u in units if u.prompt not in chosen], [u for u in units if u.prompt in chosen]


def _contradictions(units: Sequence[PreferenceUnit]) -> int:
    known = set(units)
    swapped = [PreferenceUnit(u.prompt, u.rejected, u.chosen) for u in units]
    return sum(u in known for u in swapped) // 2
