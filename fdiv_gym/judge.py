"""Judge: scores responses without a reference answer (rules, classifiers, language models)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from fdiv_gym.options import Configurable
from fdiv_gym.task import Task
from fdiv_gym.verdict import Verdict


class Judge(Configurable):
    """Base of judges. A subclass implements ``judge`` (async, batched).

    A transport failure or an unparsable reply is ``unscorable``, never a low score.
    """

    kind: ClassVar[str] = "judge"
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    async def judge(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """Judge response i as an answer to task i. Must not raise on any text."""
        raise NotImplementedError

    def judge_batch(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """``judge`` for callers without an event loop; works inside a running loop too."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.judge(tasks, responses))
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(self.judge(tasks, responses))).result()

    def close(self) -> None:
        """Release clients and files; may be called more than once."""
