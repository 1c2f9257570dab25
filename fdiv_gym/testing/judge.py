"""The conformance kit for judges."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence

from fdiv_gym.registry.guard import check_verdict, label_of
from fdiv_gym.rewards.judge import Judge
from fdiv_gym.testing.hostile import GARBAGE, HOSTILE, shown, within
from fdiv_gym.testing.report import Report
from fdiv_gym.types.task import Task

TASK = Task("How do I boil an egg?", "Seven minutes in boiling water.")
ANSWERS = ("Seven minutes in boiling water.", "No.", GARBAGE)

#: (task, the better response, the worse one)
Ordered = Sequence[tuple[Task, str, str]]


def check_judge(judge: Judge, ordered: Ordered = (), *, deterministic: bool = True, seconds: float = 60.0) -> Report:
    """Check a judge against its contract.

    Args:
        judge: an instance; it is left closed.
        ordered: pairs of responses of known order; the judge must score the first of each above the second.
        deterministic: whether equal input must get equal scores (False for a sampling language model).
        seconds: time limit for one batch.

    Returns:
        A report with one entry for each check.
    """
    report = Report(label_of(judge))
    checks: dict[str, Callable[[Judge, Report, float], None]] = {
        "verdicts": check_verdicts,
        "empty-batch": _empty_batch,
        "hostile": _hostile,
        "running-loop": _running_loop,
        "pickle": _pickle,
    }
    if deterministic:
        checks |= {"deterministic": _deterministic}
    for name, check in checks.items():
        with report.section(name):
            check(judge, report, seconds)
    with report.section("order"):
        for task, better, worse in ordered:
            first, second = within(seconds, lambda t=task, b=better, w=worse: judge.judge_batch([t, t], [b, w]))  # type: ignore[misc]
            right = first.score is not None and second.score is not None and first.score > second.score
            report.check(
                "order", right,
                f"{shown(better)} got {first.score} and {shown(worse)} got {second.score}, expected the first above",
            )  # fmt: skip
    with report.section("close"):
        judge.close()
        judge.close()
    return report


def _scores(judge: Judge, texts: Sequence[str], seconds: float) -> list[float | None]:
    return [v.score for v in within(seconds, lambda: judge.judge_batch([TASK] * len(texts), texts))]


def check_verdicts(judge: Judge, report: Report, seconds: float) -> None:
    """One Verdict in range for each of three ordinary responses."""
    low, high = judge.score_range
    report.check("verdicts", low < high, f"score_range is {judge.score_range}, expected (low, high) with low < high")
    verdicts = within(seconds, lambda: asyncio.run(judge.judge([TASK] * len(ANSWERS), ANSWERS)))
    if len(verdicts) != len(ANSWERS):
        report.fail("verdicts", f"judge() returned {len(verdicts)} verdicts for {len(ANSWERS)} responses")
        return
    for verdict in verdicts:
        check_verdict(judge, verdict)


def _empty_batch(judge: Judge, report: Report, seconds: float) -> None:
    result = within(seconds, lambda: judge.judge_batch([], []))
    report.check("empty-batch", list(result) == [], f"judge_batch([], []) is {result!r}, expected []")


def _hostile(judge: Judge, report: Report, seconds: float) -> None:
    for name, text in HOSTILE.items():
        try:
            verdicts = within(seconds, lambda text=text: judge.judge_batch([TASK], [text]))  # type: ignore[misc]
            check_verdict(judge, verdicts[0])
        except (Exception, SystemExit) as error:
            report.fail("hostile", f"{name} ({shown(text)}): {type(error).__name__}: {error}; expected a Verdict")


def _running_loop(judge: Judge, report: Report, seconds: float) -> None:
    async def inside() -> int:
        return len(judge.judge_batch([TASK], [ANSWERS[0]]))

    count = within(seconds, lambda: asyncio.run(inside()))
    report.check("running-loop", count == 1, f"judge_batch inside a running loop returned {count} verdicts, expected 1")


def _pickle(judge: Judge, report: Report, seconds: float) -> None:
    other = pickle.loads(pickle.dumps(judge))
    try:
        count = len(within(seconds, lambda: other.judge_batch([TASK], [ANSWERS[0]])))
    finally:
        other.close()
    report.check("pickle", count == 1, f"a pickled copy returned {count} verdicts, expected 1")


def _deterministic(judge: Judge, report: Report, seconds: float) -> None:
    first, second = _scores(judge, ANSWERS, seconds), _scores(judge, ANSWERS, seconds)
    report.check("deterministic", first == second, f"the same responses were scored {first} and then {second}")
