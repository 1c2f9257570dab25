"""Verdicts of finished episodes: the environment's score, rewards of turns, and what length does to them."""

from __future__ import annotations

from collections.abc import Sequence

from fdiv_gym.envs.base import Environment, RolloutOptions
from fdiv_gym.envs.play import Conversation, close_all, with_returns
from fdiv_gym.registry.guard import score_range_of
from fdiv_gym.rollouts.scoring import TimeoutLedger, score_checked
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict

MASKED = "truncated, and env.score_truncated is 'mask'"
"""Detail of a verdict without a score that the user asked for."""


def is_masked(verdict: Verdict | None) -> bool:
    """Whether a verdict has no score because ``env.score_truncated = "mask"`` says so, and not for a fault."""
    return verdict is not None and verdict.score is None and verdict.detail == MASKED


def judge(
    env: Environment,
    conversations: Sequence[Conversation],
    tokens: Sequence[float | None],
    ledger: TimeoutLedger | None = None,
    *,
    masks: bool,
) -> list[Verdict]:
    """The verdict of each finished conversation.

    Args:
        env: the environment.
        conversations: all have ended; they are closed here.
        tokens: sampled in each, or None where that is not known.
        ledger: see ``score_checked``.
        masks: whether ``env.score_truncated = "mask"`` holds for them, as it does in training.

    Raises:
        EnvError: the environment broke the Verdict contract.
    """
    close_all(conversations)
    places = [i for i, conversation in enumerate(conversations) if conversation.problem is None]
    verdicts = judge_transcripts(
        env,
        [conversations[i].task for i in places],
        [conversations[i].transcript() for i in places],
        [tokens[i] for i in places],
        ledger,
        masks=[masks] * len(places),
    )
    found = dict(zip(places, verdicts, strict=True))
    return [found[i] if i in found else _problem(conversations[i]) for i in range(len(conversations))]


def judge_transcripts(
    env: Environment,
    tasks: Sequence[Task],
    transcripts: Sequence[Transcript],
    tokens: Sequence[float | None],
    ledger: TimeoutLedger | None = None,
    *,
    masks: Sequence[bool],
) -> list[Verdict]:
    """The verdict of each transcript, with the rewards of its turns and what its length does to the score.

    Args:
        env: the environment.
        tasks: the task of each.
        transcripts: of conversations that nothing failed in.
        tokens: see ``judge``.
        ledger: see ``score_checked``.
        masks: for each, see ``judge``.

    Raises:
        EnvError: the environment broke the Verdict contract.
    """
    scored = score_checked(env, tasks, [env.said(transcript) for transcript in transcripts], ledger)
    verdicts = [with_returns(env, transcript, verdict) for transcript, verdict in zip(transcripts, scored, strict=True)]
    options = getattr(env, "options", None)
    if not isinstance(options, RolloutOptions):
        return verdicts
    return [after_length(env, options, *one) for one in zip(transcripts, tokens, verdicts, masks, strict=True)]


def after_length(
    env: Environment,
    options: RolloutOptions,
    transcript: Transcript,
    tokens: float | None,
    verdict: Verdict,
    masks: bool,
) -> Verdict:
    """The verdict of a truncated or long episode as the options of the environment say; ``masks``: see ``judge``."""
    if verdict.score is None:
        return verdict
    if masks and transcript.truncated and options.score_truncated == "mask":
        return Verdict.unscorable(MASKED)
    score = verdict.score
    if transcript.truncated and options.score_truncated == "zero":
        low, high = score_range_of(env)
        score = min(max(0.0, low), high)
    parts = dict(verdict.components)
    if options.length_penalty is not None and tokens is not None:
        parts["length_penalty"] = options.length_penalty.at(tokens)
        score -= parts["length_penalty"]
    return Verdict(score, verdict.status, parts, verdict.detail)


def _problem(conversation: Conversation) -> Verdict:
    assert conversation.problem is not None
    return conversation.problem
