"""The trainer ``accelerate``: rollouts, verdicts, prepare, micro-batched loss, step, engine sync."""

from __future__ import annotations

from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder, make_screen
from fdiv_gym_accelerate.checkpoint import check_room
from fdiv_gym_accelerate.interrupt import Interrupt
from fdiv_gym_accelerate.run import Run
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.shown import SHOWN
from fdiv_gym_accelerate.start import raise_if_a_process_is_lost


class AccelerateTrainer(fg.Trainer):
    """Trains a policy in this process, or in as many as ``accelerate launch`` starts.

    Every process generates and judges the responses to its own prompts. ``prepare`` gets the groups of all processes
    and the gradients are summed, so the number of processes changes the random draws only.
    """

    Options = TrainerOptions
    options: TrainerOptions

    def fit(self, config: fg.RunConfig, folder: Path, *, resume: bool = False) -> fg.RunResult:
        """Train; see ``fdiv_gym.Trainer.fit``."""
        from fdiv_gym.testing import check_run_plugins

        screen = make_screen(SHOWN)
        try:
            if self.options.check_plugins:
                check_run_plugins(config, screen.message)
            run = Run(config, self.options, RunFolder(folder, screen.message), screen, resume=resume)
            try:
                with Interrupt(screen.message, run.accelerator) as interrupt:
                    return self._fit(run, interrupt)
            finally:
                run.close()
        except (RuntimeError, fg.FdivGymError) as error:
            raise_if_a_process_is_lost(error, self.options.process_deadline_s)
            raise
        finally:
            screen.stop()  # restores the terminal after an error too

    def _fit(self, run: Run, interrupt: Interrupt) -> fg.RunResult:
        check_room(
            run.folder, run.policy.model, self.options.keep_checkpoints, run.screen.message,
            moves=bool(run.config.model.reference_every),
        )  # fmt: skip
        if run.step == 0 and not run.is_evaluated():
            run.evaluate()
        run.screen.start(self.options.steps, run.step)
        while run.ended_by is None and not interrupt.agreed():
            run.train_step()
            if self._is_due(self.options.evaluate_every, run.step) and run.ended_by is None:
                run.evaluate()
            if self._is_due(self.options.checkpoint_every, run.step) or run.ended_by is not None:
                run.save()
        finished = run.ended_by is not None
        if finished and not run.is_evaluated():
            run.evaluate()
        elif run.step > 0:
            run.save()
        return self._finish(run, finished)

    def _finish(self, run: Run, finished: bool) -> fg.RunResult:
        summary = run.finish("finished" if finished else "interrupted")
        result = fg.RunResult(run.folder.path, summary["status"], run.step, summary)
        run.callbacks.call("at_end", result)
        return result

    @staticmethod
    def _is_due(every: int, step: int) -> bool:
        return every > 0 and step % every == 0
