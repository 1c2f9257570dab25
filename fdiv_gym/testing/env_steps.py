"""The checks of ``reset``, ``step`` and ``close`` of conversations in the conformance kit for environments."""

from __future__ import annotations

from typing import Any

from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.envs.episode import Episode
from fdiv_gym.errors import FdivGymError
from fdiv_gym.testing.hostile import GARBAGE, within
from fdiv_gym.testing.report import Report
from fdiv_gym.types.verdict import Verdict


def check_episode(env: ConversationEnv, report: Report, seconds: float) -> None:
    """An episode ends within ``max_turns``, and its last step returns the verdict."""
    env.reset(seed=0)
    over, turns = False, 0
    while not over and turns <= env.max_turns:
        text, reward, terminated, truncated, info = within(seconds, lambda: env.step(GARBAGE))
        over, turns = terminated or truncated, turns + 1
        report.check("episode", isinstance(text, str), f"the observation is {text!r:.80}, expected a string")
        report.check("episode", isinstance(reward, float), f"the reward is {reward!r}, expected a float")
        report.check("episode", not (terminated and truncated), "step() returned terminated and truncated")
        given = isinstance(info.get("verdict"), Verdict)
        report.check("episode", given or not over, "info['verdict'] is missing at the end")
        report.check("episode", over or not given, f"info['verdict'] was given in turn {turns}, before the end")
    report.check("episode", over, f"the episode was not over after max_turns = {env.max_turns} responses")
    try:
        env.step(GARBAGE)
    except FdivGymError:
        return
    report.fail("episode", "step() after the end of the episode was accepted, expected an EnvError")


def check_closing(env: ConversationEnv, report: Report, seconds: float) -> None:
    """Every episode is closed once: at its end, at the next ``reset``, and when the environment is closed."""
    env.reset(seed=0)
    ended = _Closings(env)
    for _ in range(env.max_turns):
        _, _, terminated, truncated, _ = within(seconds, lambda: env.step(GARBAGE))
        if terminated or truncated:
            break
    env.reset(seed=0)
    left = _Closings(env)
    env.reset(seed=0)
    last = _Closings(env)
    env.close()
    env.close()
    for closings, what in ((ended, "that ended"), (left, "that reset() left"), (last, "that env.close() left")):
        report.check("closing", closings.count == 1, f"an episode {what} was closed {closings.count} times")
        report.check("closing", not closings.errors, f"close() of an episode failed: {', '.join(closings.errors)}")


class _Closings:
    """How often the episode that ``reset`` began is closed."""

    def __init__(self, env: ConversationEnv) -> None:
        episode = None if env._live is None else env._live.episode
        if not isinstance(episode, Episode):
            raise TypeError("reset() began no episode: a subclass that overrides it must call super().reset()")
        self.count = 0
        self.errors: list[str] = []
        self._close = episode.close
        vars(episode)["close"] = self._counted

    def _counted(self) -> Any:
        self.count += 1
        try:
            return self._close()
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            raise
