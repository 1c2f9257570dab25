"""Episodes: conversations of a policy with an environment, in scored groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.calls import Failed
from fdiv_gym.envs.play import Conversation, advance, close_all
from fdiv_gym.errors import ConfigError
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.registry.guard import boundary, completions_of
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.rollouts.judging import judge
from fdiv_gym.rollouts.rows import Rows
from fdiv_gym.rollouts.scoring import TimeoutLedger
from fdiv_gym.rollouts.seeds import derive_seed
from fdiv_gym.types.task import Task
from fdiv_gym.types.trajectory import Completion, Sampling, Trajectory, TrajectoryGroup
from fdiv_gym.types.verdict import Verdict


@dataclass
class _Live:
    """One unfinished trajectory."""

    talk: Conversation
    rows: Rows = field(default_factory=Rows)

    def trajectory(self, verdict: Verdict | None) -> Trajectory:
        return self.rows.trajectory(self.talk, verdict)

    def take(self, completion: Completion) -> None:
        self.rows.take(len(self.talk.messages), completion)
        self.talk.say(completion.text, cut_off=completion.stop_reason == "length")


def run_episodes(
    env: Environment,
    engine: Engine,
    encoder: ChatEncoder,
    tasks: Sequence[Task],
    n: int,
    sampling: Sampling,
    after_rollouts: Callable[[list[TrajectoryGroup]], None] | None = None,
    ledger: TimeoutLedger | None = None,
    *,
    masks: bool = True,
) -> list[TrajectoryGroup]:
    """Run ``n`` episodes of every task and score them.

    All episodes live at once and take their turns together: one batch of responses, then the environment's answers.
    An episode whose next response would not fit into the engine's context ends there.

    Args:
        env: begins the episodes, answers, and scores them in batches.
        engine: draws the responses.
        encoder: the policy's tokenizer.
        tasks: one group each, in this order.
        n: trajectories in a group.
        sampling: ``max_new_tokens`` is the budget of one response; ``seed`` fixes every draw.
        after_rollouts: called with the unscored groups when all episodes have ended.
        ledger: records the pairs that timed out, and replays the timeouts of an earlier attempt.
        masks: whether ``env.score_truncated = "mask"`` leaves truncated episodes without a score; False in evaluations,
            which score them as they are.

    Returns:
        Scored groups in the order of the tasks.

    Raises:
        ConfigError: the chat template fails for a first prompt; a later one costs its episode only.
        EngineError: the engine did not return completions.
        EnvError: the environment broke the Verdict contract.
        PluginError: code of the engine or the environment failed.
    """
    with boundary(env, "use_template"):
        env.use_template(encoder.shows_tools, encoder.parse_calls if encoder.declares_calls else None)
    live = [_Live(talk) for talk in Conversation.begin(env, in_groups(tasks, n))]
    try:
        turn = 0
        while playing := [one for one in live if one.talk.end is None]:
            _respond(env, engine, encoder, playing, n, turn, sampling)
            advance(env, [one.talk for one in playing if one.talk.end is None])
            turn += 1
    finally:
        close_all([one.talk for one in live])

    def groups(verdicts: Sequence[Verdict | None]) -> list[TrajectoryGroup]:
        done = [one.trajectory(verdict) for one, verdict in zip(live, verdicts, strict=True)]
        return [TrajectoryGroup(task, tuple(done[g * n : (g + 1) * n])) for g, task in enumerate(tasks)]

    for one in live:
        one.rows.begin_with(encoder, one.talk)
    if after_rollouts is not None:
        after_rollouts(groups([None] * len(live)))
    tokens = [one.rows.response_length for one in live]
    return groups(judge(env, [one.talk for one in live], tokens, ledger, masks=masks))


def in_groups(tasks: Sequence[Task], n: int) -> list[Task]:
    """The task of each of ``n`` episodes of every task, with the number of its group."""
    return [numbered for g, task in enumerate(tasks) for numbered in [replace(task, group=g)] * n]


def _respond(
    env: Environment, engine: Engine, encoder: ChatEncoder, playing: list[_Live], n: int, turn: int, sampling: Sampling
) -> None:
    """The next response of every episode that has room for one; the others end."""
    if turn:
        sampling = replace(sampling, seed=derive_seed(sampling.seed, "turn", turn))
    known: dict[tuple[object, ...], list[int]] = {}
    fitting: list[tuple[_Live, list[int]]] = []
    tools = getattr(env, "tools", ())
    for one in playing:
        messages = tuple(one.talk.messages)
        if one.rows.sampled or messages not in known:
            try:
                known[messages] = encoder.prompt(messages, one.rows.sampled, tools)
            except ConfigError as error:
                if not one.talk.turns:
                    raise
                one.talk.fail(
                    Failed(str(error))
                )  # some templates refuse a response, e.g. with markup that they write themselves
                continue
        prompt = known[messages]
        if engine.context_length is not None and len(prompt) + sampling.max_new_tokens > engine.context_length:
            _no_room(one.talk, len(prompt), sampling, engine.context_length)
            continue
        one.rows.prompt(prompt)
        fitting.append((one, prompt))
    if not fitting:
        return
    shared = turn == 0 and _in_groups([prompt for _, prompt in fitting], n)
    prompts = [prompt for _, prompt in fitting][:: n if shared else 1]
    drawn = completions_of(engine, prompts, n if shared else 1, sampling)
    for (one, _), completion in zip(fitting, (c for group in drawn for c in group), strict=True):
        one.take(completion)


def _no_room(talk: Conversation, tokens: int, sampling: Sampling, context: int) -> None:
    """End an episode at the end of the context; one without any response has nothing to judge."""
    talk.stop("context")
    if not talk.turns:
        talk.problem = Verdict.unscorable(
            f"a prompt of {tokens} tokens and engine.max_new_tokens = {sampling.max_new_tokens} do not fit into the "
            f"model's context of {context} tokens"
        )


def _in_groups(prompts: Sequence[list[int]], n: int) -> bool:
    """Whether the prompts are those of whole groups, each with one prompt."""
    return len(prompts) % n == 0 and all(prompt == prompts[i - i % n] for i, prompt in enumerate(prompts))
