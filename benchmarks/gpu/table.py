"""The figures of benchmarks/gpu/run.sh as a page of Markdown."""

from __future__ import annotations

from typing import Any


def page(found: dict[str, Any]) -> str:
    """All sections that there are figures of, and the names of those that failed."""
    parts = [_head(found["machine"], found["seconds"])]
    parts += [write(found[name]) for name, write in SECTIONS.items() if name in found]
    parts += [f"Failed: {', '.join(found['failures'])}."] if found["failures"] else []
    return "\n\n".join(parts) + "\n"


def _head(machine: dict[str, Any], seconds: dict[str, float]) -> str:
    what = "A rehearsal with tiny sizes, whose times mean nothing: " if machine["rehearsal"] else ""
    return (
        f"# On a GPU\n\n`benchmarks/gpu/run.sh`: {what}{machine['device']}, torch {machine['torch']}, transformers "
        f"{machine['transformers']}, accelerate {machine['accelerate']}, Python {machine['python']}; "
        f"{sum(seconds.values()):.0f} s."
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tests(counts: dict[str, int]) -> str:
    return "Tests with the mark `gpu`: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count) + "."


def _precision(found: dict[str, dict[str, float]]) -> str:
    rows = [(name, f"{line['mean']:.2e}", f"{line['largest']:.2e}") for name, line in found.items()]
    head = ("log-probs", "mean difference to plain fp32, nats a token", "largest")
    return "## Precision\n\n" + _table(head, rows)


def _steps(found: list[dict[str, Any]]) -> str:
    rows = []
    for row in found:
        begin = (row["precision"], row["way"])
        if row.get("out_of_memory"):
            rows.append((*begin, "out of memory", "", "", ""))
            continue
        figures = (f"{row['seconds']:.3f}", f"{row['tokens_per_second']:.0f}", f"{row['peak_mb']:.0f}")
        rows.append((*begin, *figures, f"{row['grad_norm']:.6g}"))
    head = ("precision", "way", "seconds a step", "tokens a second", "MB beyond the state", "gradient norm")
    text = (
        "## A step of a 0.5 B model\n\nGradient and AdamW, all rows in one pass; `plain` computes the logits of all "
        "tokens of all rows. The state is weights, gradient and moments. Prompts count in the tokens of every way, "
        "also where they are computed once."
    )
    return f"{text}\n\n{_table(head, rows)}"


def _sampling(found: dict[str, float]) -> str:
    return (
        f"## Sampling\n\nEngine `transformers`, bf16 weights, {found['rows']:.0f} rows: "
        f"{found['tokens_per_second']:.0f} response tokens a second ({found['tokens']:.0f} in "
        f"{found['seconds']:.2f} s)."
    )


def _logprobs(found: list[dict[str, Any]]) -> str:
    rows = [(row["way"], f"{row['tokens']}", f"{row['peak_mb']:.0f}", f"{row['seconds']:.3f}") for row in found]
    return "## Log-probs alone, fp32\n\n" + _table(("way", "tokens", "peak MB", "seconds"), rows)


def _learning(found: list[dict[str, Any]]) -> str:
    rows = []
    for row in found:
        if "not_run" in row:
            rows.append((row["objective"], f"{row['seed']}", row["not_run"], "", "", ""))
            continue
        scores = tuple(f"{row[f'{mode}_before']:.3f} → {row[f'{mode}_after']:.3f}" for mode in ("greedy", "sampled"))
        times = (f"{row['step_seconds']:.2f}", f"{row['seconds']:.0f}")
        rows.append((row["objective"], f"{row['seed']}", *scores, *times))
    head = ("objective", "seed", "greedy score", "sampled score", "seconds a step, median", "seconds")
    return "## Additions, a model from scratch\n\n" + _table(head, rows)


SECTIONS = {
    "tests": _tests, "precision": _precision, "steps": _steps, "sampling": _sampling, "logprobs": _logprobs,
    "learning": _learning,
}  # fmt: skip
