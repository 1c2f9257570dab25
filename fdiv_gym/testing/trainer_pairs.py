"""The conformance kit of trainers without an objective, which train a model of their own from preferences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.entry import Entry
from fdiv_gym.runs.config import RunConfig, parse_config
from fdiv_gym.runs.folder import METRICS, SUMMARY, RunFolder
from fdiv_gym.runs.trainer import Trainer
from fdiv_gym.testing.report import CannotCheckError, Report
from fdiv_gym.testing.tiny import save_tiny_model
from fdiv_gym.testing.trainer_runs import KIT, SMALL, STEPS

PAIRS = 24
HELDOUT = 0.25


def refuse_unknown_needs(trainer: Trainer) -> None:
    """Refuse a trainer that reads neither an objective nor preferences.

    Raises:
        CannotCheckError: always for such a trainer.
    """
    if "preferences" not in trainer.needs:
        raise CannotCheckError("the kit knows trainers that read [objective] or [preferences]; this one does neither")


@contextmanager
def pairs_configuration(trainer: Trainer, place: Path) -> Iterator[RunConfig]:
    """A run of the trainer's class and options on a tiny model and a file of pairs in ``place``.

    Args:
        trainer: an instance.
        place: an empty folder.
    """
    name = "conformance-trainer"
    options = {k: v for k, v in trainer.options.model_dump(mode="json").items() if v is not None}
    options |= {k: v for k, v in SMALL.items() if k in type(trainer).Options.model_fields}
    model = save_tiny_model(place / "model")
    with (place / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for number in range(PAIRS):
            pair = {"prompt": f"task {number} ", "chosen": "aeiou"[number % 5] * 3, "rejected": "xyz"[number % 3] * 3}
            file.write(json.dumps(pair) + "\n")
    preferences = {"path": str(place / "pairs.jsonl"), "pairs_per_step": 18, "heldout_fraction": HELDOUT}
    known = type(trainer).__dict__.get("_registered_name")
    with discovery.registry.scoped() as registry:
        registry.add(Entry("trainer", name, type(trainer), KIT))
        try:
            yield parse_config(
                {
                    "model": {"name_or_path": str(model)},
                    "preferences": preferences,
                    "trainer": {"name": name, **options},
                }
            )
        finally:
            if known is not None:
                type(trainer)._registered_name = known  # type: ignore[attr-defined]


def check_loss_falls(run: Path, report: Report) -> None:
    """Every step has the same pairs, so the loss of the last is below that of the first."""
    lines = RunFolder(run).lines(METRICS)
    losses = [line["loss"] for line in lines if line.get("loss") is not None]
    missing = len(lines) - len(losses)
    if not report.check("learns", missing == 0, f"{missing} of the {len(lines)} lines of {METRICS} have no loss"):
        return
    report.check("learns", losses[-1] < losses[0], f"the loss on the same pairs went from {losses[0]} to {losses[-1]}")


def cut_off(straight: Path, folder: Path) -> None:
    """A copy of a finished run as a kill after the checkpoint of half the steps would leave it."""
    shutil.copytree(straight, folder)
    (folder / SUMMARY).unlink()
    for checkpoint in RunFolder(folder).checkpoints():
        if checkpoint.name > f"step-{STEPS // 2:06d}":
            shutil.rmtree(checkpoint)


def check_same_weights(straight: Path, resumed: Path, tolerance: float, report: Report) -> None:
    """The safetensors of the last checkpoint, and the metrics, are those of the run without interruption."""
    from safetensors.torch import load_file

    checkpoints = [RunFolder(path).checkpoints()[-1] for path in (straight, resumed)]
    names = [sorted(p.relative_to(c).as_posix() for p in c.rglob("*.safetensors")) for c in checkpoints]
    if not report.check("resume", names[0] == names[1] != [], f"the last checkpoints hold {names[0]} and {names[1]}"):
        return
    ours, theirs = ({name: load_file(c / name) for name in names[0]} for c in checkpoints)
    worst = max(_distance(ours[name], theirs[name]) for name in names[0])
    report.check(
        "resume", worst <= tolerance, f"a resumed run ends {worst:.3g} away from a straight one, allowed {tolerance:g}"
    )
    if tolerance == 0:
        lines = [[_timeless(line) for line in RunFolder(path).lines(METRICS)] for path in (straight, resumed)]
        report.check("resume", lines[0] == lines[1], f"{METRICS} of a resumed run differs from that of a straight one")


def _distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))}
