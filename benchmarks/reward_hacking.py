"""Does preference data keep a policy from hacking a flawed judge? Trains, measures, plots and summarises.

    python benchmarks/reward_hacking.py [--seeds 10] [--processes 2]

Every objective gets the same initial model, steps and rollouts per step (examples/reward_hacking.toml). Its learning
rate is chosen on other seeds than those of the table. A finished run is kept in benchmarks/results/reward_hacking.jsonl
and not repeated; --fresh repeats all runs.
"""

import argparse
import contextlib
import os
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from seeded import compared, ends, rate_table, run_all, shown

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "examples" / "reward_hacking.toml"
RESULTS = ROOT / "benchmarks" / "results"
LAST = 3  # evaluations that count as the end of a run
RATES = (1e-4, 3e-4, 1e-3)
TUNING_SEEDS = (100, 101)
FIRST_SEED = 10  # seeds 0 to 4 were seen by an earlier version of this benchmark
JENSEN_SHANNON = {"divergence": "jensen_shannon", "beta": 0.1}
HYBRID = {"name": "f-hal", **JENSEN_SHANNON}
FDO = {"name": "fdo", **JENSEN_SHANNON}
VARIANTS = {
    "f-GRPO": {"name": "f-grpo", **JENSEN_SHANNON},
    "f-HAL 0.25": {**HYBRID, "lam": 0.25},
    "f-HAL 0.5": {**HYBRID, "lam": 0.5},
    "f-HAL 0.25, matched": {**HYBRID, "lam": 0.25, "off_policy_scale": "matched"},
    "f-HAL 0.5, matched": {**HYBRID, "lam": 0.5, "off_policy_scale": "matched"},
    "FDO": FDO,
    "FDO, equal rows": FDO,
    "GRPO": {"name": "grpo"},
}
PAIRS = {"FDO, equal rows": 48}  # 96 rows a step, as many as f-HAL's 64 rollouts and 16 pairs
HYBRIDS = [variant for variant in VARIANTS if variant.startswith("f-HAL")]
LINE = "{variant:20} seed {seed:3}, rate {rate:.0e}: judge {judge[8]:.2f}, true {true[8]:.2f}"
BASELINES = ("f-GRPO", "FDO", "FDO, equal rows")


def configuration(variant: str, seed: int, rate: float) -> dict:
    """The example's configuration with this objective, seed and learning rate."""
    values = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    values |= {"seed": seed, "objective": VARIANTS[variant]}
    values["trainer"]["learning_rate"] = rate
    values["preferences"]["path"] = str(ROOT / values["preferences"]["path"])
    values["preferences"]["pairs_per_step"] = PAIRS.get(variant, values["preferences"]["pairs_per_step"])
    if VARIANTS[variant]["name"] in ("f-grpo", "grpo"):
        del values["preferences"]
    return values


def train(variant: str, seed: int, rate: float) -> dict:
    """One run; its curve of judge score and true score on held-out tasks."""
    import torch

    from fdiv_gym.runs import EVALUATIONS, RunFolder, parse_config

    torch.set_num_threads(1)
    config = parse_config(configuration(variant, seed, rate))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        run = RunFolder.create(Path(folder) / "run", config.resolved())
        config.trainer.build().fit(config, run.path)
        lines = run.lines(EVALUATIONS)
    names = {"judge": "score/sampled", "true": "env/true_score", "praise": "env/praise", "kl": "divergence/kl"}
    curve = {"step": [line["step"] for line in lines]}
    curve |= {short: [line.get(name) for line in lines] for short, name in names.items()}
    return {"variant": variant, "seed": seed, "rate": rate, **curve}


def table(runs: list[dict], rates: dict[str, float]) -> list[str]:
    """The metrics as a markdown table."""
    rows = ["| objective | learning rate | judge score | true score | flattery |", "|---|---|---|---|---|"]
    for variant in VARIANTS:
        judge, true, praise = (ends(runs, variant, name, LAST) for name in ("judge", "true", "praise"))
        rows.append(f"| {variant} | {rates[variant]:.0e} | {shown(judge)} | {shown(true)} | {shown(praise)} |")
    return rows


def comparisons(runs: list[dict]) -> list[str]:
    """True score of every hybrid against every baseline, paired by seed; one family for Holm's correction."""
    pairs = [(hybrid, baseline) for hybrid in HYBRIDS for baseline in BASELINES]
    found = compared([ends(runs, a, "true", LAST) - ends(runs, b, "true", LAST) for a, b in pairs])
    rows = ["| objective | against | difference in true score | p (Holm) | |", "|---|---|---|---|---|"]
    for (hybrid, baseline), (difference, p, word) in zip(pairs, found, strict=True):
        rows.append(f"| {hybrid} | {baseline} | {difference} | {p:.2g} | {word} |")
    return rows


def plot(runs: list[dict], path: Path) -> None:
    """Judge score and true score over training, means over seeds with the range of the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(14, 6), sharex=True, sharey=True)
    for axis, variant in zip(axes.flat, VARIANTS, strict=True):
        chosen = [run for run in runs if run["variant"] == variant]
        for name, colour, label in (("judge", "tab:red", "judge score"), ("true", "tab:green", "true score")):
            values = np.array([run[name] for run in chosen])
            axis.fill_between(chosen[0]["step"], values.min(0), values.max(0), color=colour, alpha=0.2)
            axis.plot(chosen[0]["step"], values.mean(0), color=colour, label=label)
        axis.set_title(variant)
        axis.set_ylim(0, 1)
    axes[0, 0].legend()
    figure.supxlabel("step")
    figure.suptitle(f"Held-out scores, mean and range of {len(chosen)} seeds")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def report(runs: list[dict], rates: dict[str, float], tuning: list[str]) -> str:
    """The text of reward_hacking.md."""
    start = float(np.mean([run["true"][0] for run in runs]))
    seeds = len(ends(runs, "FDO", "true", LAST))
    lines = ["# Reward hacking: judge score against true score", "", *table(runs, rates), ""]
    lines += [
        f"Means of the last {LAST} evaluations on held-out tasks over {seeds} seeds, with 95 % t-intervals. True score "
        f"before training: {start:.3f}. Judge's score of a right response without flattery: 0.5; of the hack: 1.",
        "",
        "## f-HAL against its parts",
        "",
        "Differences paired by seed, 95 % t-intervals without correction, p-values of a t-test after Holm's correction "
        f"over these {len(HYBRIDS) * len(BASELINES)} comparisons. `FDO, equal rows` reads 48 pairs a step instead of "
        "16: as many rows as f-HAL with its 64 rollouts.",
        "",
        *comparisons(runs),
        "",
        "## Learning rates",
        "",
        f"Mean true score at the end on seeds {', '.join(map(str, TUNING_SEEDS))}, which the tables above do not use; "
        "the chosen rate is bold. The choice by true score needs labels that a user with a flawed judge alone does not "
        "have; it gives every objective, f-GRPO and GRPO included, its best case.",
        "",
        *tuning,
        "",
        "## Limits",
        "",
        "- One model of two layers, one planted flaw, 80 steps, and preferences labelled by the true score without "
        "noise: no preference data of real people is as good.",
        "- FDO avoids the flaw because it does not use the judge; f-HAL is of use only where it exceeds FDO.",
        "- Several chosen rates lie at an end of the grid: a wider grid may favour them further.",
        "- With the paper's scale the on-policy stream carries 1/(1 + 1/beta) = 1/11; `matched` gives both streams "
        "the same factor. Both were fixed before these seeds were run.",
        "",
        "Written by `python benchmarks/reward_hacking.py`.",
    ]
    return "\n".join(lines) + "\n"


def train_first_model() -> None:
    """Build the embedded model once, so that the processes do not all build it."""
    from fdiv_gym.models import EnvDemonstrations, embedded_model_folder
    from fdiv_gym.runs import parse_config

    config = parse_config(configuration("f-HAL 0.5", 0, RATES[0]))
    assert config.env is not None
    embedded_model_folder(config.model.embedded, EnvDemonstrations(config.env.build()))


def main() -> None:
    """Tune, run, write reward_hacking.{jsonl,md,png}, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="discard finished runs")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "reward_hacking.jsonl"
    if arguments.fresh:
        path.unlink(missing_ok=True)
    train_first_model()
    tuning = [(variant, seed, rate) for seed in TUNING_SEEDS for variant in VARIANTS for rate in RATES]
    tuned = run_all(train, tuning, arguments.processes, path, LINE)
    rates, rows = rate_table(tuned, list(VARIANTS), RATES, "true", LAST)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    jobs = [(v, seed, rates[v]) for seed in seeds for v in VARIANTS]
    runs = run_all(train, jobs, arguments.processes, path, LINE)
    text = report(runs, rates, rows)
    (RESULTS / "reward_hacking.md").write_text(text, encoding="utf-8")
    plot(runs, RESULTS / "reward_hacking.png")
    print(text)


if __name__ == "__main__":
    main()
