"""The records of engines that exchange text and not tokens: responses and episodes of a model on a server."""

from __future__ import annotations

from dataclasses import dataclass

from fdiv_gym.types.trajectory import StopReason
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict


@dataclass(frozen=True)
class TextCompletion:
    """One response as text.

    Args:
        text: the response.
        stop_reason: ``eos`` (the model ended it) or ``length`` (it was cut off).
        tokens: number of sampled tokens, or their mean over responses that were counted together; None if unknown.
        withheld: why there is no response, e.g. a filter of the server removed it; empty for a response. What was
            withheld gets no score, which is not a low one.
        no_room: whether there is no response because it would not fit into the model's context; the episode ends there,
            as one that is truncated.
    """

    text: str
    stop_reason: StopReason
    tokens: float | None = None
    withheld: str = ""
    no_room: bool = False


@dataclass(frozen=True)
class TextTrajectory:
    """One episode as text, of one turn or several.

    Args:
        text: the last response.
        stop_reason: of the last turn.
        verdict: of the episode.
        turns: number of responses.
        response_length: number of sampled tokens over all turns; None if one of them is unknown.
        transcript: the messages of the episode.
    """

    text: str
    stop_reason: StopReason
    verdict: Verdict
    turns: int = 1
    response_length: float | None = None
    transcript: Transcript | None = None

    @property
    def environment_tokens(self) -> None:
        """Not known without tokens."""
        return None

    @property
    def logprob(self) -> None:
        """Not known without tokens."""
        return None
