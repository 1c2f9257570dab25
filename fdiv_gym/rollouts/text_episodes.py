"""Episodes of an engine that exchanges text: chats instead of token sequences, scored in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.play import Conversation, advance, close_all
from fdiv_gym.registry.guard import boundary, texts_of
from fdiv_gym.rollouts.episodes import in_groups
from fdiv_gym.rollouts.judging import judge
from fdiv_gym.rollouts.scoring import TimeoutLedger
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.types.task import Task
from fdiv_gym.types.text import TextCompletion, TextTrajectory
from fdiv_gym.types.trajectory import Sampling, StopReason
from fdiv_gym.types.verdict import Verdict

WITHHELD = "the engine gave no response: "
"""Start of the verdict's detail where the engine withheld a response."""
NO_ROOM = "the prompt and engine.max_new_tokens do not fit into the model's context"
"""The verdict's detail where there is no room for a first response; later, what was said is judged."""


@dataclass
class _Live:
    """One unfinished episode, its last response, and the count of its tokens."""

    talk: Conversation
    last: TextCompletion | None = None
    tokens: float | None = 0

    def take(self, completion: TextCompletion) -> None:
        if completion.no_room:
            self.talk.stop("context")
            if not self.talk.turns:
                self.talk.problem = Verdict.unscorable(NO_ROOM)
            return
        self.last = completion
        known = self.tokens is not None and completion.tokens is not None
        self.tokens = (self.tokens or 0) + (completion.tokens or 0) if known else None
        self.talk.say(completion.text, cut_off=completion.stop_reason == "length")
        if completion.withheld:
            self.talk.problem = Verdict.unscorable(WITHHELD + completion.withheld)
            self.talk.stop("done")

    def finished(self, verdict: Verdict) -> TextTrajectory:
        reason: StopReason = "eos" if self.last is None else self.last.stop_reason
        transcript = self.talk.transcript()
        return TextTrajectory(transcript.response, reason, verdict, self.talk.turns, self.tokens, transcript)


def run_text_episodes(
    env: Environment,
    engine: TextEngine,
    tasks: Sequence[Task],
    n: int,
    sampling: Sampling,
    ledger: TimeoutLedger | None = None,
) -> list[list[TextTrajectory]]:
    """Run ``n`` episodes of every task as chats and score them; see ``run_episodes``.

    A response that the engine withheld is not scored: its verdict is unscorable and gives the reason, and its episode
    ends. Served models are not trained: ``env.score_truncated = "mask"`` leaves no episode without a score.

    Args:
        env: begins the episodes, answers, and scores them in batches.
        engine: draws the responses.
        tasks: one list of trajectories each, in this order.
        n: trajectories of a task.
        sampling: ``max_new_tokens`` is the budget of one response; ``seed`` is for every draw.
        ledger: records the pairs that timed out.

    Raises:
        EngineError: the engine did not return responses.
        EnvError: the environment broke the Verdict contract.
        PluginError: code of the engine or the environment failed.
    """
    with boundary(env, "use_template"):
        env.use_template(False, None)
    live = [_Live(talk) for talk in Conversation.begin(env, in_groups(tasks, n))]
    try:
        turn = 0
        while playing := [one for one in live if one.talk.end is None]:
            _respond(engine, playing, n, turn, sampling)
            advance(env, [one.talk for one in playing if one.talk.end is None])
            turn += 1
    finally:
        close_all([one.talk for one in live])
    verdicts = judge(env, [one.talk for one in live], [one.tokens for one in live], ledger, masks=False)
    done = [one.finished(verdict) for one, verdict in zip(live, verdicts, strict=True)]
    return [done[g * n : (g + 1) * n] for g in range(len(tasks))]


def _respond(engine: TextEngine, playing: Sequence[_Live], n: int, turn: int, sampling: Sampling) -> None:
    """The next response of every episode; those to one prompt are asked for together in the first turn."""
    if turn:
        sampling = replace(sampling, seed=derive_seed(sampling.seed, "turn", turn))
    chats = [list(one.talk.messages) for one in playing]
    shared = turn == 0 and len(chats) % n == 0 and all(chat == chats[i - i % n] for i, chat in enumerate(chats))
    drawn = texts_of(engine, chats[:: n if shared else 1], n if shared else 1, sampling)
    for one, completion in zip(playing, (c for group in drawn for c in group), strict=True):
        one.take(completion)
