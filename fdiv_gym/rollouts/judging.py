"""Verdicts of finished episodes: the environment's score, rewards of turns, and what length does to them."""

from __future__ import annotations

from collections.abc import Sequence

from fdiv_gym.envs.base import Environment, RolloutOptions
from fdiv_gym.envs.play import Conversation, with_returns
from fdiv_gym.registry.guard import score_range_of
from fdiv_gym.rollouts.scoring import TimeoutLedger, score_checked
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
) -> list[Verdict]:
    """The verdict of each finished conversation.

    Args:
        env: the environment.
        conversations: all have ended; they are closed here.
        tokens: sampled in each, or None where that is not known.
        ledger: see ``score_checked``.

    Raises:
        EnvError: the environment broke the Verdict contract.
    """
    for conversation in conversations:
        conversation.close()
    transcripts = [conversation.transcript() for conversation in conversations]
    places = [i for i, conversation in enumerate(conversations) if conversation.problem is None]
    scored = score_checked(
        env, [conversations[i].task for i in places], [env.said(transcripts[i]) for i in places], ledger
    )
    found = {i: with_returns(env, transcripts[i], verdict) for i, verdict in zip(places, scored, strict=True)}
    options = getattr(env, "options", None)
    for i, verdict in found.items():
        if isinstance(options, RolloutOptions):
            found[i] = after_length(env, options, transcripts[i], tokens[i], verdict)
    return [found[i] if i in found else _problem(conversations[i]) for i in range(len(conversations))]


def after_length(
    env: Environment, options: RolloutOptions, transcript: Transcript, tokens: float | None, verdict: Verdict
) -> Verdict:
    """The verdict of a truncated or long episode as the options of the environment say."""
    if verdict.score is None:
        return verdict
    if transcript.truncated and options.score_truncated == "mask":
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
