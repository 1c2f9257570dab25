"""Everything that benchmarks/gpu/run.sh measures; see there. Each section that fails is named, the others go on."""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import logprob_memory
import steps
import torch
import transformers
from table import page

import fdiv_gym as fg

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
GPU_TESTS = ("tests/trainer/test_gpu.py",)
SECONDS_OF_A_RUN = 60.0
"""A run of the section ``learning`` starts only if as much time is left; the slowest run so far raises it."""


def machine(*, rehearsal: bool) -> dict[str, Any]:
    """Where the figures come from."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "accelerate": accelerate.__version__, "rehearsal": rehearsal,
    }  # fmt: skip


def gpu_tests() -> dict[str, Any]:
    """The tests with the mark ``gpu``, in a process of their own; without a GPU they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *GPU_TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    for count, name in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.splitlines()[-1]):
        counts[name] = int(count)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return counts


def log_probs(sizes: steps.Sizes, *, rehearsal: bool) -> list[dict[str, float | str]]:
    """Peak memory and seconds of the projection alone: whole logits against chunks."""
    tokens = sizes.prompts * sizes.group * sizes.response_tokens * (1 if rehearsal else 4)
    return [{"way": way, "tokens": tokens, **_in_a_process(way, tokens, sizes)} for way in ("plain", "chunked")]


def _in_a_process(way: str, tokens: int, sizes: steps.Sizes) -> dict[str, float]:
    options = argparse.Namespace(vocabulary=sizes.vocabulary, hidden=sizes.hidden, repeats=sizes.repeats)
    found: dict[str, float] = logprob_memory.measured(way, options, tokens)
    return {"peak_mb": found["peak"] / 2**20, "seconds": found["seconds"]}


def configuration(objective: dict[str, Any], seed: int, *, rehearsal: bool) -> dict[str, Any]:
    """Additions with a model from scratch: 52 million parameters, or a tiny one."""
    size = {"layers": 10, "heads": 9, "head_dim": 64, "warm_start_steps": 800, "warm_start_learning_rate": 5e-4}
    tiny = {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 200}
    return {
        "seed": seed,
        "env": {"id": "math/Addition-v0", "digits": 1 if rehearsal else 2},
        "model": {"embedded": tiny if rehearsal else size},
        "engine": {"max_new_tokens": 5},
        "objective": objective,
        "trainer": {
            "steps": 4 if rehearsal else 60, "prompts_per_step": 4 if rehearsal else 32, "group_size": 8,
            "precision": "bf16", "learning_rate": 1e-4, "warmup_steps": 2, "evaluate_every": 0, "checkpoint_every": 0,
            "evaluate_tasks": 8 if rehearsal else 128, "evaluate_samples": 2, "samples_per_step": 0,
            "check_plugins": False,
        },
    }  # fmt: skip


OBJECTIVES: dict[str, dict[str, Any]] = {
    "f-grpo": {"name": "f-grpo", "divergence": "pearson", "beta": 0.1},
    "grpo": {"name": "grpo", "beta": 0.0},
}


def learning(*, rehearsal: bool, deadline: float) -> list[dict[str, Any]]:
    """f-GRPO and GRPO by turns, three seeds each (one in the rehearsal); what there is no time for is marked."""
    rows, longest = [], SECONDS_OF_A_RUN if not rehearsal else 0.0
    for seed in range(1 if rehearsal else 3):
        for name, objective in OBJECTIVES.items():
            if time.monotonic() + longest > deadline:
                rows.append({"objective": name, "seed": seed, "not_run": "no time was left"})
                continue
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                config = configuration(objective, seed, rehearsal=rehearsal)
                result = fg.train(config, Path(folder) / "run")
                lines = fg.runs.RunFolder(result.folder).lines(fg.runs.METRICS)
            seconds = time.monotonic() - begun
            longest = max(longest, seconds)
            ends = {"before": result.summary["before"], "after": result.summary["after"]}
            rows.append(
                {
                    "objective": name, "seed": seed, "seconds": seconds, "steps": result.steps,
                    "step_seconds": sorted(line["time/seconds"] for line in lines)[len(lines) // 2],
                    **{f"{mode}_{end}": line[f"score/{mode}"] for end, line in ends.items()
                       for mode in ("greedy", "sampled")},
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--minutes", type=float, default=9.5, help="no run of 'learning' begins that would end later")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, without a GPU")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        raise SystemExit("no GPU is available to torch: see run.sh --rehearse for the CPU")
    if options.rehearse and options.output == RESULTS:
        raise SystemExit("--rehearse needs --output: benchmarks/results holds figures of GPUs")
    begun = time.monotonic()
    small = options.rehearse
    sizes, device = (steps.TINY, "cpu") if small else (steps.Sizes(), "cuda")
    sections: dict[str, Callable[[], Any]] = {
        "tests": gpu_tests,
        "precision": lambda: steps.precisions(sizes, device),
        "steps": lambda: steps.steps(sizes, device, ("fp32", "bf16")),
        "sampling": lambda: steps.sampling(sizes, device),
        "logprobs": lambda: log_probs(sizes, rehearsal=small),
        "learning": lambda: learning(rehearsal=small, deadline=begun + 60 * options.minutes),
    }
    found: dict[str, Any] = {"machine": machine(rehearsal=small), "failures": {}, "seconds": {}}
    options.output.mkdir(parents=True, exist_ok=True)
    for name, section in sections.items():
        start = time.monotonic()
        try:
            found[name] = section()
        except Exception:  # the other figures are worth having; the exit status says that one failed
            found["failures"][name] = traceback.format_exc()
            print(f"{name} failed:\n{found['failures'][name]}", file=sys.stderr)
        found["seconds"][name] = time.monotonic() - start
        (options.output / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (options.output / "gpu.md").write_text(page(found), encoding="utf-8")
        print(f"{name}: {found['seconds'][name]:.1f} s", file=sys.stderr)
    print(page(found))
    if found["failures"]:
        raise SystemExit(f"failed: {', '.join(found['failures'])}")


if __name__ == "__main__":
    main()
