"""Throughput of many live episodes with a slow tool: awaited together, in threads, and one after the other.

    python benchmarks/conversations.py [--episodes 2000] [--turns 4] [--rounds 5]

The policy is a script that answers at once, so that the time is that of the runner and of the tool. Further
rounds of the same episodes show whether threads, open files, asyncio tasks or memory are left of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder
from fdiv_gym.rollouts import run_episodes
from fdiv_gym.types import Completion, Sampling, TrajectoryGroup

RESULT = Path(__file__).parent / "results" / "conversations.md"
TOOL_S = 0.01
GROUP = 4
LINE = "call"
SAID = f"```python\n{LINE}\n```"
"""Every response of the policy: a call for ``fg.ToolEnv``, any text for the other episodes."""
LEAK_ROUNDS = 8
SEQUENTIAL = 50
"""Episodes of the sequential side; its turns per second do not depend on their number."""


class Tool(fg.Episode):
    """Answers each response with a number that it has added up; subclasses wait in their own way."""

    def __init__(self, turns: int) -> None:
        self.left = turns
        self.total = 0

    def answer(self, response: str) -> str | None:
        """The next message."""
        self.total += len(response)
        self.left -= 1
        return f"total {self.total}" if self.left else None

    def outcome(self) -> dict[str, int]:
        """The total."""
        return {"total": self.total}


class Awaited(Tool):
    """An asynchronous tool, such as a request to a server."""

    async def reply(self, response: str) -> str | None:
        """Wait without a thread."""
        await asyncio.sleep(TOOL_S)
        return self.answer(response)


class Threaded(Tool):
    """A blocking tool that is called in a thread."""

    async def reply(self, response: str) -> str | None:
        """Wait in a thread."""
        await asyncio.to_thread(time.sleep, TOOL_S)
        return self.answer(response)


class Blocking(Tool):
    """A blocking tool: one episode after the other."""

    def reply(self, response: str) -> str | None:
        """Wait in the thread of the run."""
        time.sleep(TOOL_S)
        return self.answer(response)


class Free(Tool):
    """A tool that takes no time: what the runner itself costs."""

    def reply(self, response: str) -> str | None:
        """Answer at once."""
        return self.answer(response)


class FreeAwaited(Tool):
    """An asynchronous tool that takes no time."""

    async def reply(self, response: str) -> str | None:
        """Answer at once."""
        return self.answer(response)


class Uneven(Tool):
    """An asynchronous tool whose times are drawn from an exponential distribution, a seed for each episode."""

    mean_s = TOOL_S

    def __init__(self, turns: int) -> None:
        super().__init__(turns)
        Uneven.count += 1
        draw = random.Random(Uneven.count)
        self.times = [draw.expovariate(1 / self.mean_s) for _ in range(turns)]

    count = 0

    async def reply(self, response: str) -> str | None:
        """Wait for the time of this turn."""
        await asyncio.sleep(self.times[len(self.times) - self.left])
        return self.answer(response)


class Tools(fg.ConversationEnv):
    """Episodes of one class."""

    def __init__(self, kind: type[Tool], turns: int) -> None:
        super().__init__(max_turns=turns + 1)
        self.kind_of_tool, self.turns = kind, turns

    def begin(self, task: fg.Task) -> fg.Episode:
        """A tool with a total of its own."""
        return self.kind_of_tool(self.turns)

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 for the right total."""
        return fg.Verdict.scored(float(transcript.outcome["total"] == sum(map(len, transcript.responses))))


class Called(fg.ToolEnv):
    """Episodes of ``fg.ToolEnv`` that call an asynchronous function in every turn."""

    blocking = False

    def __init__(self, turns: int) -> None:
        super().__init__(max_turns=turns, call_format="python", tools_text="")

    def functions(self, task: fg.Task) -> list[Callable[..., Any]]:
        """One function."""
        return [wait_blocking if self.blocking else wait]

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 if every call was made and answered."""
        made = transcript.outcome["calls"] == self.max_turns == len(transcript.responses)
        answered = all(m.content == f"{len(LINE)}" for m in transcript.messages if m.role == "tool")
        return fg.Verdict.scored(float(made and answered and not transcript.outcome["failed"]))


class CalledBlocking(Called):
    """The same with a blocking function, called in threads."""

    blocking = True


Kind = type[Tool] | type[Called]


async def wait(text: str) -> str:
    """Count characters.

    Args:
        text: Any text.
    """
    await asyncio.sleep(TOOL_S)
    return str(len(text))


def wait_blocking(text: str) -> str:
    """Count characters.

    Args:
        text: Any text.
    """
    time.sleep(TOOL_S)
    return str(len(text))


class Script(fg.Engine):
    """Answers every prompt with the same call."""

    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling) -> list[list[Completion]]:
        """A fenced line and an end token."""
        completion = Completion((*SAID.encode(), 0), (-0.5,) * (len(SAID) + 1), SAID, "eos")
        return [[completion] * n for _ in prompts]


class Characters:
    """A tokenizer whose tokens are code points."""

    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The code points."""
        return [ord(character) for character in text]


@dataclass(frozen=True)
class State:
    """What a leak would raise."""

    threads: int
    files: int
    tasks: int
    resident_mib: float

    @classmethod
    def now(cls) -> State:
        """Counted after a collection."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        tasks = sum(type(one) is asyncio.Task for one in gc.get_objects())
        return cls(
            threading.active_count(), len(os.listdir("/proc/self/fd")), tasks, pages * resource.getpagesize() / 2**20
        )


def round_seconds(kind: Kind, episodes: int, turns: int) -> float:
    """Wall-clock time of one round, scoring included."""
    return timed_round(kind, episodes, turns)[0]


def timed_round(kind: Kind, episodes: int, turns: int) -> tuple[float, float]:
    """Wall-clock and processor time of one round, scoring included."""
    env = kind(turns) if issubclass(kind, Called) else Tools(kind, turns)
    tasks = [fg.Task(f"episode {i}") for i in range(episodes // GROUP)]
    begun, used = time.perf_counter(), time.process_time()
    groups = run_episodes(
        env, Script(), ChatEncoder(Characters()), tasks, GROUP, Sampling(max_new_tokens=len(SAID) + 1)
    )
    elapsed = time.perf_counter() - begun, time.process_time() - used
    check(groups, turns)
    return elapsed


def check(groups: Sequence[TrajectoryGroup], turns: int) -> None:
    """Every episode was played to its end and is right."""
    for trajectory in (t for group in groups for t in group.trajectories):
        if trajectory.turns != turns or trajectory.verdict is None or trajectory.verdict.score != 1.0:
            raise SystemExit(f"an episode ended after {trajectory.turns} turns with {trajectory.verdict}")


def free_seconds(episodes: int, turns: int) -> float:
    """Wall-clock time of the same uneven tools where each episode goes on alone, with a policy that costs nothing."""

    async def one(tool: Uneven) -> None:
        while await tool.reply(SAID) is not None:
            pass

    async def every() -> None:
        await asyncio.gather(*(one(tool) for tool in tools))

    Uneven.count = 0
    tools = [Uneven(turns) for _ in range(episodes)]
    begun = time.perf_counter()
    asyncio.run(every())
    return time.perf_counter() - begun


def uneven_rows(turns: int, repeats: int = 3) -> list[str]:
    """The table of turns in step against episodes that go on alone."""
    table = ["| episodes | mean of a tool, s | in step, s | each alone, s | difference, s |", "|---|---|---|---|---|"]
    for episodes, mean_s in ((256, 0.1), (2000, 0.1), (256, 0.5)):
        Uneven.mean_s = mean_s
        step, free = [], []
        for _ in range(repeats):
            Uneven.count = 0
            step.append(round_seconds(Uneven, episodes, turns))
            free.append(free_seconds(episodes, turns))
        a, b = sorted(step)[repeats // 2], sorted(free)[repeats // 2]
        table.append(f"| {episodes} | {mean_s:g} | {a:.2f} | {b:.2f} | {a - b:.2f} |")
    return table


def rows(episodes: int, turns: int, rounds: int) -> list[str]:
    """The table of throughput and that of leaks."""
    table = [
        "| tool | at once | s, median | lowest to highest | CPU s | episodes/s | turns/s | against one by one |",
        "|---|---|---|---|---|---|---|---|",
    ]
    alone = SEQUENTIAL // GROUP * GROUP
    sides: list[tuple[str, Kind, int]] = [
        ("one by one (blocking)", Blocking, alone),
        ("awaited", Awaited, episodes),
        ("blocking, in 64 threads", Threaded, episodes),
        ("ToolEnv, awaited", Called, episodes),
        ("ToolEnv, blocking", CalledBlocking, episodes),
        ("awaited, 0 ms", FreeAwaited, episodes),
        ("blocking, 0 ms", Free, episodes),
    ]
    for _, kind, _count in sides:
        round_seconds(kind, GROUP, 1)  # starts the watchdog, the event loop and its threads
    speed = 0.0
    times: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in sides}
    for _ in range(rounds):
        for name, kind, count in sides:
            times[name].append(timed_round(kind, count, turns))
    for name, _, count in sides:
        found = sorted(wall for wall, _ in times[name])
        median, used = found[len(found) // 2], sorted(cpu for _, cpu in times[name])[len(found) // 2]
        rate = count * turns / median
        speed = speed or rate
        table.append(
            f"| {name} | {count if name != sides[0][0] else 1} | {median:.2f} | {found[0]:.2f} to {found[-1]:.2f} "
            f"| {used:.2f} | {count / median:.0f} | {rate:.0f} | {rate / speed:.1f} x |"
        )
    states = [State.now()]
    for _ in range(LEAK_ROUNDS):
        round_seconds(FreeAwaited, episodes, turns)
        states.append(State.now())
    leaks = ["| after further rounds | threads | open files | asyncio tasks | resident, MiB |", "|---|---|---|---|---|"]
    for number, state in enumerate(states):
        counts = f"{state.threads} | {state.files} | {state.tasks} | {state.resident_mib:.0f}"
        leaks.append(f"| {number or 'those above'} | {counts} |")
    return [*table, "", *leaks]


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    tables = rows(given.episodes, given.turns, given.rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone = SEQUENTIAL // GROUP * GROUP
    lines = [
        "# Conversations",
        "",
        f"`python benchmarks/conversations.py --write`: {given.episodes} episodes of {given.turns} turns with a tool "
        f"of {1000 * TOOL_S:.0f} ms, in one process on two CPU cores; {given.rounds} rounds, the sides in turn. The "
        f"policy is a script that answers at once. One by one: {alone} episodes, in which each call waits for the one "
        "before. "
        f"Peak memory of the process: {peak:.0f} MiB. Load average at the start: {load:.1f}.",
        "",
        *tables,
        "",
        f"Tools of uneven duration (exponential, equal draws on both sides, {given.turns} turns, medians of 3): turns "
        "in step, by the runner, against episodes that go on alone, without a runner and with a policy that costs "
        "nothing.",
        "",
        *uneven_rows(given.turns),
    ]
    print("\n".join(lines))
    if given.write:
        RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
