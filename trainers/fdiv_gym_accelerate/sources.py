"""Sources of the rows of a step: tasks for rollouts, units for preferences. Both depend on seed and position only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.data import PreferenceData, PreferenceRow, PreferencesConfig, encode_units
from fdiv_gym.envs import active_curriculum
from fdiv_gym.models import ChatEncoder
from fdiv_gym.registry import chosen_tasks_of, observe_outcomes
from fdiv_gym.rollouts import derive_seed
from fdiv_gym_accelerate.policy import Row
from fdiv_gym_accelerate.streams import StreamBatch


class ShuffledOrder:
    """An endless order over ``size`` items, reshuffled each epoch, with access to any position.

    Args:
        size: number of items.
        seed: the run's seed.
        purpose: gives different sources different orders.
    """

    def __init__(self, size: int, seed: int, purpose: str) -> None:
        self._size, self._seed, self._purpose = size, seed, purpose
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def items(self, start: int, count: int) -> list[int]:
        """``count`` items from position ``start``, counted from 0."""
        return [self._at(position) for position in range(start, start + count)]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self._size)
        if epoch != self._epoch:
            rng = np.random.default_rng(derive_seed(self._seed, self._purpose, epoch))
            self._epoch, self._permutation = epoch, rng.permutation(self._size)
        return int(self._permutation[place])


class TaskSource:
    """The training tasks, in the order in which the steps draw them.

    Args:
        env: the environment; a curriculum chooses its own tasks.
        seed: the run's seed.

    Attributes:
        position: tasks drawn since the start of the run, by all processes; a checkpoint holds it.
    """

    def __init__(self, env: fg.Environment, seed: int) -> None:
        self._env, self._seed, self.position = env, seed, 0
        self._curriculum = active_curriculum(env)
        # A curriculum chooses the tasks; without one every task is used once an epoch.
        self._order = ShuffledOrder(0 if self._curriculum else len(env.task_list("train")), seed, "order")

    def draw(self, count: int, *place: int) -> list[fg.Task]:
        """The next ``count`` tasks, of all processes; every process must draw the same numbers of them.

        Args:
            count: their number.
            place: the step, and the round of further groups in it; decides what a curriculum chooses.
        """
        start, self.position = self.position, self.position + count
        if self._curriculum is not None:
            return chosen_tasks_of(self._curriculum, count, derive_seed(self._seed, "curriculum", *place))
        tasks = self._env.task_list("train")
        return [tasks[i] for i in self._order.items(start, count)]

    def observe(self, groups: Sequence[fg.TrajectoryGroup]) -> None:
        """Report the mean reward of each task of all processes to the curriculum, if there is one."""
        if self._curriculum is None:
            return
        outcomes = []
        for group in groups:
            scored = [reward for reward in group.rewards if reward is not None]
            if scored:
                outcomes.append((group.task, sum(scored) / len(scored)))
        observe_outcomes(self._curriculum, gather_object(outcomes))


class PreferenceSource:
    """The preference units of each step, tokenised once.

    Args:
        data: the data set.
        encoder: the policy's tokenizer.
        config: the table [preferences].
        seed: the run's seed.
        context: longest sequence the model takes, or None.
        vocabulary: number of tokens that the model knows, or None.

    Raises:
        ConfigError: no unit is left after cutting, or one does not fit the model's context or vocabulary.
    """

    def __init__(
        self,
        data: PreferenceData,
        encoder: ChatEncoder,
        config: PreferencesConfig,
        seed: int,
        context: int | None,
        vocabulary: int | None = None,
    ) -> None:
        rows, counts = encode_units(data.units, encoder, config)
        heldout, left_out = encode_units(data.heldout, encoder, config, required=False)
        self.counts = {**data.counts, **{name: n + left_out[name] for name, n in counts.items()}}
        self._units = units_of(rows)
        self.heldout = units_of(heldout)
        self._count = config.pairs_per_step
        self._order = ShuffledOrder(len(self._units), seed, "preferences")
        longest = max(len(r.prompt_ids) + len(r.response_ids) for r in [*rows, *heldout])
        largest = max(max([*r.prompt_ids, *r.response_ids], default=0) for r in [*rows, *heldout])
        if vocabulary is not None and largest >= vocabulary:
            raise fg.ConfigError(
                f"preferences {config.path}: a row has the token {largest}, and the model knows {vocabulary} tokens: "
                "use the tokenizer of this model"
            )
        if context is not None and longest > context:
            raise fg.ConfigError(
                f"preferences {config.path}: the longest row has {longest} tokens, the model's context holds "
                f"{context}: lower preferences.max_prompt_tokens or preferences.max_response_tokens"
            )

    def step(self, step: int, process: int, processes: int, pad_token: int) -> tuple[StreamBatch, list[bool]]:
        """This process's share of a step: the rows, and which of them are chosen."""
        picked = self._order.items((step - 1) * self._count, self._count)[process::processes]
        return preference_stream([self._units[i] for i in picked], pad_token)

    def everything(self, pad_token: int) -> Iterator[StreamBatch]:
        """All rows, of training and held out, ``count`` units at a time."""
        units = [*self._units, *self.heldout]
        for start in range(0, len(units), self._count):
            yield preference_stream(units[start : start + self._count], pad_token)[0]


def units_of(rows: Sequence[PreferenceRow]) -> list[list[PreferenceRow]]:
    """Rows grouped by their unit."""
    units: dict[int, list[PreferenceRow]] = {}
    for row in rows:
        units.setdefault(row.unit, []).append(row)
    return list(units.values())


def preference_stream(units: Sequence[Sequence[PreferenceRow]], pad_token: int) -> tuple[StreamBatch, list[bool]]:
    """The stream of some units, and which of its rows are chosen."""
    rows: list[Row] = []
    indices: list[list[int]] = []
    chosen: list[bool] = []
    for unit in units:
        indices.append(list(range(len(rows), len(rows) + len(unit))))
        for side in unit:
            mask = [False] * len(side.prompt_ids) + [True] * len(side.response_ids)
            rows.append(Row([*side.prompt_ids, *side.response_ids], mask))
            chosen.append(side.chosen)
    return StreamBatch.of(rows, indices, pad_token), chosen
