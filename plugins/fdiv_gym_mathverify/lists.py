"""Lists: compares tuples item by item, and sets without order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.claims import in_order
from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.structure import Listing, as_set, assigned_names, right_side, some_names, with_both_signs

Compare = Callable[[str, str, Comparison], None]
"""The comparison of one item with another."""

_ELLIPSES = frozenset({"\\ldots", "..."})


def compare_lists(golds: Listing, preds: Listing, comparison: Comparison, compare: Compare) -> None:
    """Compare item by item where the order matters, else as sets without repetition."""
    golds, preds = with_both_signs(golds), with_both_signs(preds)
    expected, given = len(golds.items), len(preds.items)
    raise_unless(all(preds.items), "a list with an empty item")
    raise_unless("\\emptyset" not in preds.items or expected > 1, "a set that holds the empty set")
    raise_unless(given <= expected, f"{given} answers where the reference has {expected}")
    claims, stated = (any("=" in right_side(item) for item in values.items) for values in (preds, golds))
    raise_unless(claims == stated, "equations against values")
    wanted_names, stated_names = set(some_names(golds.items)), set(some_names(preds.items))
    raise_unless(not wanted_names or stated_names <= wanted_names, "different variables")
    if expected == given == 1 and not golds.ordered and not preds.ordered:
        # A set of one is its element: as a set, the worker could not read a union or an equation.
        raise_unless(not preds.items[0].startswith("\\{"), "a set in a set")
        compare(golds.items[0], preds.items[0], comparison)
        return
    if golds.ordered or preds.ordered:
        same = (golds.left, golds.right) == (preds.left, preds.right)
        round_only = {golds.left, preds.left} == {"", "("} and {golds.right, preds.right} == {"", ")"}
        raise_unless(same or round_only, "different brackets")
        names = assigned_names(preds.items)
        raise_unless(bool(assigned_names(golds.items)) or names == sorted(names), "names out of order")
        _compare_items(golds.items, preds.items, comparison, compare)
        return
    if _ELLIPSES.intersection(golds.items):
        # An ellipsis continues what stands before it.
        raise_unless(_places(golds.items) == _places(preds.items), "an ellipsis in another place")
        wanted, stated_items = (_without_ellipses(listed.items) for listed in (golds, preds))
        _compare_items(wanted, stated_items, comparison, compare)
        return
    names, given_names = assigned_names(golds.items), assigned_names(preds.items)
    if len(set(names)) > 1:
        # "a = 1, b = 2" is no set: its values are assigned by name or by order.
        if given_names:
            raise_unless(sorted(names) == sorted(given_names), "different variables")
            _compare_items(_in_order(golds.items), _in_order(preds.items), comparison, compare)
        else:
            raise_unless(preds.left != "\\{", "a set where the reference names its values")
            _compare_items(tuple(right_side(item) for item in golds.items), preds.items, comparison, compare)
        return
    raise_unless(bool(names) or all(map(in_order, given_names)), "names out of order")
    if not names and len({name.partition("_")[0] for name in given_names}) > 1:
        # "x = 3, y = 2" are two values in an order, "x_1 = 3, x_2 = 2" two roots in any.
        raise_unless(golds.left != "\\{", "names for the members of a set")
        _compare_items(golds.items, tuple(right_side(item) for item in sorted(preds.items)), comparison, compare)
        return
    raise_unless(not names or not given_names or set(names) == set(given_names), "different variables")
    if all((number := fast.parse_number(right_side(item))) and number.form == "int" for item in golds.items):
        for item in preds.items:
            comparison.refuse_unfinished(right_side(golds.items[0]), right_side(item))
    numbers = [fast.parse_number(right_side(item)) for item in (*golds.items, *preds.items)]
    if all(number is not None and number.form != "dec" for number in numbers):
        values = [number.value for number in numbers if number is not None]
        raise_unless(Counter(values[:expected]) == Counter(values[expected:]), "different set of values")
        return
    comparison.pairs.append((as_set(golds), as_set(preds)))


def _without_ellipses(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for item in items if item not in _ELLIPSES)


def _places(items: tuple[str, ...]) -> list[bool]:
    return [item in _ELLIPSES for item in items]


def _in_order(items: tuple[str, ...]) -> tuple[str, ...]:
    """The values of assignments in the order of their names."""
    return tuple(right_side(item) for _, item in sorted(zip(assigned_names(items), items, strict=True)))


def _compare_items(golds: tuple[str, ...], preds: tuple[str, ...], comparison: Comparison, compare: Compare) -> None:
    raise_unless(len(golds) == len(preds), "different number of items")
    for first, second in zip(golds, preds, strict=True):
        compare(first, second, comparison)
