"""Tools that work or fail in a given way, and what their environment says."""

import asyncio
import json

import fdiv_gym as fg
from fdiv_gym.envs.play import play

FINAL = "done"


def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


async def later(text: str) -> str:
    """Say a text later.

    Args:
        text: What to say.
    """
    await asyncio.sleep(0)
    return text


def broken(kind: str) -> str:
    """Fail.

    Args:
        kind: How.
    """
    if kind == "exit":
        raise SystemExit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(f"no {kind}")


async def broken_later(kind: str) -> str:
    """Fail later.

    Args:
        kind: How.
    """
    await asyncio.sleep(0)
    if kind == "cancelled":
        raise asyncio.CancelledError
    return broken(kind)


def values(kind: str) -> object:
    """Give a value of a kind.

    Args:
        kind: Which.
    """
    endless = []
    endless.append(endless)
    return {
        "none": None, "float": 0.5, "truth": True, "list": [1, "ü"], "bytes": b"x", "long": "x" * 50,
        "endless": endless, "surrogate": "\ud800",
    }[kind]  # fmt: skip


class Tools(fg.ToolEnv):
    tools_given = (add, later, broken, broken_later, values)

    def tasks(self, split):
        return [fg.Task(f"{split} {i}") for i in range(3)]

    def functions(self, task):
        return self.tools_given

    def score(self, task, transcript):
        return fg.Verdict.scored(float(transcript.response == FINAL))


def call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def said(env, *responses):
    """What the environment says to each response, and the transcript."""
    left = [*responses, FINAL]
    heard = []

    def player(messages):
        heard.append([m.content for m in messages])
        return left.pop(0)

    transcript = play(env, env.task_list("train")[0], player)
    messages = transcript.messages[transcript.opening :]
    return [m.content for m in messages if m.role == env.options.tool_role], transcript
