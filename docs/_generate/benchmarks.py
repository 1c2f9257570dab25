"""The page on benchmarks: an introduction, and the committed results with their figures, headings one level lower."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from _generate.text import NOTE

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
INTRODUCTION = """\
# Benchmarks

Each script writes or prints the tables in `benchmarks/results/`, which are committed and shown below. Times are of a
machine with two CPU cores. `make bench` runs the first three.

| command | what it measures | result |
|---|---|---|
| `python benchmarks/startup.py` | import time and `--help` | `benchmarks/results/startup.md` |
| `python benchmarks/first_run.py` | `examples/addition.toml`, three seeds, warm start included | `benchmarks/results/first_run.md` |
| `python benchmarks/real_model.py` | `examples/smollm2.toml`, LoRA beside all weights, and the untrained controls | `benchmarks/results/real_model.md` |
| `fdiv-gym bench benchmarks/first_look.toml --output DIR`, then `python benchmarks/first_look.py` | ten objectives on two environments, five seeds, tuned, with all controls | `benchmarks/results/first_look.md`, its bundle `first_look/`, `leaderboard.html` |
| `python benchmarks/defaults.py` | the weighting of `f-grpo` and the link of `kl`, on a model | `benchmarks/results/defaults.md` |
| `python benchmarks/first_norms.py` | the gradient norm of the first step, for every on-policy objective | `benchmarks/results/first_norms.md` |
| `python benchmarks/importance.py` | importance weights of `f-grpo` under several updates, on exact tables | `benchmarks/results/importance.md` |
| `python benchmarks/reward_hacking.py` | f-HAL against f-GRPO, FDO and GRPO under a flawed judge | `benchmarks/results/reward_hacking.md` |
| `python benchmarks/gprl_loop.py` | GPRL with and without the drift monitor, GDPO and GRPO where one quality is easy to exaggerate | `benchmarks/results/gprl_loop.md` |
| `python benchmarks/isolation.py` | a batch scored in a process of its own against one scored in the run | `benchmarks/results/isolation.md` |
| `python benchmarks/conversations.py --write` | 2 000 live episodes with a tool of 10 ms: throughput, memory, leaks; turns in step against episodes that go on alone | `benchmarks/results/conversations.md` |
| `python benchmarks/reliability.py` | random kills of runs, planted faults of scorers, minutes of load (`make soak`); prints its tables | `benchmarks/results/reliability.md` |
| `python benchmarks/logprob_memory.py` | log-probs in chunks against whole logits: peak memory and time | `benchmarks/results/logprob_memory.md` |
| `python benchmarks/vs_trl.py` | steps of the trainer against those of TRL's GRPOTrainer; with `--model FOLDER` on that model | `benchmarks/results/vs_trl.md`, `vs_trl_model.md` |
| `benchmarks/gpu/run.sh` | on a GPU: the tests with the mark `gpu`, precision, steps of a 0.5 B model, sampling, learning; under 10 minutes, without network after `benchmarks/gpu/wheels.sh`; not run yet, its rehearsal on the CPU is a test | `benchmarks/results/gpu.md`, from a GPU only |
| `python benchmarks/engines.py --model FOLDER` | tokens/s of the rollout engines; prints its table | `benchmarks/results/engines.md` |
| `python benchmarks/verifier.py` | the math verifier against math-verify; prints its tables | `benchmarks/results/verifier.md` |
| `python benchmarks/tabular.py` | divergences on exact tables; prints its table | [theory](theory/index.md#defaults-and-what-was-measured) |

The benchmarks use small models, small tables or fixed sets of answers. They show the direction of an effect on this
scale; they are no evidence for large models."""  # noqa: E501 - rows of a table
ORDER = (
    "startup",
    "first_run",
    "first_look",
    "defaults",
    "importance",
    "reward_hacking",
    "gprl_loop",
    "verifier",
    "isolation",
)
IMAGES = "img"
"""Folder of the figures on the page, relative to ``docs``; mkdocs shows files below ``docs`` only."""


def benchmarks_page() -> str:
    """The introduction and every result, with its figure if it has one."""
    names = [*ORDER, *sorted(path.stem for path in RESULTS.glob("*.md") if path.stem not in ORDER)]
    parts = [f"{NOTE}\n{INTRODUCTION}"]
    for name in names:
        text = (RESULTS / f"{name}.md").read_text(encoding="utf-8").strip()
        parts.append(re.sub(r"^#", "##", text, flags=re.MULTILINE))
        if (RESULTS / f"{name}.png").is_file():
            parts.append(f"![Figure of {name.replace('_', ' ')}]({IMAGES}/{name}.png)")
    return "\n\n".join(parts) + "\n"


def copy_figures(docs: Path) -> None:
    """Copy the figures of the results to the folder that the page links to.

    Args:
        docs: the folder of the documentation.
    """
    for figure in sorted(RESULTS.glob("*.png")):
        shutil.copyfile(figure, docs / IMAGES / figure.name)
