"""``fdiv-gym report``: one self-contained HTML file about a run, or about several, computed from their folders."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, FdivGymError, MissingExtraError, TrainerError
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.config import dotted
from fdiv_gym.runs.folder import EVALUATIONS, METRICS, PROVENANCE, SAMPLES, SUMMARY, RunFolder
from fdiv_gym.runs.glossary import meaning_of
from fdiv_gym.runs.plots import Curves, Lines, plots_of

SAMPLES_SHOWN = 12
NORMAL_95 = 1.96


def write_report(path: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        path: the run folder, finished or not.
        output: the HTML file; ``report.html`` in the run folder by default.

    Returns:
        The file written.

    Raises:
        TrainerError: there is no run, it has no metrics yet, or the file cannot be written.
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    run = RunFolder.open_existing(path)
    curves = curves_of(run)
    config, provenance = run.config(), run.read_json(PROVENANCE)
    classes = _plugin_classes(provenance)
    html = _render(
        "report.html.j2",
        title=run.path.name,
        facts=facts_of(config),
        summary=run.read_json(SUMMARY),
        config=json.dumps(config, indent=2),
        provenance=provenance,
        plots=plots_of([curves]),
        samples=paired_samples(run.lines(SAMPLES)),
        last=dict(curves.metrics[-1]) if curves.metrics else {},
        meaning=lambda key: meaning_of(key, classes) or "",
        number=number,
    )
    return _write(html, Path(output) if output is not None else run.path / "report.html")


def write_comparison(paths: Sequence[str | Path], output: str | Path) -> Path:
    """Write one page that compares runs: curves in the same axes, last evaluations, and what differs in the options.

    Args:
        paths: two or more run folders.
        output: the HTML file.

    Returns:
        The file written.

    Raises:
        ConfigError: fewer than two runs, or the same run twice.
        TrainerError: there is no run, one has no metrics yet, or the file cannot be written.
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    runs = [RunFolder.open_existing(path) for path in paths]
    if len(runs) < 2 or len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError("a comparison needs two or more different run folders")
    names = [run.path.name for run in runs]
    labels = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
    curves = [curves_of(run, label) for run, label in zip(runs, labels, strict=True)]
    flat = [dotted(run.config()) for run in runs]
    keys = sorted({key for table in flat for key in table})
    differing = {
        key: [shorten(table[key], 60).strip("'") if key in table else "-" for table in flat]
        for key in keys
        if len({str(table.get(key)) for table in flat}) > 1
    }
    last = [dict(c.evaluations[-1]) if c.evaluations else {} for c in curves]
    metrics = sorted({key for line in last for key in line if not key.startswith("divergence")} - {"step"})
    html = _render(
        "comparison.html.j2",
        names=labels,
        plots=plots_of(curves),
        differing=differing,
        last={key: [line.get(key) for line in last] for key in ["step", *metrics]},
        meaning=lambda key: meaning_of(key) or "",
        number=number,
    )
    return _write(html, Path(output))


def curves_of(run: RunFolder, name: str = "") -> Curves:
    """What the plots of a run are drawn from.

    Raises:
        TrainerError: the run has no metrics yet.
    """
    metrics, evaluations = run.lines(METRICS), run.lines(EVALUATIONS)
    if not metrics and not evaluations:
        raise TrainerError(f"the run in {run.path} has no metrics yet: nothing to report")
    return Curves(name or run.path.name, metrics, evaluations, score_intervals(run.lines(SAMPLES)))


def score_intervals(samples: Lines) -> dict[tuple[int, str], float]:
    """Half width of the 95 % interval of the held-out score, by (step, mode): 1.96 standard errors over tasks."""
    scores: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        score = sample["verdict"]["score"]
        if sample["split"] == "heldout" and score is not None:
            scores[sample["step"], sample["mode"]][sample["task_hash"]].append(score)
    means = {key: [sum(s) / len(s) for s in tasks.values()] for key, tasks in scores.items()}
    return {
        key: NORMAL_95 * statistics.stdev(values) / math.sqrt(len(values))
        for key, values in means.items()
        if len(values) > 1
    }


def facts_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Environment, objective, model and seed of a resolved configuration."""
    objective = config.get("objective", {})
    divergence = objective.get("divergence")
    divergence = divergence.get("name") if isinstance(divergence, Mapping) else divergence
    facts = {
        "environment": (config.get("env") or {}).get("id", "none"),
        "objective": str(objective.get("name", "")) + (f" ({divergence})" if divergence else ""),
        "model": (config.get("model") or {}).get("name_or_path", ""),
        "seed": config.get("seed", ""),
    }
    return {name: str(value) for name, value in facts.items()}


def paired_samples(samples: Lines, shown: int = SAMPLES_SHOWN) -> list[dict[str, Any]]:
    """The same held-out tasks at the first and at the last evaluation: prompt, answer, before, after."""
    heldout = [s for s in samples if s["split"] == "heldout" and s["mode"] == "sampled"]
    if not heldout:
        return []
    first, last = heldout[0]["step"], max(s["step"] for s in heldout)
    before = {s["task_hash"]: s for s in reversed(heldout) if s["step"] == first}
    after = {s["task_hash"]: s for s in reversed(heldout) if s["step"] == last}
    rows = []
    for task_hash in list(dict.fromkeys(s["task_hash"] for s in heldout))[:shown]:
        if task_hash in before and task_hash in after:
            start = before[task_hash]
            rows.append(
                {"prompt": start["prompt"], "answer": start["answer"], "before": start, "after": after[task_hash]}
            )
    return rows


def number(value: object) -> str:
    """A value for a table: integers as they are, other numbers with four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _plugin_classes(provenance: Mapping[str, Any]) -> list[type[Any]]:
    """The classes of the run's plugins as far as they can be loaded here; they explain metrics of their own."""
    classes = []
    for entry in provenance.get("entries", []):
        try:
            classes.append(discovery.registry.load(entry["kind"], entry["name"]))
        except (FdivGymError, KeyError, TypeError):
            continue
    return classes


def _write(html: str, target: Path) -> Path:
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        raise TrainerError(f"cannot write the report to {target}: {error.strerror}") from None
    return target


def _render(template_name: str, **values: Any) -> str:
    try:
        from jinja2 import DictLoader, Environment
    except ImportError:
        raise MissingExtraError("the report needs jinja2: pip install 'fdiv-gym[train]'") from None
    folder = files("fdiv_gym.runs")
    names = (template_name, "base.html.j2")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
    # Responses are hostile input: everything is escaped.
    environment = Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return str(environment.get_template(template_name).render(**values))
