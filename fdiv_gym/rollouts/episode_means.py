"""Metrics of episodes of several turns: turns, truncations, the environment's tokens and what episodes count."""

from __future__ import annotations

from collections.abc import Sequence

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import is_finite_number

EPISODE_PREFIX = "episode/"


def episode_metrics(
    env: Environment, transcripts: Sequence[Transcript], environment_tokens: Sequence[int | None]
) -> dict[str, float]:
    """Means over episodes; empty for an environment of one turn, and without an episode.

    Args:
        env: their environment.
        transcripts: of the episodes.
        environment_tokens: ``Trajectory.environment_tokens`` of each; None where that is not known.

    Returns:
        ``episode/turns``, responses in an episode; ``episode/truncated``, the share that stopped before the end;
        ``episode/environment_tokens``, if it is known of any; and ``episode/<name>``, the mean of each finite number
        or truth value in the outcomes, over the episodes that have it. A name of the first three is not taken from
        an outcome.
    """
    if not isinstance(env, ConversationEnv) or not transcripts:
        return {}
    outcomes: dict[str, list[float]] = {}
    for transcript in transcripts:
        for name, value in transcript.outcome.items():
            if is_finite_number(value):
                outcomes.setdefault(name, []).append(float(value))
    line = {name: sum(values) / len(values) for name, values in sorted(outcomes.items())}
    line["turns"] = sum(len(t.responses) for t in transcripts) / len(transcripts)
    line["truncated"] = sum(t.truncated for t in transcripts) / len(transcripts)
    line.pop("environment_tokens", None)
    known = [tokens for tokens in environment_tokens if tokens is not None]
    if known:
        line["environment_tokens"] = sum(known) / len(known)
    return {f"{EPISODE_PREFIX}{name}": value for name, value in line.items()}
