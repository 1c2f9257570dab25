"""The rollouts of a step: tasks are drawn, responses sampled and scored, and groups without signal replaced."""

from __future__ import annotations

from functools import partial

import fdiv_gym as fg
from fdiv_gym.registry import sampling_of, score_range_of
from fdiv_gym.rollouts import derive_seed, run_episodes
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.drawn_reward import with_drawn_rewards
from fdiv_gym_accelerate.dynamic import Drawn, Replacement
from fdiv_gym_accelerate.parts import Parts
from fdiv_gym_accelerate.phases import Phases
from fdiv_gym_accelerate.scoring_events import ScoringWatch
from fdiv_gym_accelerate.sharding import whole
from fdiv_gym_accelerate.totals import Totals


class Rollouts:
    """Draws the groups of every step.

    Args:
        parts: of the run.
        phases: measures sampling and scoring.
        totals: records what the environment counts.
    """

    def __init__(self, parts: Parts, phases: Phases, totals: Totals) -> None:
        self._parts, self._phases, self._totals = parts, phases, totals
        self._replacement = None
        if parts.settings.dynamic_sampling is not None:
            process, advantage = parts.accelerator.process_index, parts.objective.advantage
            self._replacement = Replacement(parts.settings, advantage, parts.events, process)

    def draw(self, step: int) -> Drawn:
        """This process's groups of a step with their verdicts and metrics; every process must call it.

        Raises:
            EngineError: the engine failed.
            EnvError: the environment broke its contract.
            TrainerError: too many responses have no score.
        """
        parts, settings, accelerator = self._parts, self._parts.settings, self._parts.accelerator
        assert parts.env is not None
        assert parts.tasks is not None
        watch = ScoringWatch(parts.events, parts.env)
        draw = partial(self._round, step, watch)
        with self._totals.scoring("rollouts", step), accelerator.autocast(), whole(parts.policy.model):
            groups = draw(
                0, settings.prompts_per_step, slice(accelerator.process_index, None, accelerator.num_processes)
            )
            drawn = Drawn(groups, groups) if self._replacement is None else self._replacement.fill(groups, draw)
        self._phases.leave()
        watch.after(drawn.sampled)
        parts.callbacks.call("after_verdicts", step, drawn.groups)
        parts.tasks.observe(drawn.sampled)
        episodes = metrics.episode_line(parts.env, drawn.sampled)
        line = {**metrics.rollout_line(drawn.sampled), **episodes, **drawn.line}
        metrics.check_unscored(step, line["verdicts/unscored"], settings.max_unscored, drawn.sampled)
        return Drawn(drawn.groups, drawn.sampled, line)

    def _round(self, step: int, watch: ScoringWatch, number: int, count: int, own: slice) -> list[fg.TrajectoryGroup]:
        """Draw and score this process's groups of one round; number 0 is that of every step."""
        parts = self._parts
        assert parts.env is not None
        assert parts.tasks is not None
        round_of_step = (number,) if number else ()
        tasks = parts.tasks.draw(count, step, *round_of_step)[own]
        if not tasks:
            return []
        watch.before(step, tasks)
        seed = derive_seed(parts.config.seed, "rollouts", step, parts.accelerator.process_index, *round_of_step)

        def unscored(groups: list[fg.TrajectoryGroup]) -> None:
            self._phases.enter("scoring")
            parts.callbacks.call("after_rollouts", step, groups)

        self._phases.enter("sampling")
        groups = run_episodes(
            parts.env, parts.engine, parts.encoder, tasks, parts.settings.group_size, sampling_of(parts.engine, seed),
            after_rollouts=unscored, ledger=parts.ledger,
        )  # fmt: skip
        if parts.settings.reward == "environment":
            return groups
        place = (step, parts.accelerator.process_index, number)
        return with_drawn_rewards(groups, score_range_of(parts.env), parts.config.seed, *place)
