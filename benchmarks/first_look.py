"""The page on the first look at ten objectives, from its committed bundle.

    fdiv-gym bench benchmarks/first_look.toml --output benches/first-look     # about an hour and a half on two cores
    fdiv-gym bundle benches/first-look --output benchmarks/results/first_look
    fdiv-gym verify benchmarks/results/first_look
    python benchmarks/first_look.py                                           # writes benchmarks/results/first_look.md

Every number of the page is from ``report/tables.json`` of the bundle, except those of the source, which are in
``SOURCE``. The text of ``READING`` is written by hand for the bundle whose digest it names, and refused for any other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.figures import drawn, figures_of
from fdiv_gym.bench.sheet import Sheet
from fdiv_gym.bench.sheets import sheets_of
from fdiv_gym.bench.texts import markdown
from fdiv_gym.manifest import sha256_of

RESULTS = Path(__file__).parent / "results"
SHOWN = (
    "leaderboard",
    "heatmap",
    "learning",
    "to-target",
    "drift",
    "random-reward",
    "noise-floor",
    "updates",
    "untrained",
)
"""The sheets of the report that the page repeats; the others are in the bundle."""
SOURCE: Mapping[str, tuple[float, float]] = {
    "GRPO": (74.26, 5.2),
    "f-GRPO Pearson": (86.49, 2.6),
    "f-GRPO total variation": (83.11, 3.8),
    "f-GRPO reverse KL": (82.47, 3.0),
    "f-GRPO KL": (81.83, 4.4),
    "f-GRPO Hellinger": (81.11, 4.2),
    "f-GRPO Jensen-Shannon": (78.99, 4.2),
}
"""Relative overall in percent and average rank: Qwen2.5-Math-1.5B on LIMR, five benchmarks, seven objectives."""
DIGEST = "d136ea56bc8a5b14c21ef87f8eee0bbd441ac63fb97d85f9a7ae4ba163616fb5"
READING = """
## What it shows

- **No objective is better than another.** None of the 45 pairs has a verdict, with four updates of a rollout or with
  one. The smallest of the 45 p-values is .17 with four updates and .11 with one, before any correction. The order of
  a leaderboard is no order of the objectives: the average ranks have intervals of up to seven places.
- **On addition all objectives learn.** Sampled responses go from .56 to between .93 and .98, greedy ones from .28 to
  .98 and above. The untrained model reaches .563 at its best temperature, and a vote does not help it.
- **On countdown no objective learns more than a lower temperature gives.** Sampled responses go from .11 to between
  .29 and .35, but the untrained model reaches .386 at temperature 0.1 and .416 with a vote of 16 at 0.5. Its greedy
  responses have .383, those of the trained ones .37 to .42, and pass@4 stays where it was. This is sharpening; a
  table of trained scores alone would have shown a threefold gain.
- **Four updates of a rollout beat one** at the same learning rate, by .02 to .03 for every objective, for four of
  them after Holm's correction. The rates were tuned with four updates only.
- **The learning rate matters more than the objective.** The tuning chose 3e-4 for all ten. At 1e-3 the mean score
  falls by .13 to .58, at 3e-3 every run collapses.
- **The reward does it.** Trained on a drawn reward the scores fall, from .60 to .36 and from .12 to .05 (one seed). A
  run repeated with its seed gives every response the same score.

## What it cannot show

- A difference of objectives below about .07 with four updates or .05 with one: five seeds and two environments have
  no more power.
- Anything about large models, long responses or other tasks: the model has two layers and answers in a dozen tokens.
- Whether the ranks of the source are right. Its table has one run for each objective and no intervals.
- Seconds: other work ran on the machine while it was measured. Tokens and verifications do not depend on that.
- Final scores on addition are near the ceiling after 60 steps; the areas under the curves are not, and differ no more.
- The learning rates lie on a grid with a factor of three, tuned on one seed.
"""


def page(bundle: Path) -> str:
    """The text of first_look.md."""
    tables = json.loads((bundle / "report" / "tables.json").read_text(encoding="utf-8"))
    parts = [heading(tables), READING.strip()]
    for comparison in tables["comparisons"]:
        parts += [decided(comparison)]
    parts += [beside_source(tables["comparisons"]), chosen(tables)]
    parts.append(repeated(sheets_of(tables)))
    return "\n\n".join(parts) + "\n"


def heading(tables: Mapping[str, Any]) -> str:
    """What was run."""
    budget, names = tables["budget"], ", ".join(tables["environments"])
    return (
        "# A first look at ten objectives\n\n"
        f"`benchmarks/first_look.toml`: {len(tables['objectives'])} objectives on {names}, the embedded model of two "
        f"layers, {budget['limit']:g} {budget['kind']}, seeds {', '.join(map(str, tables['seeds']))}; "
        f"{' and '.join(str(c['updates']) for c in tables['comparisons'])} optimizer steps of a rollout. The learning "
        "rate of each objective is the best of four on one other seed and other held-out tasks. The bundle is "
        "`benchmarks/results/first_look`, with its report in `report/index.html`; `fdiv-gym verify "
        "benchmarks/results/first_look` recomputes it."
    )


def decided(comparison: Mapping[str, Any]) -> str:
    """The comparisons of pairs that have a verdict, and the minimum detectable effect."""
    pairs = comparison["pairs"]
    found = [pair for pair in pairs if pair["verdict"] != "inconclusive"]
    effect = comparison["minimum_detectable_effect"]
    text = (
        f"## What is decided with {updates(comparison)}\n\n"
        f"{len(found)} of {len(pairs)} pairs have a verdict after Holm's correction; the others are inconclusive. "
    )
    if effect is not None:
        text += f"A difference of less than {effect:.3f} would have been found in fewer than 80 % of such benches."
    rows = [
        [pair["a"], pair["b"], interval(pair["difference"]), f"{pair['p_holm']:.2g}", pair["verdict"]] for pair in found
    ]
    return text + ("\n\n" + table(("A", "B", "A - B", "p, Holm", "A is"), rows) if rows else "")


def beside_source(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """Relative overall and average rank beside those of the source."""
    columns, ours = ["objective", "source: relative overall", "source: average rank"], []
    for comparison in comparisons:
        columns += [f"relative overall, {updates(comparison)}", f"average rank, {updates(comparison)}"]
        ours.append({row["objective"]: row for row in comparison["leaderboard"]})
    names = sorted(ours[0], key=lambda name: -SOURCE.get(name, (0.0, 0.0))[0])
    rows = []
    for name in names:
        source = [f"{SOURCE[name][0]:.2f}", f"{SOURCE[name][1]:.1f}"] if name in SOURCE else ["-", "-"]
        own = [
            cell
            for board in ours
            for cell in (interval(board[name]["relative_overall"], 1), interval(board[name]["average_rank"], 1))
        ]
        rows.append([name, *source, *own])
    return (
        "## Beside the source\n\n"
        "The source trained Qwen2.5-Math-1.5B on LIMR and evaluated five benchmarks, one run each, among seven "
        "objectives, without intervals; here ten objectives, a toy model, two environments. Both numbers depend on the "
        "set of objectives, so only the order could be compared.\n\n" + table(columns, rows)
    )


def chosen(tables: Mapping[str, Any]) -> str:
    """The learning rates that the tuning chose, with the values of all trials."""
    tuning, rates = tables["tuning"], tables["tuning"]["values"]["trainer.learning_rate"]
    values: dict[str, dict[float, float | None]] = {}
    for row in tuning["rows"]:
        values.setdefault(row["objective"], {})[row["options"]["trainer.learning_rate"]] = row["value"]
    rows = []
    for objective, found in values.items():
        rate = tuning["chosen"][objective]["trainer.learning_rate"]
        edge = "yes" if tuning["at_edge"].get(objective) else ""
        shown = ["-" if found.get(r) is None else f"{found[r]:.3f}" for r in rates]
        rows.append([objective, *shown, f"{rate:g}", edge])
    return "## Tuning\n\nMean sampled score of both environments on the validation tasks, one seed.\n\n" + table(
        ("objective", *(f"{rate:g}" for rate in rates), "chosen", "at the edge"), rows
    )


def repeated(sheets: Sequence[Sheet]) -> str:
    """The sheets of the report that are repeated, without their title."""
    kept = [sheet for sheet in sheets if sheet.name.removesuffix("-1").removesuffix("-2") in SHOWN]
    return markdown(kept, "").removeprefix("# ").strip()


def updates(comparison: Mapping[str, Any]) -> str:
    """How many optimizer steps a rollout has."""
    count = comparison["updates"]
    return f"{count} update{'s' if count > 1 else ''}"


def interval(entry: Mapping[str, Any], digits: int = 3) -> str:
    """An estimate with its interval."""
    if entry["value"] is None:
        return "-"
    ends = "" if entry["low"] is None else f" [{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]"
    return f"{entry['value']:.{digits}f}{ends}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the page, and the figure of the learning curves on addition."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, default=RESULTS / "first_look")
    bundle = parser.parse_args().bundle
    digest = sha256_of(bundle / "manifest.json")
    if digest != DIGEST:
        raise SystemExit(f"the reading is of the bundle {DIGEST[:12]}, not of {digest[:12]}: write it again")
    (RESULTS / "first_look.md").write_text(page(bundle), encoding="utf-8")
    tables = json.loads((bundle / "report" / "tables.json").read_text(encoding="utf-8"))
    curves = next(figure for figure in figures_of(tables) if figure.file == "curves-1-1")
    (RESULTS / "first_look.png").write_bytes(drawn(curves)[1])


if __name__ == "__main__":
    main()
