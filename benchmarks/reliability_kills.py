"""Random kills of runs, and the comparison of what they leave with an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fdiv_gym.testing.servers import FaultyServer

ROOT = Path(__file__).resolve().parent.parent
SMALL = """
seed = 3
[model.embedded]
layers = 1
heads = 1
head_dim = 32
warm_start_steps = 30
warm_start_batch = 32
[engine]
max_new_tokens = 6
[trainer]
steps = {steps}
prompts_per_step = 4
group_size = 4
warmup_steps = 2
evaluate_tasks = 4
evaluate_samples = 2
evaluate_every = 5
checkpoint_every = 2
"""
PREFERENCES = f"""
[preferences]
path = "{ROOT}/examples/preferences/refusal.jsonl"
pairs_per_step = 8
"""
KINDS = {
    "f-grpo on additions": '[env]\nid = "math/Addition-v0"\ndigits = 1\n',
    "f-hal with preferences": '[env]\nid = "safety/Refusal-v0"\n[objective]\nname = "f-hal"\n' + PREFERENCES,
    "preferences only": '[objective]\nname = "fdo"\n' + PREFERENCES,
    "judge on a server": '[env]\nid = "safety/Preference-v0"\n[env.judge]\nname = "llm"\nmodel = "m"\n'
    'base_url = "{server}"\nprice_prompt = 3.0\nprice_completion = 15.0\n',
}
TIMES = ("seconds",)


class Server(FaultyServer):
    """Scores a response by its content, from 1 to 10, so that groups are mixed."""

    def _proper(self, text: str) -> str:
        record = json.loads(text.split("\n")[1])
        return json.dumps({"reason": "as always", "score": 1 + sum(record["response"].encode()) % 10})


@dataclass
class Outcome:
    """What became of one kind of run.

    Args:
        kills: kills that hit a process.
        runs: run folders that were killed and brought to their end.
        differing: files that differ from those of the uninterrupted run, with the run's number.
        steps: of each run.
    """

    kills: int = 0
    runs: int = 0
    differing: list[str] = field(default_factory=list)
    steps: int = 0


def kill_runs(kind: str, kills: int, steps: int, work: Path, rng: random.Random) -> Outcome:
    """Kill runs of one kind at random moments, resume them, and compare.

    Args:
        kind: a key of ``KINDS``.
        kills: how many kills.
        steps: of each run.
        work: an empty folder for the runs and their caches.
        rng: draws the moments.
    """
    outcome = Outcome(steps=steps)
    with Server() as server:
        path = work / "run.toml"
        path.write_text(SMALL.format(steps=steps) + KINDS[kind].replace("{server}", server.address))
        straight, begun = work / "straight", time.monotonic()
        _finish(path, straight, work / "cache-straight")
        whole = time.monotonic() - begun
        while outcome.kills < kills:
            outcome.runs += 1
            run, cache = work / f"cut-{outcome.runs}", work / f"cache-{outcome.runs}"
            shutil.copytree(work / "cache-straight" / "models", cache / "models")
            while outcome.kills < kills and _killed(path, run, cache, rng.uniform(0.1, whole)):
                outcome.kills += 1
            _finish(path, run, cache)
            outcome.differing += [f"run {outcome.runs}: {name}" for name in differing_files(straight, run)]
    return outcome


def _start(path: Path, run: Path, cache: Path) -> subprocess.Popen[bytes]:
    begin = ["--resume", str(run), "--trust-endpoints"] if run.is_dir() else [str(path), "--output", str(run)]
    environment = {**os.environ, "FDIV_GYM_CACHE": str(cache), "FDIV_GYM_QUIET": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "fdiv_gym", "train", *begin], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment,
    )  # fmt: skip


def _killed(path: Path, run: Path, cache: Path, after: float) -> bool:
    """Start or resume a run and kill it; False if it ended before."""
    process = _start(path, run, cache)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    _check(process)
    return False


def _finish(path: Path, run: Path, cache: Path) -> None:
    _check(_start(path, run, cache))


def _check(process: subprocess.Popen[bytes]) -> None:
    said = process.communicate()[0].decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"a run ended with status {process.returncode}: {said[-2000:]}")


def differing_files(first: Path, second: Path) -> list[str]:
    """The files of two run folders that differ in more than times, by their relative path."""
    names = sorted({p.relative_to(f).as_posix() for f in (first, second) for p in f.rglob("*") if p.is_file()})
    return [name for name in names if _content(first / name) != _content(second / name)]


def _content(path: Path) -> Any:
    """What is compared of a file; None if there is none."""
    if not path.exists():
        return None
    if path.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    if path.name == "manifest.json":  # the hash of state.pt holds the seconds; the file itself is compared
        return [name for name in sorted(json.dumps(json.loads(path.read_text())).split('"')) if name.endswith(".pt")]
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text("utf-8")))
    if path.suffix == ".pt":
        return list(_flat(torch.load(path, weights_only=True)))
    return path.read_bytes()


def _without_times(record: Any) -> Any:
    if isinstance(record, dict):
        return {k: _without_times(v) for k, v in record.items() if k not in TIMES and not k.startswith("time/")}
    return record


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in TIMES:
                yield from _flat(item, f"{place}/{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _flat(item, f"{place}/{i}")
    else:
        yield place, value.tolist() if isinstance(value, torch.Tensor) else value
