"""The conformance kit for environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.envs.text import TextEnv
from fdiv_gym.errors import EnvError, PluginError
from fdiv_gym.registry.guard import label_of
from fdiv_gym.testing import env_conversations, env_steps, env_tasks, env_verdicts
from fdiv_gym.testing.env_tasks import SPLITS
from fdiv_gym.testing.report import CannotCheckError, Report

Check = Callable[[Report, float], None]
"""Adds its findings to a report; the number is the limit of seconds for one call of the environment."""


class NoTasksError(CannotCheckError, EnvError):
    """An environment reports that it has no tasks of a split on this machine."""


def check_environment(env: Environment, *, seconds: float = 30.0) -> Report:
    """Check an environment against its contract.

    Args:
        env: an instance; it is left closed.
        seconds: time limit for scoring one hostile text, or 20 ordinary ones; for conversations, for one with hostile
            responses, or 20 ordinary ones.

    Returns:
        A report with one entry for each check.

    Raises:
        NoTasksError: ``tasks`` raises an EnvError, e.g. because its data are not on this machine.
    """
    _ask_for_tasks(env)
    report = Report(label_of(env))
    with report.section("form"):
        low, high = env.score_range
        report.check("form", low < high, f"score_range is {env.score_range}, expected (low, high) with low < high")
        for split in SPLITS:
            env.task_list(split)
    if not report.ok:
        return report
    for name, check in checks_of(env).items():
        with report.section(name):
            check(report, seconds)
    with report.section("close"):
        env.close()
        env.close()
    return report


def checks_of(env: Environment) -> dict[str, Check]:
    """The checks of an environment, bound to it, by name."""
    found: dict[str, Check] = {name: partial(check, env) for name, check in COMMON.items()}
    if isinstance(env, TextEnv):
        found |= {name: partial(check, env) for name, check in OF_ONE_TURN.items()}
    if isinstance(env, ConversationEnv):
        found |= {name: partial(check, env) for name, check in OF_CONVERSATIONS.items()}
    return found


def _ask_for_tasks(env: Environment) -> None:
    for split in SPLITS:
        try:
            env.task_list(split)
        except EnvError:
            try:
                env.tasks(split)  # an empty split is a fault, which the kit reports
            except EnvError as error:
                raise NoTasksError(str(error)) from None
        except PluginError:
            return  # any other failure is a fault too


COMMON: Mapping[str, Callable[[Environment, Report, float], None]] = {
    "gymnasium": env_tasks.check_gymnasium,
    "tasks": env_tasks.check_tasks,
    "hashes": env_tasks.check_hashes,
    "splits": env_tasks.check_splits,
    "reset": env_tasks.check_reset,
    "seeding": env_tasks.check_seeding,
    "references": env_tasks.check_references,
    "demonstrations": env_tasks.check_demonstrations,
}
OF_ONE_TURN: Mapping[str, Callable[[TextEnv, Report, float], None]] = {
    "episode": env_verdicts.check_episode,
    "reference_response": env_verdicts.check_reference_response,
    "rejects_invalid": env_verdicts.check_rejects_invalid,
    "hostile": env_verdicts.check_hostile,
    "unscorable": env_verdicts.check_unscorable,
    "batch": env_verdicts.check_batch,
    "deterministic": env_verdicts.check_deterministic,
    "votes": env_verdicts.check_votes,
    "pickle": env_verdicts.check_pickle,
}
OF_CONVERSATIONS: Mapping[str, Callable[[ConversationEnv, Report, float], None]] = {
    "opening": env_conversations.check_opening,
    "episode": env_steps.check_episode,
    "closing": env_steps.check_closing,
    "reference_player": env_conversations.check_reference_player,
    "rejects_invalid": env_conversations.check_rejects_invalid,
    "hostile": env_conversations.check_hostile,
    "state": env_conversations.check_state,
    "batch": env_conversations.check_batch,
    "transcript": env_conversations.check_transcripts,
    "unscorable": env_conversations.check_unscorable,
    "votes": env_conversations.check_votes,
    "pickle": env_conversations.check_pickle,
}
