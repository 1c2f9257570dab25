"""Compares MathVerifier with math-verify in one run.

Run ``python benchmarks/verifier.py`` from the root of the repository; it prints the tables of
``benchmarks/results/verifier.md``: agreement, throughput, and the results of expensive and mutated answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from fdiv_gym.types import Status, Verdict
from fdiv_gym_mathverify import MathVerifier

DATA = Path(__file__).parent / "data"
EXPENSIVE = {
    "tower of powers": "9^{9^{9^{9}}}",
    "tower in brackets": "((((9^{9})^{999})^{99})^{99})^{99}",
    "huge factorial": "1000000000!",
    "power of a factorial": "(9999!)^{9999}",
    "huge binomial": r"\binom{1000000000}{500000000}",
    "power of a binomial": r"\binom{9999}{4999}^{9999}",
    "10 000 nested brackets": "(" * 10_000 + "1" + ")" * 10_000,
    "sum to 1e9": r"\sum_{k=1}^{1000000000} \frac{1}{k^k}",
    "(x+1)^10000": "(x+1)^{10000}",
    "(x+y+z+w)^200": "(x+y+z+w)^{200}",
    "a megabyte of digits": "7" * 1_000_000,
    "a megabyte of boxes": r"\boxed{" * 140_000,
    "a megabyte of 1+": "1+" * 500_000 + "1",
}
Record = dict[str, object]
Judge = Callable[[list[str], list[str]], list[float | None]]


def load(name: str) -> list[Record]:
    """The records of one committed set."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


def math_verify(references: list[str], responses: list[str]) -> list[float | None]:
    """math-verify as in its README: default configuration, with its alarms, in one process."""
    from math_verify import parse, verify

    return [
        float(verify(parse(f"${reference}$"), parse(response)))
        for reference, response in zip(references, responses, strict=True)
    ]


def fixtures(verifier: MathVerifier) -> tuple[list[Record], list[Record]]:
    """The verifier's own cases as records, ordinary and hostile, without those on which math-verify hangs."""
    ordinary: list[Record] = []
    hostile: list[Record] = []
    for case in verifier.fixtures():
        if case.expected is not None and case.note != "bomb" and len(case.response) < 1000:
            record: Record = {
                "kind": f"{case.kind}, {case.note}",
                "reference": case.reference,
                "response": case.response,
                "right": case.expected == 1.0,
            }
            (ordinary if case.kind in ("full", "zero") else hostile).append(record)
    return ordinary, hostile


def timed(judge: Judge, references: list[str], responses: list[str]) -> tuple[float, list[float | None]]:
    """Pairs per second of one pass over pairs that were not seen before."""
    start = time.perf_counter()
    scores = judge(references, responses)
    return len(references) / (time.perf_counter() - start), scores


def compare(name: str, records: list[Record], ours: Judge) -> list[Record]:
    """Print one row of the table; returns the records with both scores."""
    references = [str(record["reference"]) for record in records]
    responses = [str(record["response"]) for record in records]
    theirs_rate, theirs = timed(math_verify, references, responses)
    ours_rate, mine = timed(ours, references, responses)
    right = [float(bool(record["right"])) for record in records]
    agree = sum(a == b for a, b in zip(mine, theirs, strict=True)) / len(records)
    rates = f"{theirs_rate:.0f} | {ours_rate:.0f} | {ours_rate / theirs_rate:.1f}"
    print(f"| {name} | {len(records)} | {rates} | {agree:.1%} | {errors(theirs, right)} | {errors(mine, right)} |")
    return [{**record, "theirs": b, "ours": a} for record, a, b in zip(records, mine, theirs, strict=True)]


def errors(scores: list[float | None], right: list[float]) -> str:
    """Counts of wrong answers rewarded and of right answers not rewarded."""
    pairs = list(zip(scores, right, strict=True))
    return f"{sum(s == 1.0 and r == 0.0 for s, r in pairs)} + {sum(s != 1.0 and r == 1.0 for s, r in pairs)}"


def categories(judged: list[Record]) -> None:
    """Print precision and recall of both verifiers for each kind of pair."""
    print("\n| kind of pair | pairs | right | its precision | its recall | our precision | our recall |")
    print("|---|---|---|---|---|---|---|")
    for kind in [*dict.fromkeys(str(row["kind"]) for row in judged), "all"]:
        rows = [row for row in judged if kind in (row["kind"], "all")]
        right = sum(bool(row["right"]) for row in rows)
        print(f"| {kind} | {len(rows)} | {right} | {quality(rows, 'theirs')} | {quality(rows, 'ours')} |")


def quality(rows: list[Record], side: str) -> str:
    """Precision and recall of one side: right among the rewarded, rewarded among the right."""
    paid = [bool(row["right"]) for row in rows if row[side] == 1.0]
    right = [row[side] == 1.0 for row in rows if row["right"]]
    parts = (f"{100 * sum(found) / len(found):.1f} %" if found else "-" for found in (paid, right))
    return " | ".join(parts)


def expensive(verifier: MathVerifier, ordinary: int) -> None:
    """Every expensive answer alone, and all of them among ordinary pairs."""
    print(f"\n| expensive answer | verdict | seconds (deadline {verifier.options.deadline_s:.0f}) |\n|---|---|---|")
    for name, text in EXPENSIVE.items():
        start = time.perf_counter()
        verdict = verifier.verify("x+1", f"\\boxed{{{text}}}")
        print(f"| {name} | {label(verdict)} | {time.perf_counter() - start:.2f} |")
    references = [f"x^2+{k}x" for k in range(2, ordinary + 2)]
    responses = [rf"\boxed{{x(x+{k})}}" for k in range(2, ordinary + 2)]
    step = ordinary // len(EXPENSIVE)
    for index, text in enumerate(EXPENSIVE.values()):
        references.insert(index * step, "x+1")
        responses.insert(index * step, f"\\boxed{{{text}}}")
    start = time.perf_counter()
    verdicts = verifier.verify_batch(references, responses)
    scored = sum(verdict.score == 1.0 for verdict in verdicts)
    seconds = time.perf_counter() - start
    print(
        f"\n{len(EXPENSIVE)} expensive answers among {ordinary} ordinary pairs: "
        f"{scored} of {ordinary} ordinary pairs score 1, {seconds:.1f} s."
    )


def label(verdict: Verdict) -> str:
    """The status of a verdict, with its score if it has one."""
    return f"{verdict.status.value} {verdict.score:.0f}" if verdict.score is not None else verdict.status.value


def fuzz(verifier: MathVerifier, size: int) -> None:
    """Mutated real answers: no crash, no hang, flat memory, no process left."""
    r = random.Random(5)
    pool = [str(record["response"]).partition("\\boxed{")[2] for record in load("math_like")]
    pieces = [
        "{",
        "}",
        "\\",
        "^",
        "(",
        ")",
        "9",
        "\\frac",
        ",",
        "=",
        "\\text{",
        "é",
        "٣",
        "\x00",
        "!",
        "\\sqrt",
        "_",
        "&",
        "|",
    ]
    strings = []
    for _ in range(size):
        text = list(r.choice(pool))
        for _ in range(r.randint(1, 6)):
            text[r.randint(0, len(text) - 1)] = r.choice(pieces)
        strings.append("\\boxed{" + "".join(text))
    process = psutil.Process()
    memory, counts, start = [], {status.value: 0 for status in Status}, time.perf_counter()
    for first in range(0, size, 1000):
        chunk = strings[first : first + 1000]
        for verdict in verifier.verify_batch(["x^2+1"] * len(chunk), chunk):
            counts[verdict.status.value] += 1
        memory.append(sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) >> 20)
    seconds = time.perf_counter() - start
    print(
        f"\nFuzz: {size} mutated answers in {seconds:.0f} s, {counts}; MiB of all processes after each 1000: {memory}."
    )


def comparisons(verifier: MathVerifier, show: bool) -> None:
    """Print the table of both verifiers."""

    def ours(references: list[str], responses: list[str]) -> list[float | None]:
        return [verdict.score for verdict in verifier.verify_batch(references, responses)]

    ordinary, hostile = fixtures(verifier)
    sets = {name: load(name) for name in ("gsm8k_like", "math_like", "realistic", "forms")}
    sets |= {"fixtures, ordinary": ordinary, "fixtures, hostile": hostile}
    # Both verifiers warm up first, on pairs that are in no set.
    for judge in (math_verify, ours):
        judge(
            [rf"\frac{{{k}}}{{7}}\sqrt{{x+{k}}}" for k in range(20)], [rf"\boxed{{\sqrt{{x+{k}}}}}" for k in range(20)]
        )
    print("| set | pairs | math-verify/s | ours/s | times | same verdict | its errors | our errors |")
    print("|---|---|---|---|---|---|---|---|")
    judged = {name: compare(name, records, ours) for name, records in sets.items()}
    print("\nErrors: wrong answers rewarded + right answers not rewarded.")
    categories(judged["realistic"] + judged["forms"])
    differences = [row for rows in judged.values() for row in rows if row["theirs"] != row["ours"]]
    for row in differences if show else ():
        answer = str(row["response"]).replace("Therefore the answer is ", "")[:70]
        print(f"- {row['kind']}: `{row['reference']}` against `{answer}`: theirs {row['theirs']}, ours {row['ours']}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ordinary", type=int, default=1000)
    parser.add_argument("--fuzz", type=int, default=10_000)
    parser.add_argument("--differences", action="store_true", help="print the pairs on which the verifiers differ")
    options = parser.parse_args()
    load_now = f"load {os.getloadavg()[0]:.1f}"
    print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores, {load_now}\n")
    with MathVerifier(deadline_s=5.0, workers=2) as verifier:
        comparisons(verifier, options.differences)
        if options.ordinary:
            expensive(verifier, options.ordinary)
        if options.fuzz:
            fuzz(verifier, options.fuzz)
    print(f"\nProcesses left after close: {len(psutil.Process().children(recursive=True))}.")


if __name__ == "__main__":
    main()
