"""Peak memory and time of log-probs with gradients: in chunks of the vocabulary against whole logits.

python benchmarks/logprob_memory.py [--tokens 8192] [--json FILE]

Each side runs in a process of its own, which measures the growth of its resident memory (on a GPU: of its allocated
memory) by one forward and backward pass over the projection. The plain side is that of the trainer: logits of the
projection, divided by the temperature, gathered and normalised. Where it does not fit into the free memory, it is
measured at half the tokens, or a quarter, ...; its peak and its time are proportional to them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "trainers")]
RESULT = ROOT / "benchmarks" / "results" / "logprob_memory.md"
LIMITS = {"peak": 1 / 8, "time": 1.2}
COPIES = 3
"""Whole logits that the plain side holds at its peak, at most; for the choice of a size that fits."""


def free_bytes() -> int:
    """Memory that a new process can take without swapping."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def side(way: str, tokens: int, vocabulary: int, hidden: int, repeats: int) -> dict[str, float]:
    """Peak growth in bytes, and seconds, of one pass; run in a fresh process."""
    import torch

    from fdiv_gym_accelerate.logprobs import LogitRule, chunked_logps

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    weight = (torch.randn(vocabulary, hidden, device=device) / hidden**0.5).requires_grad_()
    states = torch.randn(tokens, hidden, device=device).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), device=device)

    def once(count: int) -> None:
        part, places = states[:count], targets[:count]
        if way == "chunked":
            logps, _ = chunked_logps(part, weight, None, places, LogitRule(0.9))
        else:
            logits = torch.nn.functional.linear(part, weight) / 0.9
            logps = logits.gather(-1, places[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
        logps.sum().backward()
        weight.grad = states.grad = None

    once(8)  # threads, kernels and the gradient of the weights, which both sides have
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = float(torch.cuda.memory_allocated())
    else:
        with open("/proc/self/statm", encoding="ascii") as file:
            before = float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        once(tokens)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    peak = float(torch.cuda.max_memory_allocated()) if device == "cuda" else peak_resident()
    return {"peak": peak - before, "seconds": min(seconds), "threads": torch.get_num_threads()}


def peak_resident() -> float:
    """The highest resident memory of this process since ``clear_refs``, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def measured(way: str, options: argparse.Namespace, tokens: int) -> dict[str, float]:
    """``side`` in a process of its own."""
    command = [
        sys.executable, __file__, "--side", way, "--tokens", str(tokens), "--vocabulary", str(options.vocabulary),
        "--hidden", str(options.hidden), "--repeats", str(options.repeats),
    ]  # fmt: skip
    # Freed memory goes back to the system at once, so that the resident memory is what is in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides, alternating, at the full size and at the largest at which the plain side fits."""
    plain_tokens = options.tokens
    while plain_tokens > 1 and plain_tokens * options.vocabulary * 4 * COPIES > 0.7 * free_bytes():
        plain_tokens //= 2
    sides: dict[str, list[dict[str, float]]] = {"plain": [], "chunked": [], "chunked, all tokens": []}
    for _ in range(options.pairs):
        sides["plain"].append(measured("plain", options, plain_tokens))
        sides["chunked"].append(measured("chunked", options, plain_tokens))
    sides["chunked, all tokens"].append(measured("chunked", options, options.tokens))
    found = {
        name: {key: statistics.median(run[key] for run in runs) for key in ("peak", "seconds")} | {"tokens": tokens}
        for (name, runs), tokens in zip(sides.items(), (plain_tokens, plain_tokens, options.tokens), strict=True)
    }
    scale = options.tokens / plain_tokens
    return {
        "vocabulary": options.vocabulary, "hidden": options.hidden, "sides": found,
        "plain_is_scaled_by": scale,
        "peak_ratio": found["chunked, all tokens"]["peak"] / (scale * found["plain"]["peak"]),
        "time_ratio": found["chunked"]["seconds"] / found["plain"]["seconds"],
        "threads": sides["plain"][0]["threads"], "load_average": os.getloadavg()[0], "limits": LIMITS,
    }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# Memory of log-probs",
        "",
        f"`python benchmarks/logprob_memory.py`: forward and backward pass over a projection of {found['hidden']} to "
        f"{found['vocabulary']:,} in fp32, {found['threads']:g} threads, load average {found['load_average']:.1f}.",
        "",
        "| way | tokens | additional peak, MB | seconds |",
        "|---|---|---|---|",
    ]
    for name, side_ in found["sides"].items():
        lines.append(f"| {name} | {side_['tokens']:,} | {side_['peak'] / 1e6:,.0f} | {side_['seconds']:.1f} |")
    scale = found["plain_is_scaled_by"]
    note = "" if scale == 1 else f" (the plain peak is that of the measured tokens, times {scale:g})"
    lines += [
        "",
        f"Chunks take {found['peak_ratio']:.3f} of the plain peak{note}, limit {LIMITS['peak']:.3f}, and "
        f"{found['time_ratio']:.2f} times the time at the same tokens, limit {LIMITS['time']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write the table; exit status 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=("plain", "chunked"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(side(options.side, options.tokens, options.vocabulary, options.hidden, options.repeats)))
        return
    found = compared(options)
    print(page(found))
    RESULT.write_text(page(found), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(found["peak_ratio"] > LIMITS["peak"] or found["time_ratio"] > LIMITS["time"])


if __name__ == "__main__":
    main()
