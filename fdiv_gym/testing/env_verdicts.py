"""The checks of episodes, verdicts and votes in the conformance kit for environments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.text import TextEnv
from fdiv_gym.errors import FdivGymError
from fdiv_gym.evaluation.samples import sample_record
from fdiv_gym.registry.guard import check_verdict, metrics_of
from fdiv_gym.rewards.judge import Judge
from fdiv_gym.rewards.verifier import Verifier
from fdiv_gym.testing.env_tasks import SPLITS, sample_tasks
from fdiv_gym.testing.hostile import GARBAGE, HOSTILE, shown, within
from fdiv_gym.testing.plays import outcome
from fdiv_gym.testing.report import Report
from fdiv_gym.types.task import Task
from fdiv_gym.types.trajectory import Trajectory
from fdiv_gym.types.verdict import Verdict


def check_episode(env: TextEnv, report: Report, seconds: float) -> None:
    """An episode ends, and its last step returns the verdict."""
    env.reset(seed=0)
    over, turns = False, 0
    while not over and turns <= env.max_turns:
        _, reward, terminated, truncated, info = env.step(GARBAGE)
        over, turns = terminated or truncated, turns + 1
        report.check("episode", isinstance(reward, float), f"the reward is {reward!r}, expected a float")
        report.check("episode", isinstance(info.get("verdict"), Verdict), "info['verdict'] is missing")
    report.check("episode", over, f"the episode was not over after max_turns = {env.max_turns} responses")
    try:
        env.step(GARBAGE)
    except FdivGymError:
        return
    report.fail("episode", "step() after the end of the episode was accepted, expected an EnvError")


def _judged(env: TextEnv, tasks: Sequence[Task], responses: Sequence[str], seconds: float) -> list[Verdict]:
    verdicts = within(seconds, lambda: list(env.score_batch(tasks, responses)))
    return [check_verdict(env, verdict) for verdict in verdicts]


def check_reference_response(env: TextEnv, report: Report, seconds: float) -> None:
    """The reference response gets the highest score, where answers can be compared with the reference."""
    if not env.has_reference_response:
        return
    high = env.score_range[1]
    for split in SPLITS:
        tasks = judgeable(env, sample_tasks(env, split))
        answers = [env.reference_response(task) for task in tasks]
        missing = sum(answer is None for answer in answers)
        report.check(
            "reference_response",
            missing == 0,
            f"{missing} of {len(tasks)} tasks have no reference response; set has_reference_response = False",
        )
        verdicts = _judged(env, tasks, [answer or "" for answer in answers], seconds)
        for task, answer, verdict in zip(tasks, answers, verdicts, strict=True):
            if answer is not None and verdict.score != high:
                report.fail(
                    "reference_response",
                    f"task {shown(task.text)}: the reference response {shown(answer)} got {outcome(verdict)}, "
                    f"expected the maximum {high}",
                )
                break


def judgeable(env: Environment, tasks: Sequence[Task]) -> list[Task]:
    """The tasks with whose references answers can be compared; ``check_references`` lists the others."""
    unjudgeable: dict[str, str] = getattr(env, "unjudgeable", lambda tasks: {})(tasks)
    return [task for task in tasks if task.answer not in unjudgeable]


def check_rejects_invalid(env: TextEnv, report: Report, seconds: float) -> None:
    """Empty and garbage answers get the minimum, or no score."""
    if not env.has_reference_response:
        return
    low = env.score_range[0]
    tasks = sample_tasks(env)
    for what, text in (("an empty answer", ""), ("garbage", GARBAGE)):
        for task, verdict in zip(tasks, _judged(env, tasks, [text] * len(tasks), seconds), strict=True):
            if verdict.score is not None and verdict.score != low:
                report.fail("rejects_invalid", f"task {shown(task.text)}: {what} got {verdict.score}, expected {low}")
                break


def check_hostile(env: TextEnv, report: Report, seconds: float) -> None:
    """Hostile texts are scored in bounded time."""
    task = sample_tasks(env, count=1)[0]
    for name, text in HOSTILE.items():
        try:
            check_verdict(env, within(seconds, lambda text=text: env.score(task, text)))  # type: ignore[misc]
        except (Exception, SystemExit) as error:
            report.fail("hostile", f"{name} ({shown(text)}): {type(error).__name__}: {error}; expected a Verdict")


def check_votes(env: TextEnv, report: Report, seconds: float) -> None:
    """Votes are strings or None, and metrics finite numbers, for any responses."""
    task = sample_tasks(env, count=1)[0]
    records = []
    for i, text in enumerate(("", GARBAGE, env.reference_response(task) or GARBAGE, *HOSTILE.values())):
        verdict = within(seconds, partial(env.score, task, text))
        trajectory = Trajectory((0,), (0.0,), (True,), text, "eos", verdict)
        place = partial(sample_record, split="train", mode="sampled", index=0, sample=i)
        records.append(within(seconds, partial(place, env, task, trajectory)))
    within(seconds, lambda: metrics_of(env, records))


def check_unscorable(env: TextEnv, report: Report, seconds: float) -> None:
    """An undetermined result has no score: neither from ``step`` nor if a part of the environment fails."""
    task = sample_tasks(env, count=1)[0]
    check_parts(env, report, task, env.reference_response(task) or GARBAGE)


def check_parts(env: Environment, report: Report, task: Task, said: Any) -> None:
    """Whether what was said has no score when a verifier or a judge of the environment gives none."""
    low, high = env.score_range
    reward = env.unscorable_reward
    report.check("unscorable", low <= reward <= high, f"unscorable_reward {reward} is outside [{low}, {high}]")
    before = env.score_batch([task], [said])[0]
    for name, part in list(vars(env).items()):
        if not isinstance(part, (Verifier, Judge)):
            continue
        setattr(env, name, _MuteVerifier() if isinstance(part, Verifier) else _MuteJudge())
        try:
            after = env.score_batch([task], [said])[0]
        finally:
            setattr(env, name, part)
        report.check(
            "unscorable", after.score is None or after.score == before.score,
            f"when its {part.kind} in .{name} returned no score, a response went from {outcome(before)} "
            f"to {after.score}; expected no score",
        )  # fmt: skip


class _MuteVerifier(Verifier):
    """Never returns a score."""

    def verify(self, reference: str, response: str) -> Verdict:
        return Verdict.timeout("the conformance kit tests a missing score")


class _MuteJudge(Judge):
    """Never returns a score."""

    async def judge(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        return [Verdict.unscorable("the conformance kit tests a missing score") for _ in tasks]


def check_batch(env: TextEnv, report: Report, seconds: float) -> None:
    """``score_batch`` and ``score`` return equal verdicts."""
    tasks = sample_tasks(env, count=6)
    responses = [(env.reference_response(t) or "") if i % 2 else GARBAGE for i, t in enumerate(tasks)]
    together = within(seconds, lambda: list(env.score_batch(tasks, responses)))
    if len(together) != len(tasks):
        report.fail("batch", f"score_batch returned {len(together)} verdicts for {len(tasks)} responses")
        return
    for task, response, verdict in zip(tasks, responses, together, strict=True):
        alone = env.score(task, response)
        if (alone.score, alone.status) != (verdict.score, verdict.status):
            report.fail(
                "batch", f"{shown(response)}: score() returned {outcome(alone)}, score_batch() {outcome(verdict)}"
            )
    report.check("batch", list(env.score_batch([], [])) == [], "score_batch([], []) is not []")


def check_deterministic(env: TextEnv, report: Report, seconds: float) -> None:
    """Scoring twice gives the same verdict."""
    tasks = sample_tasks(env, count=6)
    responses = [env.reference_response(task) or GARBAGE for task in tasks]
    first, second = [_judged(env, tasks, responses, seconds) for _ in range(2)]
    for response, a, b in zip(responses, first, second, strict=True):
        if a.score != b.score:
            report.fail("deterministic", f"{shown(response)} was scored {outcome(a)} and then {outcome(b)}")
            break


def check_pickle(env: TextEnv, report: Report, seconds: float) -> None:
    """Copies score as the environment does."""
    task = sample_tasks(env, count=1)[0]
    response = env.reference_response(task) or GARBAGE
    expected = env.score(task, response)
    for what, other in (("pickling", pickle.loads(pickle.dumps(env))), ("deepcopy", copy.deepcopy(env))):
        got = other.score(task, response)
        report.check("pickle", got.score == expected.score, f"after {what} the same response gets {outcome(got)}")
        other.close()
