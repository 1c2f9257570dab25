"""The trainer ``preference-model``: -log sigmoid(s(chosen > rejected) / tau) on pairs of responses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import fdiv_gym as fg
from fdiv_gym.runs import Interrupt, RunFolder, make_screen
from fdiv_gym_preference_model.run import Run
from fdiv_gym_preference_model.settings import TrainerOptions
from fdiv_gym_preference_model.shown import SHOWN


class PreferenceModelTrainer(fg.Trainer):
    """Trains a general preference model (``fdiv_gym_gprl.GeneralPreferenceModel``) in this process.

    The backbone is the model of ``[model]`` without its output layer; all its weights are trained, or an adapter if
    ``[model.lora]`` is given. The passes are without dropout. A checkpoint holds the model as ``preference_model``.
    """

    Options = TrainerOptions
    options: TrainerOptions
    needs: ClassVar[frozenset[str]] = frozenset({"preferences", "tracker"})
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "pairs/accuracy": "Share of the step's pairs whose chosen response has the positive score, from 0 to 1, before "
        "the step's update; a tie counts as wrong.",
        "dimension/<number>/share": "Mean share of dimension <number> in the sum of |lambda_l s_l| of a pair, "
        "from 0 to 1; in metrics.jsonl over the step's pairs, in evaluations.jsonl over the held-out ones.",
        "heldout/accuracy": "Share of the held-out pairs whose chosen response has the positive score, from 0 to 1; a "
        "tie counts as wrong.",
        "heldout/loss": "Mean of -log sigmoid(s / tau) over the held-out pairs, in nats.",
        "heldout/brier": "Brier score of the held-out pairs: mean of (1 - P)^2 with P the probability of the chosen "
        "response, from 0 to 1; 0.25 without knowledge.",
        "heldout/ece": "Expected calibration error of the held-out pairs in ten bins of confidence max(P, 1 - P), from "
        "0 to 1.",
        "triples/count": "Triples of held-out responses to one prompt whose three pairs are all in the data, a count, "
        "at most 100 000.",
        "triples/cyclic_data": "Share of these triples that are a cycle in the data, from 0 to 1; absent without any.",
        "triples/cyclic": "Share of these triples that are a cycle by the model, from 0 to 1; absent without any.",
        "triples/right": "Share of these triples whose three pairs the model has right, from 0 to 1; absent without "
        "any.",
    }

    def fit(self, config: fg.RunConfig, folder: Path, *, resume: bool = False) -> fg.RunResult:
        """Train; see ``fdiv_gym.Trainer.fit``.

        Raises:
            ConfigError: several processes were started, or the configuration does not fit.
            TrainerError: training cannot start, continue or be stored.
        """
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise fg.ConfigError("trainer 'preference-model' runs in one process: start it without a launcher")
        screen = make_screen(SHOWN)
        try:
            run = Run(config, self.options, RunFolder(folder, screen.message), screen, resume=resume)
            try:
                with Interrupt(screen.message) as interrupt:
                    return self._fit(run, interrupt)
            finally:
                run.close()
        finally:
            screen.stop()  # restores the terminal after an error too

    def _fit(self, run: Run, interrupt: Interrupt) -> fg.RunResult:
        settings = self.options
        if run.step == 0 and not run.is_evaluated():
            run.evaluate()
        run.screen.start(settings.steps, run.step)
        while run.step < settings.steps and not interrupt.requested:
            run.train_step()
            if self._is_due(settings.evaluate_every, run.step) and run.step < settings.steps:
                run.evaluate()
            if self._is_due(settings.checkpoint_every, run.step) or run.step == settings.steps:
                run.save()
        finished = run.step >= settings.steps
        if finished and not run.is_evaluated():
            run.evaluate()
        elif run.step > 0:
            run.save()
        summary = run.finish("finished" if finished else "interrupted")
        return fg.RunResult(run.folder.path, summary["status"], run.step, summary)

    @staticmethod
    def _is_due(every: int, step: int) -> bool:
        return every > 0 and step % every == 0
