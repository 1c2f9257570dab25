"""Figures of a comparison: intervals, heat map, learning curves, profiles, reward against divergence, true scores."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdiv_gym.errors import MissingExtraError
from fdiv_gym.runs.plots import COLOURS

Entry = Mapping[str, Any]
INK = "#3b4552"
"""Ink on a light page and in files, and on a dark page."""
STYLES = ("-", "--", "-.", ":")
DRAWABLE = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u024f\u0391-\u03c9]")
"""What matplotlib's own font may lack."""
LONGEST = 40


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn in any ink.

    Args:
        section: of the report.
        title: above it.
        file: stem of its files.
        draw: draws into axes.
        choice: shown only while the selector of its section has this value; "" is always.
        size: inches.
    """

    section: str
    title: str
    file: str
    draw: Callable[[Any], None]
    choice: str = ""
    size: tuple[float, float] = (5.2, 3.0)


def figures_of(tables: Mapping[str, Any]) -> list[Figure]:
    """The figures of a comparison, in the order of the report."""
    found: list[Figure] = []
    several = len(tables["comparisons"]) > 1
    for place, comparison in enumerate(tables["comparisons"], 1):
        where = f" ({comparison['model']}, updates {comparison['updates']})" if several else ""
        end = f"-{place}" if several else ""
        for figure in _of_comparison(comparison, tables["objectives"], tables["environments"]):
            found.append(
                Figure(figure.section, figure.title + where, figure.file + end, figure.draw, figure.choice, figure.size)
            )
    return found


def drawn(figure: Figure) -> tuple[str, bytes]:
    """The figure as SVG, transparent and in the ink ``INK``, and as PNG on white.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise MissingExtraError("the report needs matplotlib: pip install 'fdiv-gym[train]'") from None
    settings = {
        "svg.hashsalt": "fdiv-gym", "svg.fonttype": "none", "text.parse_math": False, "axes.unicode_minus": False,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.facecolor": "none", "grid.color": "#8a94a0", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with rc_context(settings):
        canvas = Canvas(figsize=figure.size, layout="constrained")
        figure.draw(canvas.subplots())
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", metadata={"Date": None}, facecolor="none")
        canvas.set_layout_engine("none")  # the layout stands
        canvas.savefig(png, format="png", metadata={"Software": None}, facecolor="white", dpi=150)
    return smaller(svg.getvalue().decode()), png.getvalue()


def smaller(svg: str) -> str:
    """The SVG with two decimals in its tags, and without metadata and line breaks: about two thirds of the bytes."""
    svg = re.sub(r"<\?xml.*?<svg", "<svg", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _LONG.sub(_rounded, " ".join(tag.group().split())), svg)
    return re.sub(r">\s+<", "><", svg)


_LONG = re.compile(r"-?\d+\.\d{3,}")


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number.group()):.2f}".rstrip("0").rstrip(".")


def label(name: str) -> str:
    """A name as matplotlib can draw it: other letters as ``?``, and cut."""
    plain = DRAWABLE.sub("?", name)
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."


def _of_comparison(
    comparison: Mapping[str, Any], objectives: Sequence[str], environments: Sequence[str]
) -> list[Figure]:
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(objectives)}
    styles = {name: STYLES[i // len(COLOURS) % len(STYLES)] for i, name in enumerate(objectives)}
    look = {name: {"color": colours[name], "linestyle": styles[name]} for name in objectives}
    found = []
    ranked = [row for row in comparison["leaderboard"] if row["iqm"]["value"] is not None]
    height = max(1.6, 0.9 + 0.32 * len(ranked))
    if ranked:
        found.append(Figure("results", "Interquartile mean", "iqm", _intervals(ranked, colours), size=(5.2, height)))
    heat = comparison["heatmap"]
    if any(cell["mean"] is not None for row in heat.values() for cell in row.values()):
        size = (max(3.6, 2.4 + 1.1 * len(environments)), max(1.8, 1.0 + 0.42 * len(objectives)))
        title = "Objectives by environments"
        found.append(Figure("heatmap", title, "heatmap", _heatmap(heat, environments), size=size))
    for place, environment in enumerate(environments, 1):
        curves = {o: comparison["curves"][o][environment] for o in objectives}
        if any(curve["step"] for curve in curves.values()):
            found.append(Figure("learning", environment, f"curves-{place}", _curves(curves, look)))
    if comparison["profiles"]:
        title = "Share of runs above a score"
        found.append(Figure("profiles", title, "profiles", _profiles(comparison["profiles"], look)))
    found += _against_divergence(comparison, environments, colours)
    found += _true_scores(comparison, environments, colours)
    return found


def _intervals(rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for place, row in enumerate(rows):
            entry, colour = row["iqm"], colours[row["objective"]]
            if entry["low"] is not None:
                axes.plot([entry["low"], entry["high"]], [place, place], color=colour, linewidth=5, alpha=0.45,
                          solid_capstyle="butt")  # fmt: skip
            axes.plot([entry["value"]], [place], "o", color=colour, markersize=6)
        axes.set_yticks(range(len(rows)), [label(row["objective"]) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("interquartile mean of normalised scores, 95 % interval")
        axes.grid(axis="x", alpha=0.3)

    return draw


def _heatmap(heat: Mapping[str, Mapping[str, Entry]], environments: Sequence[str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        values = np.array(
            [[np.nan if row[e]["mean"] is None else row[e]["mean"] for e in environments] for row in heat.values()]
        )
        axes.imshow(np.ma.masked_invalid(values), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            shown, ink = ("-", None) if np.isnan(value) else (f"{value:.3f}", "white" if value < 0.6 else "black")
            axes.text(j, i, shown, ha="center", va="center", **({} if ink is None else {"color": ink}))
        axes.set_yticks(range(len(heat)), [label(name) for name in heat])
        axes.set_xticks(range(len(environments)), [label(name) for name in environments], rotation=20, ha="right")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    return draw


def _curves(curves: Mapping[str, Entry], look: Mapping[str, Mapping[str, str]]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for objective, curve in curves.items():
            if curve["step"]:
                _band(axes, curve["step"], curve, "mean", look[objective], objective)
        _steps(axes)
        axes.set_ylabel("normalised score")
        _within(axes, [value for curve in curves.values() for value in curve["mean"]])
        _finish(axes)

    return draw


def _profiles(profiles: Mapping[str, Entry], look: Mapping[str, Mapping[str, str]]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for objective, profile in profiles.items():
            _band(axes, profile["tau"], profile, "value", look[objective], objective)
        axes.set_xlabel("normalised score")
        axes.set_ylabel("share of runs above it")
        axes.set_ylim(-0.03, 1.03)
        _finish(axes)

    return draw


def _against_divergence(
    comparison: Mapping[str, Any], environments: Sequence[str], colours: Mapping[str, str]
) -> list[Figure]:
    """Final score against the divergence of the last policies: every seed, and the mean with its errors."""
    found, after, heat = [], comparison["after"], comparison["heatmap"]
    names = sorted({n for row in after.values() for cell in row.values() for n in cell["divergences"]})
    for name in names:
        for place, environment in enumerate(environments, 1):
            drawn = {
                o: (row[environment]["divergences"][name], heat[o][environment])
                for o, row in after.items()
                if row.get(environment, {}).get("divergences", {}).get(name, {}).get("estimate") is not None
            }
            if drawn:
                draw = _points(drawn, name, colours)
                found.append(Figure("divergence", environment, f"divergence-{name}-{place}", draw, choice=name))
    return found


def _points(drawn: Mapping[str, tuple[Entry, Entry]], name: str, colours: Mapping[str, str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for objective, (divergence, score) in drawn.items():
            colour, each = colours[objective], divergence["each"]
            if len(each) == len(score["seeds"]):  # every seed was measured
                axes.plot(each, list(score["seeds"].values()), "o", color=colour, alpha=0.35, markersize=4)
            error = divergence["standard_error"]
            ends = None if score["low"] is None else [[score["mean"] - score["low"]], [score["high"] - score["mean"]]]
            axes.errorbar([divergence["estimate"]], [score["mean"]], xerr=error, yerr=ends, fmt="s", color=colour,
                          markersize=6, capsize=2, label=label(objective))  # fmt: skip
        axes.set_xlabel(f"D_f from the reference, {label(name)}")
        axes.set_ylabel("normalised score")
        _within(axes, [score["mean"] for _, score in drawn.values()])
        _finish(axes)

    return draw


def _true_scores(
    comparison: Mapping[str, Any], environments: Sequence[str], colours: Mapping[str, str]
) -> list[Figure]:
    found = []
    for place, environment in enumerate(environments, 1):
        rows = [row for row in comparison["true_score"] if row["environment"] == environment]
        if rows:
            found.append(Figure("hacking", environment, f"true-score-{place}", _both_scores(rows, colours)))
    return found


def _both_scores(rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for row in rows:
            for kind, style in (("score", "--"), ("true_score", "-")):
                curve, name = row["curves"][kind], row["objective"]
                shown = name if kind == "true_score" else ""
                _band(axes, curve["step"], curve, "mean", {"color": colours[name], "linestyle": style}, shown)
        _steps(axes)
        axes.set_ylabel("true score (dashed: score)")
        _finish(axes)

    return draw


def _band(axes: Any, x: Sequence[float], curve: Entry, key: str, look: Mapping[str, str], name: str) -> None:
    """A line with its interval; a point without an interval has no width."""
    axes.plot(x, curve[key], linewidth=1.6, marker="o" if len(x) == 1 else None, **look,
              **({"label": label(name)} if name else {}))  # fmt: skip
    lows, highs = curve.get("low"), curve.get("high")
    if lows is None or highs is None:
        return
    low = [value if end is None else end for value, end in zip(curve[key], lows, strict=True)]
    high = [value if end is None else end for value, end in zip(curve[key], highs, strict=True)]
    axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _within(axes: Any, values: Sequence[float]) -> None:
    """Bands of few seeds are wider than the range of scores: the axis ends at it, or at the values."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, min([-0.03, *values])), min(high, max([1.03, *values])))


def _steps(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.3)
    if len(axes.get_legend_handles_labels()[1]) > 0:
        axes.legend(frameon=False, fontsize="small")
