"""Episodes of an engine that exchanges text: chats instead of token sequences, scored in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fdiv_gym.envs.base import TextEnv
from fdiv_gym.registry.guard import follow_up_of, max_turns_of, texts_of
from fdiv_gym.rollouts.scoring import TimeoutLedger, score_checked
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.types.preference import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.text import TextCompletion, TextTrajectory
from fdiv_gym.types.trajectory import Sampling, StopReason
from fdiv_gym.types.verdict import Verdict

WITHHELD = "the engine gave no response: "
"""Start of the verdict's detail where the engine withheld a response."""


@dataclass
class _Episode:
    """One unfinished episode: its chat, its last response, and the count of its tokens."""

    task: Task
    chat: list[Message] = field(default_factory=list)
    last: TextCompletion | None = None
    tokens: float | None = 0
    turns: int = 0
    verdict: Verdict | None = None

    def take(self, completion: TextCompletion) -> None:
        self.chat.append(Message("assistant", completion.text))
        self.last = completion
        known = self.tokens is not None and completion.tokens is not None
        self.tokens = (self.tokens or 0) + (completion.tokens or 0) if known else None
        self.turns += 1

    def finished(self) -> TextTrajectory:
        assert self.last is not None
        assert self.verdict is not None
        reason: StopReason = self.last.stop_reason
        return TextTrajectory(self.last.text, reason, self.verdict, self.turns, self.tokens)


def run_text_episodes(
    env: TextEnv,
    engine: TextEngine,
    tasks: Sequence[Task],
    n: int,
    sampling: Sampling,
    ledger: TimeoutLedger | None = None,
) -> list[list[TextTrajectory]]:
    """Run ``n`` episodes of every task as chats and score them; see ``run_episodes``.

    A response that the engine withheld is not scored: its verdict is unscorable and gives the reason, and its episode
    ends.

    Args:
        env: scores responses in batches (``score_batch``) and gives the follow-up to a response.
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
    episodes = [[_Episode(task, [Message("user", task.prompt)]) for _ in range(n)] for task in tasks]
    first = texts_of(engine, [[Message("user", task.prompt)] for task in tasks], n, sampling)
    flat = [episode for group in episodes for episode in group]
    _take(flat, [completion for group in first for completion in group])
    playing, max_turns = flat, max_turns_of(env)
    for turn in range(1, max_turns + 1):
        _judge(env, playing, ledger)
        if turn == max_turns:
            break
        playing = _next_turn(env, playing, turn)
        if not playing:
            break
        seeded = replace(sampling, seed=derive_seed(sampling.seed, "turn", turn))
        answers = texts_of(engine, [episode.chat for episode in playing], 1, seeded)
        _take(playing, [answer[0] for answer in answers])
    return [[episode.finished() for episode in group] for group in episodes]


def _take(episodes: Sequence[_Episode], completions: Sequence[TextCompletion]) -> None:
    for episode, completion in zip(episodes, completions, strict=True):
        episode.take(completion)


def _judge(env: TextEnv, episodes: Sequence[_Episode], ledger: TimeoutLedger | None) -> None:
    given = [(e, e.last) for e in episodes if e.last is not None and not e.last.withheld]
    judged = score_checked(env, [e.task for e, _ in given], [last.text for _, last in given], ledger) if given else []
    for (episode, _), verdict in zip(given, judged, strict=True):
        episode.verdict = verdict
    for episode in episodes:
        if episode.last is not None and episode.last.withheld:
            episode.verdict = Verdict.unscorable(WITHHELD + episode.last.withheld)


def _next_turn(env: TextEnv, playing: Sequence[_Episode], turn: int) -> list[_Episode]:
    going_on = []
    for episode in playing:
        assert episode.last is not None
        assert episode.verdict is not None
        if episode.last.withheld:
            continue
        reply = follow_up_of(env, episode.task, turn, episode.last.text, episode.verdict)
        if reply is not None:
            episode.chat.append(Message("user", reply))
            going_on.append(episode)
    return going_on
