"""The gradient norm of the first step of every registered on-policy objective, on the embedded model.

    python benchmarks/first_norms.py [--seeds 0 1 2] [--json]

Every objective starts from the model, the environment and the trainer of `examples/addition.toml`, with its own default
options. `--json` prints the norms instead of writing the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "first_norms.md"
EXAMPLE = ROOT / "examples" / "addition.toml"
#: Options that change the norm by a factor that is worth a row of its own.
VARIANTS: dict[str, list[dict[str, Any]]] = {"f-grpo": [{"gamma": 1.0}]}
TRAINER = {"steps": 1, "evaluate_every": 0, "evaluate_tasks": 4, "evaluate_samples": 1}


def objectives() -> list[dict[str, Any]]:
    """A table for every registered objective that reads rollouts only, with its defaults, then with its variants."""
    import fdiv_gym as fg

    tables: list[dict[str, Any]] = []
    for entry in fg.list_entries("objective"):
        if entry.status == "ok" and fg.get_objective(entry.name).streams == ("rollouts",):
            tables += [{"name": entry.name, **options} for options in ({}, *VARIANTS.get(entry.name, []))]
    return tables


def first_norm(objective: dict[str, Any], seed: int) -> float:
    """`grad_norm` of step 1, before clipping."""
    import fdiv_gym as fg

    config = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    config |= {"seed": seed, "objective": objective, "trainer": {**config["trainer"], **TRAINER}}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        fg.train(config, f"{folder}/run")
        line = json.loads(Path(folder, "run", "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    return float(line["grad_norm"])


def label(objective: dict[str, Any]) -> str:
    """``f-grpo, gamma = 1.0``."""
    return ", ".join([f"`{objective['name']}`", *(f"{k} = {v}" for k, v in objective.items() if k != "name")])


def table(rows: list[dict[str, Any]], seeds: list[int]) -> str:
    """The results page."""
    lines = [
        "# The gradient norm at the start",
        "",
        "`python benchmarks/first_norms.py`: the first step of `examples/addition.toml` with each on-policy objective",
        f"at its default options, seeds {', '.join(map(str, seeds))}; Euclidean norm before clipping (`grad_norm`).",
        "",
        "| objective | norm, each seed | mean | relative to `grpo` |",
        "|---|---|---|---|",
    ]
    means = {row["label"]: statistics.mean(row["norms"]) for row in rows}
    for row in sorted(rows, key=lambda row: means[row["label"]]):
        each, mean = ", ".join(f"{norm:.3g}" for norm in row["norms"]), means[row["label"]]
        ratio = f"{mean / means['`grpo`']:.2g}" if "`grpo`" in means else ""
        lines.append(f"| {row['label']} | {each} | {mean:.3g} | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, then print or write."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true", help="print the norms as JSON and write no table")
    arguments = parser.parse_args()
    os.environ["FDIV_GYM_QUIET"] = "1"
    rows: list[dict[str, Any]] = []
    for objective in objectives():
        norms = [first_norm(objective, seed) for seed in arguments.seeds]
        rows.append({"objective": objective, "label": label(objective), "norms": norms})
        print(label(objective), *(f"{norm:.4g}" for norm in norms), file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "rows": rows}))
        return
    RESULT.write_text(table(rows, arguments.seeds), encoding="utf-8")
    print(table(rows, arguments.seeds), end="")


if __name__ == "__main__":
    main()
