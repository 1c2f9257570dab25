"""The checks of conversations in the conformance kit for environments."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from functools import partial

from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.envs.play import Conversation, Player
from fdiv_gym.evaluation.samples import sample_record
from fdiv_gym.registry.guard import max_turns_of, metrics_of
from fdiv_gym.testing.env_tasks import SPLITS, sample_tasks
from fdiv_gym.testing.env_verdicts import check_parts, judgeable
from fdiv_gym.testing.hostile import GARBAGE, HOSTILE, shown, within
from fdiv_gym.testing.plays import Played, alone, difference, outcome, played, script
from fdiv_gym.testing.report import Report
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.trajectory import Trajectory
from fdiv_gym.types.transcript import Transcript


def check_opening(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Every conversation begins with messages to answer."""
    max_turns_of(env)
    for split in SPLITS:
        talks = within(seconds, partial(Conversation.begin, env, sample_tasks(env, split)))
        for talk in talks:
            talk.close()
        for talk in talks:
            blank = not any(message.content.strip() for message in talk.messages)
            if talk.problem is not None or blank:
                said = "the first messages are empty" if talk.problem is None else talk.problem.detail
                report.fail("opening", f"task {shown(talk.task.text)} of split {split!r}: {said}")
                break


def _reference(env: ConversationEnv, tasks: Sequence[Task], seconds: float) -> list[Played]:
    """The plays of the reference player, where there is one."""
    players = [(task, env.reference_player(task)) for task in tasks]
    return played(env, [(task, player) for task, player in players if player is not None], seconds)


def check_reference_player(env: ConversationEnv, report: Report, seconds: float) -> None:
    """The reference player reaches the highest score and the end, where there is a player."""
    if not env.has_reference_response:
        return
    high = env.score_range[1]
    for split in SPLITS:
        tasks = judgeable(env, sample_tasks(env, split))
        found = _reference(env, tasks, seconds)
        report.check(
            "reference_player", len(found) == len(tasks),
            f"{len(tasks) - len(found)} of {len(tasks)} tasks of split {split!r} have no reference player; set "
            "has_reference_response = False",
        )  # fmt: skip
        for one in found:
            what = f"task {shown(one.task.text)}: the reference player"
            if one.verdict.score != high:
                report.fail("reference_player", f"{what} got {outcome(one.verdict)}, expected the maximum {high}")
                break
            if one.transcript.end != "done":
                report.fail(
                    "reference_player", f"{what} had no turns left (max_turns = {env.max_turns}) before the end"
                )
                break


def check_rejects_invalid(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Nothing but empty or garbage responses does not get the highest score."""
    if not env.has_reference_response:
        return
    tasks = sample_tasks(env)
    for what, text in (("empty responses", ""), ("garbage", GARBAGE)):
        for one in played(env, [(task, script([], text)) for task in tasks], seconds):
            if one.verdict.score == env.score_range[1]:
                report.fail(
                    "rejects_invalid", f"task {shown(one.task.text)}: {what} got the maximum {one.verdict.score}"
                )
                break


def check_hostile(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Hostile responses at every turn get a verdict, in bounded time."""
    task = sample_tasks(env, count=1)[0]
    right = [response for one in _reference(env, [task], seconds) for response in one.transcript.responses]
    texts = list(HOSTILE.items())
    cases = [(name, text, 0) for name, text in texts]
    cases += [(*texts[turn % len(texts)], turn) for turn in range(1, len(right))]
    for name, text, turn in cases:
        where = f"{name} ({shown(text)}) from turn {turn + 1} on"
        try:
            (one,) = played(env, [(task, script(right[:turn], text))], seconds)
        except (Exception, SystemExit) as error:
            report.fail("hostile", f"{where}: {type(error).__name__}: {error}; expected a Verdict")
            continue
        report.check("hostile", not one.failed, f"{where}: {one.verdict.detail}")


def _scripts(env: ConversationEnv, tasks: Sequence[Task], seconds: float) -> list[tuple[Task, Sequence[str]]]:
    """Responses to say about each task: those of the reference player, the first of them, and garbage only."""
    found: list[tuple[Task, Sequence[str]]] = [(task, ()) for task in tasks]
    for one in _reference(env, tasks, seconds):
        responses = one.transcript.responses
        found += [(one.task, responses)] + [(one.task, responses[:1])] * (len(responses) > 1)
    return found


def _players(scripts: Sequence[tuple[Task, Sequence[str]]]) -> list[tuple[Task, Player]]:
    return [(task, script(responses)) for task, responses in scripts]


def check_state(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Equal responses give equal conversations: again, among others, and in another instance."""
    scripts = _scripts(env, sample_tasks(env, count=3), seconds)
    first = alone(env, _players(scripts), seconds)
    other = type(env)(**env.options.model_dump())
    again = {
        "repeatable": (alone(env, _players(scripts), seconds), "played twice"),
        "interleaved": (played(env, _players(scripts), seconds), "played alone and among others"),
        "instances": (alone(other, _players(scripts), seconds), "played in two instances with equal options"),
    }
    other.close()
    for name, (second, how) in again.items():
        for one, two in zip(first, second, strict=True):
            found = difference(one, two)
            if not report.check(
                name, not found,
                f"task {shown(one.task.text)}, {how} with equal responses: {found}; the state of an episode is its "
                "own and follows from its task",
            ):  # fmt: skip
                break


def check_batch(env: ConversationEnv, report: Report, seconds: float) -> None:
    """``score_batch`` and ``score`` return equal verdicts."""
    plays = played(env, _players(_scripts(env, sample_tasks(env, count=4), seconds)), seconds)
    plays = [one for one in plays if not one.failed]
    tasks, transcripts = [one.task for one in plays], [one.transcript for one in plays]
    together = within(seconds, lambda: list(env.score_batch(tasks, transcripts)))
    if len(together) != len(plays):
        report.fail("batch", f"score_batch returned {len(together)} verdicts for {len(plays)} transcripts")
        return
    for one, verdict in zip(plays, together, strict=True):
        report.check(
            "batch", (one.verdict.score, one.verdict.status) == (verdict.score, verdict.status),
            f"{shown(one.transcript.response)}: score() returned {outcome(one.verdict)}, score_batch() "
            f"{outcome(verdict)}",
        )  # fmt: skip
    report.check("batch", list(env.score_batch([], [])) == [], "score_batch([], []) is not []")


def check_transcripts(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Outcomes are JSON, and a transcript that was written and read gets the same verdict."""
    for one in played(env, _players(_scripts(env, sample_tasks(env, count=3), seconds)), seconds):
        if not report.check("transcript", not one.failed, f"task {shown(one.task.text)}: {one.verdict.detail}"):
            return
        read = Transcript.from_dict(json.loads(json.dumps(one.transcript.to_dict())))
        report.check("transcript", read == one.transcript, f"written and read, it is another: {read!r:.120}")
        verdict = env.score(one.task, read)
        report.check(
            "transcript", verdict.score == one.verdict.score,
            f"task {shown(one.task.text)}: scored {outcome(one.verdict)}, and {outcome(verdict)} once it was written "
            "and read: score() must use the task and the transcript only",
        )  # fmt: skip


def check_votes(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Votes are strings or None, and metrics finite numbers, for any responses."""
    task = sample_tasks(env, count=1)[0]
    plays = played(env, _players(_scripts(env, [task], seconds)), seconds)
    opening = plays[0].transcript.messages[: plays[0].transcript.opening]
    said = [(one.transcript, one.verdict) for one in plays]
    for text in HOSTILE.values():
        said.append((Transcript((*opening, Message("assistant", text)), len(opening)), plays[0].verdict))
    records = []
    for i, (transcript, verdict) in enumerate(said):
        trajectory = Trajectory(
            (0,), (0.0,), (True,), transcript.response, "eos", verdict, len(transcript.responses), (0,), transcript
        )
        place = partial(sample_record, split="train", mode="sampled", index=0, sample=i)
        records.append(within(seconds, partial(place, env, task, trajectory)))
    within(seconds, lambda: metrics_of(env, records))


def check_unscorable(env: ConversationEnv, report: Report, seconds: float) -> None:
    """An undetermined result has no score: neither from ``step`` nor if a part of the environment fails."""
    scripts = _scripts(env, sample_tasks(env, count=1), seconds)
    one = played(env, _players(scripts[:2]), seconds)[-1]
    check_parts(env, report, one.task, one.transcript)


def check_pickle(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Copies converse as the environment does."""
    scripts = _scripts(env, sample_tasks(env, count=1), seconds)
    first = played(env, _players(scripts), seconds)
    for what, other in (("pickling", pickle.loads(pickle.dumps(env))), ("deepcopy", copy.deepcopy(env))):
        for one, two in zip(first, played(other, _players(scripts), seconds), strict=True):
            found = difference(one, two)
            report.check("pickle", not found, f"after {what} equal responses give another conversation: {found}")
        other.close()
