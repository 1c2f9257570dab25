"""The model card of a run: what was trained, on what, by which objective, and its own figures."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.folder import EVALUATIONS, PROVENANCE, RunFolder
from fdiv_gym.runs.glossary import meaning_of

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""``owner/name``."""
METRIC = re.compile(r"[\w/@.+-]+")
LONGEST = 300
"""Characters of a value in a card."""

LICENCE_NOTE = (
    "No licence is stated here. The weights derive from the base model, whose licence applies to them; "
    "choose and add one that it permits before others use this model."
)


def model_card(run: RunFolder, step: int, *, adapter: bool) -> str:
    """The Markdown of a ``README.md`` with its metadata.

    Args:
        run: the folder of the run.
        step: of the checkpoint.
        adapter: whether the files are a peft adapter.
    """
    config, record = run.config(), run.read_json(PROVENANCE)
    base = str((config.get("model") or {}).get("name_or_path", "embedded"))
    metadata: dict[str, Any] = {"library_name": "peft" if adapter else "transformers", "tags": ["fdiv-gym"]}
    if is_hub_id(base):
        metadata["base_model"] = base
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata.items())
    kind = "A LoRA adapter" if adapter else "A model"
    objective, env = config.get("objective") or {}, config.get("env") or {}
    return "\n\n".join(
        [
            f"---\n{head}\n---",
            f"# Trained with fdiv-gym\n\n{kind} trained by reinforcement learning with fdiv-gym, at step {step}.",
            f"## Training\n\n{_table(_settings(config, base, objective, env))}",
            f"## Figures\n\n{_figures(run, step)}",
            f"## Provenance\n\n{_table(_provenance(record))}",
            f"## Licence\n\n{LICENCE_NOTE}",
        ]
    ) + "\n"  # fmt: skip


def is_hub_id(name: str) -> bool:
    """Whether a model's name is owner/name and no folder here; a path of this machine is not written into a card."""
    return HUB_ID.fullmatch(name) is not None and not Path(name).exists()


def _settings(
    config: Mapping[str, Any], base: str, objective: Mapping[str, Any], env: Mapping[str, Any]
) -> dict[str, Any]:
    trainer = config.get("trainer") or {}
    options = {k: v["name"] if isinstance(v, Mapping) and "name" in v else v for k, v in objective.items()}
    shown = base if is_hub_id(base) or "/" not in base else "a local model"
    return {
        "base model": shown,
        "task": env.get("id", "preference data"),
        "objective": ", ".join(
            f"{k} = {v}" for k, v in options.items() if isinstance(v, (str, int, float)) and v != ""
        ),
        "steps": trainer.get("steps"),
        "precision": trainer.get("precision"),
        "seed": config.get("seed"),
    }


def _figures(run: RunFolder, step: int) -> str:
    """The first evaluation and that of the step, with the meaning of each number."""
    lines = run.lines(EVALUATIONS)
    after = [line for line in lines if line.get("step") == step]
    if not lines or not after:
        return f"The run was not evaluated at step {step}."
    first, last = lines[0], after[-1]
    rows = ["| metric | untrained | this model | meaning |", "|---|---|---|---|"]
    for key in last:
        if key != "step" and (value := _figure(last[key])):
            name = f"`{key}`" if METRIC.fullmatch(key) else _cell(key)
            rows.append(f"| {name} | {_figure(first.get(key))} | {value} | {_cell(meaning_of(key) or '')} |")
    text = (
        "Measured by the trainer during this run, once, on its own held-out tasks: evidence for this task alone, with "
        "one seed and without intervals."
    )
    return text + "\n\n" + "\n".join(rows)


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("fdiv_gym", "python", "platform", "initial_weights", "preference_data", "processes")
    found = {name.replace("_", " "): record[name] for name in names if isinstance(record.get(name), (str, int))}
    packages = record.get("packages")
    if isinstance(packages, Mapping):
        found |= {str(name): version for name, version in packages.items() if isinstance(version, str)}
    return found


def _figure(value: Any) -> str:
    """A number of an evaluation; empty for anything else."""
    return f"{value:.4g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _table(rows: Mapping[str, Any]) -> str:
    body = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *body])


def _cell(value: Any) -> str:
    """One line of plain text: what the files of a run hold is never read as Markdown or HTML."""
    text = html.escape(printable(" ".join(str(value).split()))[:LONGEST])
    for character in "\\`*_[]|~":
        text = text.replace(character, f"&#{ord(character)};")
    return text
