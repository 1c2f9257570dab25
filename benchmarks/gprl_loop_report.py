"""Tables and pictures of benchmarks/gprl_loop.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from seeded import compared, ends, shown

STEPS, TUNED = 120, 60
"""Steps of a run of the table, and of one that chooses the learning rate."""
LAST = 2
"""Evaluations that count as an end."""
RATES = (1e-4, 3e-4, 1e-3)
TUNING_SEEDS = (100,)
METHODS = ("GPRL", "GPRL, monitor", "GDPO", "GRPO, summed score")
VARIANTS = [
    *(f"exact: {method}" for method in METHODS),
    *(f"learnt: {method}" for method in (*METHODS, "GRPO, Bradley-Terry")),
]
LINE = "{variant:30} seed {seed:3}, rate {rate:.0e}: true {true[4]:.2f} at step {step[4]}"


def family() -> list[tuple[str, str]]:
    """The comparisons of one family: the monitor against every method of its judge, then GPRL against the others."""
    pairs = []
    for judge in ("exact", "learnt"):
        own = [variant for variant in VARIANTS if variant.startswith(judge)]
        for variant in (f"{judge}: GPRL, monitor", f"{judge}: GPRL"):
            pairs += [(variant, o) for o in own if o != variant and (o, variant) not in pairs]
    return pairs


def report(
    runs: Sequence[dict],
    rates: dict[str, float],
    tuning: Sequence[str],
    judges: Sequence[dict],
    control: Sequence[dict],
) -> str:
    """The text of gprl_loop.md."""
    seeds = len({run["seed"] for run in runs})
    best = max(max(row["true"], row["majority"]) for row in control)
    lines = [
        "# GPRL: the closed loop",
        "",
        f"Means over {seeds} seeds of the last {LAST} evaluations until the step, on 64 held-out tasks with two "
        "sampled responses each, with 95 % t-intervals. The best that the untrained model reaches, by any temperature "
        f"or a vote, is a true score of {best:.3f} (below).",
        "",
        *table(runs, rates, TUNED),
        "",
        *table(runs, rates, STEPS),
        "",
        "## Comparisons",
        "",
        f"True score at the end, step {STEPS}: differences paired by seed, 95 % t-intervals without correction, "
        f"p-values of a t-test after Holm's correction over these {len(family())} comparisons.",
        "",
        *comparisons(runs),
        "",
        "## The monitor",
        "",
        *monitor_table(runs),
        "",
        "## Preference models",
        "",
        *judge_table(judges),
        "",
        "## Learning rates",
        "",
        f"Mean true score at step {TUNED} on seed {', '.join(map(str, TUNING_SEEDS))}, which no other table "
        "uses; the chosen rate is bold. A user with a flawed judge alone has no true score to choose by: every method "
        "gets its best case.",
        "",
        *tuning,
        "",
        "## The untrained model",
        "",
        "| decoding | true score | majority of 16 |",
        "|---|---|---|",
        *(f"| {row['decoding']} | {row['true']:.3f} | {row['majority']:.3f} |" for row in control),
        "",
        "Written by `python benchmarks/gprl_loop.py`.",
    ]
    return "\n".join(lines) + "\n"


def table(runs: Sequence[dict], rates: dict[str, float], until: int) -> list[str]:
    """The metrics at a step as a markdown table."""
    names = {"judge": "judge's score", "true": "true score", "right": "right", "plain": "plain", "marks": "marks"}
    rows = [f"| step {until} | rate | " + " | ".join(names.values()) + " |", "|---" * (len(names) + 2) + "|"]
    for variant in VARIANTS:
        cells = (shown(ends(runs, variant, name, LAST, until)) for name in names)
        rows.append(f"| {variant} | {rates[variant]:.0e} | " + " | ".join(cells) + " |")
    return rows


def comparisons(runs: Sequence[dict]) -> list[str]:
    """The table of the family."""
    found = compared([ends(runs, a, "true", LAST) - ends(runs, b, "true", LAST) for a, b in family()])
    rows = ["| method | against | difference in true score | p (Holm) | |", "|---|---|---|---|---|"]
    for (a, b), (difference, p, word) in zip(family(), found, strict=True):
        rows.append(f"| {a} | {b.split(': ')[1]} | {difference} | {p:.2g} | {word} |")
    return rows


def monitor_table(runs: Sequence[dict]) -> list[str]:
    """When the monitor began to act, and what it lowered."""
    rows = [
        "| judge | runs in which it acted | first step, median (range) | steps it acted | lowest multiplier of each "
        "dimension, mean | largest factor of beta |",
        "|---|---|---|---|---|---|",
    ]
    for judge in ("exact", "learnt"):
        own = [run for run in runs if run["variant"] == f"{judge}: GPRL, monitor"]
        first = [run["events"][0][0] for run in own if run["events"]]
        when = f"{np.median(first):.0f} ({min(first)} to {max(first)})" if first else "-"
        factors = [max(value for _, value in run["monitor"]["KL coefficient"]["factor"]) for run in own]
        multipliers = [run["monitor"]["Multipliers of the dimensions"] for run in own]
        lowest = {name: np.mean([min(v for _, v in one[name]) for one in multipliers]) for name in multipliers[0]}
        text = ", ".join(f"{name.removeprefix('gprl/')}: {value:.2f}" for name, value in lowest.items())
        acted = np.mean([acting_steps(run) for run in own])
        rows.append(
            f"| {judge} | {len(first)} of {len(own)} | {when} | {acted:.0f} | {text} | {np.mean(factors):.2f} |"
        )
    return rows


def acting_steps(run: dict) -> int:
    """The number of steps in which the monitor acted."""
    begun, total = None, 0
    for step, event in run["events"]:
        if event == "begins to act":
            begun = step
        elif begun is not None:
            total, begun = total + step - begun, None
    return total + (0 if begun is None else STEPS - begun)


def judge_table(judges: Sequence[dict]) -> list[str]:
    """Held-out accuracy of the preference models."""
    rows = ["| preference model | accuracy on held-out pairs |", "|---|---|"]
    for kind, text in (("general", "general, k = 3"), ("pinned", "Bradley-Terry")):
        values = np.array([j["accuracy"] for j in judges if j["kind"] == kind and j["seed"] not in TUNING_SEEDS])
        rows.append(f"| {text} | {shown(values)} |")
    return rows


def plot(runs: Sequence[dict], path: Path) -> None:
    """True score, judge's score and marks over the steps: means and 95 % t-intervals over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy import stats

    names = {"true": "true score", "judge": "judge's score", "right": "right", "plain": "plain", "marks": "marks"}
    figure, axes = plt.subplots(2, len(names), figsize=(16, 6), sharex=True)
    for row, judge in zip(axes, ("exact", "learnt"), strict=True):
        for axis, (name, label) in zip(row, names.items(), strict=True):
            for variant in VARIANTS:
                if not variant.startswith(judge):
                    continue
                chosen = [run for run in runs if run["variant"] == variant]
                values, steps = np.array([run[name] for run in chosen]), chosen[0]["step"]
                half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
                line = axis.plot(steps, values.mean(0), label=variant.split(": ")[1])[0]
                axis.fill_between(
                    steps, values.mean(0) - half, values.mean(0) + half, color=line.get_color(), alpha=0.2
                )
            axis.set_title(f"{judge} judge: {label}", fontsize=10)
            axis.grid(alpha=0.3)
            if name != "marks":
                axis.set_ylim(0, 1)
        row[-1].legend(fontsize=7, frameon=False)
    figure.supxlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
