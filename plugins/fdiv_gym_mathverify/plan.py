"""Plan: reduces a reference and an answer to pairs of values that must all be equal.

Everything that the form of the two decides is decided here: texts, choices, units, percent, lists and
ambiguous answers. The rest are pairs of plain values for the fast path or a worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fdiv_gym.rewards import Extracted, normalise, plain, squeezed
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.bases import other_base, same_numeral
from fdiv_gym_mathverify.choices import choice, is_joined, letters, names_option, only
from fdiv_gym_mathverify.comparison import Comparison, Mismatch, Pair, raise_unless
from fdiv_gym_mathverify.effort import excess
from fdiv_gym_mathverify.families import compare_families
from fdiv_gym_mathverify.filter import Limits, refusal
from fdiv_gym_mathverify.finished import operation
from fdiv_gym_mathverify.inequalities import region
from fdiv_gym_mathverify.labels import without_label
from fdiv_gym_mathverify.lists import compare_lists
from fdiv_gym_mathverify.notation import as_symbols
from fdiv_gym_mathverify.percents import compare_percent
from fdiv_gym_mathverify.quantities import compare_units, same_amount
from fdiv_gym_mathverify.ratios import compare_ratios, without_names
from fdiv_gym_mathverify.regions import compare_regions
from fdiv_gym_mathverify.scales import in_full
from fdiv_gym_mathverify.sides import reduce_equations
from fdiv_gym_mathverify.spacing import side_by_side
from fdiv_gym_mathverify.spellings import in_symbols, uniform_set, without_point_names
from fdiv_gym_mathverify.structure import equation_parts, listing, without_member
from fdiv_gym_mathverify.texts import foreign_words, is_choice, is_text, remainder, trigonometric
from fdiv_gym_mathverify.units import same_words, split_unit
from fdiv_gym_mathverify.wordings import in_mathematics, same_text, time_of_day

_DOTS = re.compile(r"\\ldots|\.\.\.")
_ROUGH = "\\approx"
_MAX_ANSWERS = 4
_COMPOUND = re.compile(r"[,;:<>_]|\\(?:cup|leq|geq|neq|in|pm)(?![A-Za-z])")
_OR_INSIDE = re.compile(r"[(\[][^()\[\]]{0,200}(?<![A-Za-z\\])or(?![A-Za-z])[^()\[\]]{0,200}[)\]]")
_AT_INFINITY = re.compile(r"\[\s{0,3}[-+]?\s{0,3}\\infty|\\infty\s{0,3}\]")
_IN_DEGREES = re.compile(r"\\circ(?![A-Za-z])|\\deg(?![A-Za-z])|degrees?(?![A-Za-z])")
# The parser reads what stands behind them.
_RELATION = re.compile(r"\\(?:in|ni|notin|equiv)(?![A-Za-z])")
_ALTERNATIVE = re.compile(r"\\text ?\{ ?or ?\}")
_IN_RADIANS = re.compile(r"rad(?:ians?)?(?![A-Za-z])")
_INEQUALITY = re.compile(r"[<>]|\\leq|\\geq")


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision, or the comparisons that are left.

    Args:
        score: the decision, if there is one already.
        unscorable: why no answer could be judged against this reference.
        detail: the reason, on one line.
        pairs: values that must all be equal, if nothing is decided yet.
    """

    score: float | None = None
    unscorable: str = ""
    detail: str = ""
    pairs: tuple[Pair, ...] = ()


def make_plan(
    reference: str, answer: str, limits: Limits, allow_unevaluated: bool = False, strict: bool = False
) -> Plan:
    """Compare by form and collect the values that remain.

    Args:
        reference: the reference answer, from ``reference_answer``.
        answer: the answer, from ``extract``.
        limits: how much an answer may hold; a reference may hold four times as much text.
        allow_unevaluated: accept ``12*13`` where the reference is the number 156.
        strict: no words after a number but the unit of the reference.
    """
    if len(reference) > 4 * limits.length:
        return Plan(unscorable=f"the reference has more than {4 * limits.length} characters")
    if len(answer) > limits.length and answer != reference:
        return Plan(0.0, detail=f"refused: more than {limits.length} characters")
    same = _same_digits(reference, answer)
    if same is not None:
        return _decision(same, "number")
    gold, pred = in_symbols(in_full(normalise(reference))), in_symbols(in_full(normalise(answer)))
    if gold.startswith(_ROUGH):
        gold, pred = gold.removeprefix(_ROUGH).strip(), pred.removeprefix(_ROUGH).strip()
    if not strict:
        gold, pred = in_mathematics(gold), in_mathematics(pred)
    if gold and not pred:
        return Plan(0.0, detail="the answer is empty")
    if not gold:
        return Plan(unscorable="the reference is empty")
    chosen = _choice_plan(gold, pred, limits, allow_unevaluated)
    if chosen is not None:
        return chosen
    whole = _same_whole(gold, pred, strict)
    if whole is not None:
        return whole
    unit_free = split_unit(gold, trusted=True)[0]
    refused = refusal(unit_free, _limits_of_reference(limits))
    if refused:
        return Plan(unscorable=f"the reference is not a mathematical expression: {refused}")
    if squeezed(gold) == squeezed(pred):
        return Plan(1.0, detail="same text")
    refused = refusal(split_unit(pred)[0], _limits_for(unit_free, limits))
    if refused:
        return Plan(0.0, detail=f"refused: {refused}")
    if side_by_side(pred) > side_by_side(gold):
        return Plan(0.0, detail="several numbers side by side")
    comparison = Comparison(limits, allow_unevaluated, strict)
    try:
        _compare(*as_symbols(gold, pred), comparison)
    except Mismatch as mismatch:
        return Plan(0.0, detail=str(mismatch))
    if not comparison.pairs:
        return Plan(1.0, detail="same form")
    if fast.parse_number(pred) is None:
        refused = excess(pred, gold) or ("" if allow_unevaluated else operation(gold, pred))
        if refused:
            return Plan(0.0, detail=f"refused: {refused}")
    return Plan(pairs=tuple(comparison.pairs))


def _same_digits(reference: str, answer: str) -> bool | None:
    """Whether two plain numerals are equal; None for anything else, and where rounding may hide a difference."""
    first = fast.parse_number(reference)
    second = fast.parse_number(answer.removeprefix("\\$")) if first is not None else None
    if first is None or second is None or {first.form, second.form} - {"int", "dec"}:
        return None
    return fast.compare(first, second)


def plan_all(
    reference: str, found: Extracted, limits: Limits, allow_unevaluated: bool = False, strict: bool = False
) -> Plan:
    """``make_plan`` for everything that a response gives as its answer.

    Boxes at the end that only commas, "and" or "or" join are one list if the reference is a list. Different answers
    must all be right: a right one beside a wrong one is a guess.
    """
    if not reference.strip("$ {}~\\"):
        return Plan(unscorable="the reference is empty")
    if found.joined and len(listing(uniform_set(normalise(reference))).items) > 1:
        return make_plan(reference, found.joined, limits, allow_unevaluated, strict)
    answers = found.answers if found.answer is None else (found.answer,)
    if not 0 < len(answers) <= _MAX_ANSWERS:
        return Plan(0.0, detail=found.reason)
    plans = [make_plan(reference, answer, limits, allow_unevaluated, strict) for answer in answers]
    if len(plans) == 1 or any(plan.unscorable for plan in plans):
        return plans[0]
    if any(plan.score == 0.0 for plan in plans):
        return Plan(0.0, detail=found.reason)
    pairs = tuple(pair for plan in plans for pair in plan.pairs)
    return Plan(pairs=pairs) if pairs else Plan(1.0, detail="same answer in every box")


def _same_whole(gold: str, pred: str, strict: bool) -> Plan | None:
    """The plan of a quotient with a remainder, an amount in several units, a time of day or words; None for others."""
    divided = remainder(gold)
    if divided:
        return _decision(remainder(pred) == divided, "quotient and remainder")
    same = None if strict else same_amount(gold, pred)
    if same is not None:
        return _decision(same, "amount")
    time = time_of_day(gold)
    if time and not strict:
        return _decision(time_of_day(pred) == time, "time of day")
    if not is_text(gold):
        return None
    return _decision(plain(gold) == plain(pred) or (not strict and same_text(gold, pred)), "text")


def _choice_plan(gold: str, pred: str, limits: Limits, allow_unevaluated: bool) -> Plan | None:
    """The plan of a multiple choice; None if neither text is one."""
    several = letters(gold)
    if several:
        return _decision(letters(pred) == several and (is_joined(gold) or not is_joined(pred)), "choices")
    wanted, given = choice(gold), choice(pred)
    if wanted is None or not (names_option(wanted, gold) if wanted.value else is_choice(gold)):
        # "(B) 16" for 16: the letter is not known, the value is.
        if given is None or not given.value or given.letter in gold or not names_option(given, pred):
            return None
        return make_plan(gold, given.value, limits, allow_unevaluated)
    if given is None:
        return make_plan(wanted.value, pred, limits, allow_unevaluated) if wanted.value else _decision(False, "choice")
    if given.letter != wanted.letter or not given.value or not wanted.value:
        return _decision(given.letter == wanted.letter and only(given), "choice")
    return make_plan(wanted.value, given.value, limits, allow_unevaluated)


def _decision(same: bool, what: str) -> Plan:
    return Plan(1.0 if same else 0.0, detail=f"same {what}" if same else f"different {what}")


def _limits_of_reference(limits: Limits) -> Limits:
    return Limits(4 * limits.length, limits.depth, 4 * limits.length, 10**18)


def _limits_for(reference: str, limits: Limits) -> Limits:
    # An answer may have an exponent as large as that of the reference; the deadline bounds the evaluation.
    if refusal(reference, limits):
        return Limits(limits.length, limits.depth, limits.length, 10**18)
    return limits


def _compare(gold: str, pred: str, comparison: Comparison) -> None:
    """Add the pairs that must be equal, or raise Mismatch."""
    pred = pred if comparison.strict else without_label(gold, pred)
    if squeezed(gold) == squeezed(pred):
        return
    gold, pred = without_names(gold, pred)
    alternatives = _ALTERNATIVE.split(pred) if "or" in pred else []
    if len(alternatives) == 2 and fast.parse_number(gold) and all(map(fast.parse_number, alternatives)):
        for part in alternatives:  # "3/4 or 0.75" is one number, written twice
            _compare_values(gold, part.strip(), comparison)
        return
    _refuse_marks(gold, pred)
    if compare_families(gold, pred, comparison):
        return
    _refuse_hedging(gold, pred)
    if compare_ratios(gold, pred, comparison, _compare):
        return
    gold, pred = without_point_names(uniform_set(gold), uniform_set(pred))
    if compare_regions(gold, pred, comparison, _compare):
        return
    gold, pred = reduce_equations(gold, pred, comparison)
    if _INEQUALITY.search(gold) or _INEQUALITY.search(pred):
        _compare_inequalities(gold, pred, comparison)
        return
    golds, preds = listing(gold), listing(pred)
    if len(golds.items) > 1 or len(preds.items) > 1 or golds.left == "\\{" or preds.left == "\\{":
        compare_lists(golds, preds, comparison, _compare)
    else:
        _compare_values(gold, pred, comparison)


def _refuse_marks(gold: str, pred: str) -> None:
    """Refuse a percent mark inside a list, degrees for radians, "or" inside brackets and a closed end at infinity."""
    in_radians = "\\pi" in gold and not _IN_DEGREES.search(gold) and not _IN_RADIANS.search(gold)
    if in_radians and not trigonometric(pred):
        raise_unless(not _IN_DEGREES.search(pred), "degrees where the reference is in radians")
    if "%" in pred and "%" not in gold:
        number = fast.parse_number(split_unit(equation_parts(gold)[-1], trusted=True)[0])
        raise_unless(number is not None and not _COMPOUND.search(gold), "a percent mark beside more than one number")
    for pattern, reason in (
        (_OR_INSIDE, "alternatives inside brackets"),
        (_AT_INFINITY, "a closed bracket at infinity"),
    ):
        raise_unless(not pattern.search(pred) or bool(pattern.search(gold)), reason)


def _refuse_hedging(gold: str, pred: str) -> None:
    raise_unless("?" not in pred, "a question mark in the answer")
    if _DOTS.search(pred) and not _DOTS.search(gold):
        raise Mismatch("an ellipsis that the reference does not have")
    raise_unless("," not in gold or len(_DOTS.findall(gold)) == len(_DOTS.findall(pred)), "a list without its ellipsis")
    raise_unless(not other_base(gold, pred), "a base that the reference does not name")
    raise_unless(pred.count("'") == gold.count("'"), "different number of primes")
    words = foreign_words(split_unit(pred)[0], gold)
    if words and not same_words(words, split_unit(gold, trusted=True)[1]):
        raise Mismatch(f"words that the reference does not have: {words[:40]!r}")


def _compare_inequalities(gold: str, pred: str, comparison: Comparison) -> None:
    # An inequality may equal an interval; the worker decides.
    both = bool(_INEQUALITY.search(gold) and _INEQUALITY.search(pred))
    wanted, given = region(gold), region(pred)
    solved = wanted is not None or not _INEQUALITY.search(gold)
    if solved and given is None and _INEQUALITY.search(pred) and not comparison.allow_unevaluated:
        raise Mismatch("not solved: no bounds of one variable")
    if both and wanted and given:
        raise_unless(wanted.name == given.name, "different variables")
        comparison.pairs.append((wanted.intervals, given.intervals))
        return
    if both:
        items = len(listing(gold).items), len(listing(pred).items)
        raise_unless(items[1] <= items[0], f"{items[1]} answers where the reference has {items[0]}")
    else:
        interval = listing(pred if _INEQUALITY.search(gold) else gold)
        raise_unless(interval.ordered or "\\cup" in gold + pred, "an inequality against a value")
    comparison.pairs.append((wanted.intervals if wanted else gold, given.intervals if given else pred))


def _compare_values(gold: str, pred: str, comparison: Comparison) -> None:
    pred = without_member(pred)
    raise_unless(not _RELATION.search(pred) or bool(_RELATION.search(gold)), "a relation that the reference has not")
    (value, unit), (given, given_unit) = split_unit(gold, trusted=True), split_unit(pred)
    if "%" in (unit, given_unit):
        raise_unless(
            {unit, given_unit} <= {"%", ""}, f"unit {given_unit or 'none'} where the reference has {unit or 'none'}"
        )
        compare_percent(value, given, unit == "%", given_unit == "%", comparison)
        return
    if comparison.strict and given_unit and not unit:
        added = pred.removeprefix(given).replace("\\circ", "").replace("\\text", "")
        raise_unless(not any(map(str.isalpha, added)), "a unit that the reference does not have")
    if not given_unit and unit:
        given = _without_unit_of(given, unit)
    if unit and given_unit and not compare_units((value, unit), (given, given_unit), comparison):
        return
    same = same_numeral(value, given)
    if same is not None:
        raise_unless(same, "different number or base")
        return
    if squeezed(value) != squeezed(given):
        comparison.add(value, given, finished=True)


def _without_unit_of(given: str, unit: str) -> str:
    value, words = split_unit(given, trusted=True)
    return value if words == unit else given
