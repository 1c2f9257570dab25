"""Parts: the objects of a run, built from its configuration in the order in which they need each other."""

from __future__ import annotations

from typing import Any

import torch
from transformers import get_scheduler

import fdiv_gym as fg
from fdiv_gym.data import load_preferences
from fdiv_gym.models import ChatEncoder, merged_weights
from fdiv_gym.registry import boundary, close_plugin, sampling_of, score_range_of
from fdiv_gym.rollouts import TimeoutLedger, derive_seed
from fdiv_gym.runs import TIMEOUTS, RunFolder, Screen, finish_trackers
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.agreement import Agreement
from fdiv_gym_accelerate.callbacks import Callbacks
from fdiv_gym_accelerate.evaluation import Evaluator
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import bound_of
from fdiv_gym_accelerate.passes import Passes, check_sharing, token_budget
from fdiv_gym_accelerate.ranks import RankState, seed_random_states
from fdiv_gym_accelerate.reference import Cached
from fdiv_gym_accelerate.rollout_batch import BatchUpdates
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.sharding import check_sharded, is_sharded, shard
from fdiv_gym_accelerate.sources import PreferenceSource, TaskSource
from fdiv_gym_accelerate.start import (
    check_counts,
    check_engine,
    check_reference,
    check_sampling,
    check_updates,
    demonstrations_of,
    load_policy,
    start_accelerator,
)
from fdiv_gym_accelerate.update import Updater
from fdiv_gym_accelerate.watch import Watch

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


class Parts:
    """The objects of a run.

    Args:
        config: the whole configuration.
        settings: the trainer's own options.
        folder: the run folder.
        screen: shows the progress.

    Raises:
        ConfigError: parts of the configuration do not fit each other.
        TrainerError: the model cannot be loaded.
    """

    def __init__(self, config: fg.RunConfig, settings: TrainerOptions, folder: RunFolder, screen: Screen) -> None:
        self.config, self.settings, self.folder = config, settings, folder
        self._built: list[fg.Environment | fg.Engine] = []
        self.trackers: list[Any] = []
        try:
            self._build(screen)
            self._build_updates()
            self._build_records()
        except BaseException:
            self.close()
            raise

    def _build(self, screen: Screen) -> None:
        config, settings = self.config, self.settings
        self.accelerator = start_accelerator(
            settings.precision, config.tracker, self.folder, settings.process_deadline_s
        )
        if self.accelerator.num_processes > 1:
            screen.message(f"{self.accelerator.num_processes} processes")
        seed_random_states(derive_seed(config.seed, "process", self.accelerator.process_index))
        self.screen = screen
        self.events = EventLog(settings.event_policies, screen.message, several=self.accelerator.num_processes > 1)
        self.env = None if config.env is None else config.env.build()
        self._built += [] if self.env is None else [self.env]
        self.rank = RankState(self.accelerator, self.env, self.screen.message)
        self.objective = config.objective.build()
        check_updates(self.objective, settings)
        check_reference(config.model, self.objective, settings.steps)
        check_sharded(config, settings)
        self.preference_data = None if config.preferences is None else load_preferences(config.preferences)
        self.policy = load_policy(
            config.model, self.accelerator, screen, demonstrations_of(self.env, self.preference_data),
            config.seed, settings, with_reference=self.objective.needs_reference,
        )  # fmt: skip
        self._shard()
        self.engine = config.engine.build()
        self._built.append(self.engine)
        with boundary(self.engine, "start"):
            self.engine.start(self.policy.model, self.policy.tokenizer)
        check_sampling(sampling_of(self.engine, 0), settings, self.objective.streams)
        self.encoder = ChatEncoder.of(self.policy.tokenizer, config.model)
        check_counts(config, settings, self.accelerator.num_processes, self.objective.streams)
        self.tasks = self._task_source()
        if settings.check_plugins and self.env is not None:
            check_engine(config.engine, self.engine, self.env, self.encoder, self.screen.message)
        self.preferences = self._preference_source()

    def _shard(self) -> None:
        """Divide policy and reference among the processes, if the run is to."""
        if self.settings.sharding == "none":
            return
        if self.accelerator.num_processes == 1:
            self.screen.message('trainer.sharding = "fully_shard": one process, so it holds the whole model')
            return
        for module in self.policy.modules:
            shard(module, self.accelerator)

    def _build_updates(self) -> None:
        config, settings = self.config, self.settings
        self.updater = Updater(
            self.objective, self.policy.model, self.policy.reference, self.accelerator,
            self.engine.options.temperature, passes=self._passes(),
        )  # fmt: skip
        self._fill_reference()
        self.optimizer = torch.optim.AdamW(
            self.policy.trained, lr=settings.learning_rate, weight_decay=settings.weight_decay,
            betas=(settings.adam_beta1, settings.adam_beta2), eps=settings.adam_epsilon,
        )  # fmt: skip
        self.schedule = get_scheduler(
            SCHEDULES[settings.schedule], self.optimizer, num_warmup_steps=settings.warmup_steps,
            num_training_steps=settings.steps,
        )  # fmt: skip
        self.callbacks = Callbacks([ref.build() for ref in config.callbacks], self.screen.message)
        self.agreement = Agreement(
            self.updater, self.policy.tokenizer, bound_of(self.engine, settings.precision, settings.logprob_tolerance),
            settings, self.events,
        )  # fmt: skip
        self.updates = BatchUpdates(
            self.updater, self.optimizer, settings, config.seed, self.callbacks, self.screen.message, self.events,
            self.agreement,
        )  # fmt: skip

    def _passes(self) -> Passes:
        """What makes the forward passes, within the run's limits."""
        model, settings, device = self.policy.model, self.settings, self.accelerator.device
        check_sharing(settings.share_prompts, model)
        tokens = settings.micro_batch_tokens or token_budget(model, device)
        return Passes(self.accelerator, settings.micro_batch_size, tokens, settings.share_prompts, self.events)

    def _fill_reference(self) -> None:
        """Compute the log-probs of a cached reference, while the policy has its initial weights."""
        reference, source = self.policy.reference, self.preferences
        if isinstance(reference, Cached) and source is not None:
            streams = source.everything(self.policy.tokenizer.pad_token_id)
            rows = reference.fill(streams, self.updater.token_logps)
            self.screen.message(f"reference: the log-probs of {rows} rows were computed once and are kept")

    def _build_records(self) -> None:
        config, settings, folder = self.config, self.settings, self.folder
        score_range = (0.0, 1.0) if self.env is None else score_range_of(self.env)
        self.watch = Watch(self.events, self.updater, score_range)
        self.ledger = TimeoutLedger(
            [line["key"] for line in folder.lines(TIMEOUTS)], lambda key: folder.append(TIMEOUTS, {"key": key})
        )
        self.evaluator = Evaluator(
            self.accelerator, self.engine, self.encoder, self.updater, self.env,
            [] if self.preferences is None else self.preferences.heldout,
            settings, config.seed, self.policy.tokenizer.pad_token_id, self.ledger,
        )  # fmt: skip

    def send_weights(self) -> None:
        """Send the policy's weights to the engine."""
        model = self.policy.model
        if is_sharded(model):  # the engine samples with the policy itself
            return
        with boundary(self.engine, "update_weights"):
            weights = merged_weights(model) if self.engine.merged_weights else model.state_dict().items()
            self.engine.update_weights(weights)

    def close(self) -> None:
        """Close the engine and the environment if they were built."""
        for plugin in reversed(self._built):
            close_plugin(plugin)
        self._built = []
        if self.trackers:
            finish_trackers(self.trackers, self.screen.message)
            self.trackers = []

    def identity(self) -> dict[str, str]:
        """Hashes that must be the same when a run is resumed: initial weights and preference data."""
        identity = {"initial_weights": self.policy.source_hash}
        if self.preference_data is not None:
            identity["preference_data"] = self.preference_data.fingerprint
        return identity

    def _task_source(self) -> TaskSource | None:
        if self.env is None or "rollouts" not in self.objective.streams:
            return None
        return TaskSource(self.env, self.config.seed)

    def _preference_source(self) -> PreferenceSource | None:
        data, config = self.preference_data, self.config.preferences
        if data is None or config is None:
            return None
        if self.objective.needs_pairs and not data.paired:
            raise fg.ConfigError(
                f"objective {self.config.objective.name!r} needs pairs, but preferences {config.path} holds labelled "
                "single responses"
            )
        limits = [getattr(self.policy.model.config, name, None) for name in ("max_position_embeddings", "vocab_size")]
        source = PreferenceSource(data, self.encoder, config, self.config.seed, *limits)
        self.screen.message(f"preferences: {metrics.counts_line(source.counts)}")
        return source
