"""``fdiv-gym report``: one self-contained HTML file about a run, computed from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdiv_gym.errors import FdivGymError, MissingExtraError, TrainerError
from fdiv_gym.files import replacing
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.events import occurrences
from fdiv_gym.runs.folder import EVALUATIONS, METRICS, PROVENANCE, SAMPLES, SUMMARY, RunFolder
from fdiv_gym.runs.glossary import meaning_of
from fdiv_gym.runs.pages import (
    complete_samples,
    evaluation_table,
    number,
    sample_table,
    score_cards,
    score_intervals,
    text,
)
from fdiv_gym.runs.panels import read_panels
from fdiv_gym.runs.plots import SPAN, Curves, is_number, plots_of, series_plot


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
    config, provenance, summary = run.config(), run.read_json(PROVENANCE), run.read_json(SUMMARY)
    classes = _plugin_classes(provenance)
    lines = run.lines(SAMPLES)
    samples = complete_samples(lines)
    panels, panels_note = read_panels(run)
    html = _render(
        "report.html.j2",
        title=run.path.name,
        facts=facts_of(config),
        status=status_of(summary, config, curves),
        cards=score_cards(curves.evaluations, curves.intervals),
        config=json.dumps(config, indent=2),
        provenance=provenance,
        plots=plots_of([curves]),
        panels=[_drawn(panel) for panel in panels],
        panels_note=panels_note,
        samples=sample_table(samples),
        damaged=len(lines) - len(samples),
        evaluation=evaluation_table(curves.evaluations[-1:]) if curves.evaluations else {},
        events=occurrences(curves.metrics),
        last={key: value for key, value in curves.metrics[-1].items() if key != "events"} if curves.metrics else {},
        meaning=lambda key: meaning_of(key, classes) or "",
    )
    return _write(html, Path(output) if output is not None else run.path / "report.html")


def _drawn(panel: Mapping[str, Any]) -> dict[str, Any]:
    """The panel with the image of each figure, and the names that it cannot draw."""
    figures = []
    for figure in panel["figures"]:
        image, replaced = series_plot(figure["series"], figure["unit"])
        figures.append({**figure, "image": image, "replaced": replaced})
    return {**panel, "figures": figures}


def curves_of(run: RunFolder, name: str = "") -> Curves:
    """What the plots of a run are drawn from.

    Raises:
        TrainerError: the run has no metrics yet, or a line of them has no step.
    """
    metrics, evaluations = run.lines(METRICS), run.lines(EVALUATIONS)
    if not metrics and not evaluations:
        raise TrainerError(f"the run in {run.path} has no metrics yet: nothing to report")
    for file, lines in ((METRICS, metrics), (EVALUATIONS, evaluations)):
        for place, line in enumerate(lines, 1):
            if not isinstance(line.get("step"), int) or not is_number(line["step"]):
                raise TrainerError(f"{run.path / file}, record {place} is damaged: it has no step")
    return Curves(name or run.path.name, metrics, evaluations, score_intervals(complete_samples(run.lines(SAMPLES))))


def status_of(summary: Mapping[str, Any], config: Mapping[str, Any], curves: Curves) -> str:
    """How far the run got; a run without a summary is still running, or was killed."""
    steps, seconds = summary.get("steps"), summary.get("seconds")
    if is_number(steps) and is_number(seconds):
        return f"{summary.get('status', 'unknown')}, {steps} steps in {seconds:.0f} s"
    wanted = (config.get("trainer") or {}).get("steps", "?")
    done = max((line["step"] for line in curves.metrics), default=0)
    return f"no summary.json: running or killed; {done} of {wanted} steps recorded"


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
    """Write the page whole or not at all; control characters, marks of direction and lone surrogates are escaped."""
    try:
        with replacing(target) as file:
            file.write(printable(html))
    except OSError as error:
        raise TrainerError(f"cannot write the report to {target}: {error.strerror}") from None
    return target


def _render(template_name: str, **values: Any) -> str:
    try:
        from jinja2 import DictLoader, Environment
    except ImportError:
        raise MissingExtraError("the report needs jinja2: pip install 'fdiv-gym[train]'") from None
    folder = files("fdiv_gym.runs")
    names = (template_name, "base.html.j2", "parts.html.j2")
    sources = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
    # Responses are hostile input: everything is escaped.
    environment = Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template(template_name)
    return str(page.render(number=number, text=text, span=SPAN, **values))
