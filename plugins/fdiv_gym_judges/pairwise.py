"""The judge ``pairwise``: the win rate of a response against its group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pydantic

import fdiv_gym as fg
from fdiv_gym.types import groups_of


class Pairwise(fg.Judge):
    """Win rate within the group: the responses to one task are compared with each other, of a task drawn twice apart.

    A comparison that fails counts for neither side; a response without any comparison (a group of one,
    or all of its comparisons failed) is unscorable. Components: ``win_rate``, ``comparisons``, and
    ``consistent``, the share of its comparisons with the same result in both orders, if the inner judge
    reports it.
    """

    class Options(fg.Options):
        """The inner judge and the number of comparisons."""

        judge: fg.PluginRef[fg.Judge] = fg.PluginRef("rule")
        """A registered judge, or a table with its name and options."""
        opponents: int | None = pydantic.Field(None, ge=1)
        """Compare each response with this many others after it, in a ring; by default with all."""

    options: Options
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "component/win_rate": "Mean share of comparisons that a response wins within its group, from 0 to 1; a tie "
        "counts 0.5.",
        "component/comparisons": "Mean number of comparisons with a verdict for a response.",
        "component/consistent": "Share of comparisons in which both orders have the same winner, from 0 to 1; for "
        "judges that ask in both orders.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = self.options.judge.build()

    async def judge(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[fg.Verdict]:
        """Compare within each group."""
        pairs = [pair for members in groups_of(tasks) for pair in ring(members, self.options.opponents)]
        outcomes = await self.inner.compare(
            [tasks[a] for a, _ in pairs], [responses[a] for a, _ in pairs], [responses[b] for _, b in pairs]
        )
        shares: dict[int, list[float]] = defaultdict(list)
        agreement: dict[int, list[float]] = defaultdict(list)
        for (a, b), outcome in zip(pairs, outcomes, strict=True):
            if outcome.score is None:
                continue
            shares[a].append(outcome.score)
            shares[b].append(1 - outcome.score)
            if "consistent" in outcome.components:
                agreement[a].append(outcome.components["consistent"])
                agreement[b].append(outcome.components["consistent"])
        return [_win_rate(shares[i], agreement[i]) for i in range(len(tasks))]

    def counters(self) -> dict[str, float]:
        """The counters of the inner judge; ``judged`` and ``unscorable`` are those of this judge."""
        own = self.usage.to_dict()
        return {**self.inner.counters(), "judged": own["judged"], "unscorable": own["unscorable"]}

    def parts(self) -> tuple[fg.Judge]:
        """The inner judge."""
        return (self.inner,)

    def close(self) -> None:
        """Close the inner judge."""
        self.inner.close()


def ring(members: Sequence[int], opponents: int | None) -> list[tuple[int, int]]:
    """Pairs of members, each with the next ``opponents`` of them in a ring, no pair twice."""
    n = len(members)
    reach = n // 2 if opponents is None else min(opponents, n // 2)
    pairs = {frozenset((i, (i + d) % n)): (i, (i + d) % n) for d in range(1, reach + 1) for i in range(n)}
    return [(members[a], members[b]) for a, b in pairs.values()]


def _win_rate(shares: list[float], agreement: list[float]) -> fg.Verdict:
    if not shares:
        return fg.Verdict.unscorable("nothing to compare with: a group of one, or every comparison failed")
    rate = sum(shares) / len(shares)
    components = {"win_rate": rate, "comparisons": float(len(shares))}
    if agreement:
        components["consistent"] = sum(agreement) / len(agreement)
    return fg.Verdict(rate, fg.Status.SCORED, components)
