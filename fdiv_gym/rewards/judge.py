"""Judge: scores responses without a reference answer (rules, classifiers, language models)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, TypeVar

from fdiv_gym.cache import cache_folder
from fdiv_gym.errors import EnvError, JudgeError
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.guard import attribute_errors, check_verdict, check_verdicts
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.options import Configurable
from fdiv_gym.rewards.cache import VerdictCache
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Verdict

T = TypeVar("T")


@dataclass
class JudgeUsage:
    """Counters of a judge since it was built; all are counts, except where a unit is given."""

    judged: int = 0
    """Verdicts returned."""
    unscorable: int = 0
    """Verdicts without a score."""
    cached: int = 0
    """Verdicts read from the cache on disk."""
    calls: int = 0
    """Requests sent to a server, retries included."""
    retries: int = 0
    """Requests repeated after a failure."""
    prompt_tokens: int = 0
    """Tokens sent, as the server counts them."""
    completion_tokens: int = 0
    """Tokens received, as the server counts them."""
    cost: float = 0.0
    """Price of these tokens, in the currency of the configured prices."""

    def to_dict(self) -> dict[str, float]:
        """The counters as plain numbers."""
        return asdict(self)


class Judge(Configurable):
    """Base of judges. A subclass implements ``judge`` (async, batched).

    A transport failure or a reply that cannot be parsed is ``unscorable``, never a low score.

    Attributes:
        usage: the counters of the judge.
    """

    kind: ClassVar[str] = "judge"
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.usage = JudgeUsage()

    async def judge(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """Score response i as an answer to task i. Must not raise for any text.

        A judge may compare the responses of a group with each other. Which ones belong together, ``groups_of`` of
        ``fdiv_gym.types`` tells: responses to the same task, drawn together. In a group of one, as in greedy
        evaluations, a score that needs others is missing (unscorable), and not 0.
        """
        raise NotImplementedError

    async def compare(self, tasks: Sequence[Task], firsts: Sequence[str], seconds: Sequence[str]) -> list[Verdict]:
        """Preference for the first answer to each task over the second: 1, 0.5 for a tie, or 0.

        The default compares the scores of ``judge``; override it to compare both answers directly.
        """
        pairs = [replace(task, group=i) for i, task in enumerate(tasks)]  # a judge that compares gets the two alone
        verdicts = await self.judge([*pairs, *pairs], [*firsts, *seconds])
        return [_compared(a, b) for a, b in zip(verdicts[: len(tasks)], verdicts[len(tasks) :], strict=True)]

    def judge_batch(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """``judge`` for callers without an event loop; it also works inside a running loop."""
        with attribute_errors(self):
            verdicts = run_async(lambda: self.judge(tasks, responses))
        verdicts = check_verdicts(self, verdicts, len(tasks), call="judge")
        self.usage.judged += len(verdicts)
        self.usage.unscorable += sum(not verdict.is_scored for verdict in verdicts)
        return verdicts

    def counters(self) -> dict[str, float]:
        """``usage`` as numbers for the log; a judge composed of judges adds their counters."""
        return self.usage.to_dict()

    def identity(self) -> dict[str, Any]:
        """The name and options that determine its verdicts; part of every cache key, so it must hold no secret."""
        return {"judge": type(self).registered_name(), "options": self.options.model_dump(mode="json")}

    def parts(self) -> Sequence[Judge]:
        """The judges that this judge calls, if it is composed of judges."""
        return ()

    def close(self) -> None:
        """Release clients and files; may be called more than once."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is built from the options: models, locks, clients and keys are not pickled.
        return _rebuilt, (type(self), self.options.model_dump(), self.entry)


class CachedJudge(Judge):
    """A judge whose scored verdicts are cached on disk; a subclass implements ``judge_fresh``.

    Attributes:
        caching: whether verdicts are read from the cache and written to it; initially the option ``cache``.
    """

    class Options(_options.Options):
        """Options of every judge with a cache."""

        cache: bool = True
        """Whether verdicts are cached on disk (in ``FDIV_GYM_CACHE`` or the user's cache folder)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.caching: bool = self.options.cache
        self._cache = VerdictCache(cache_folder() / "verdicts")

    async def judge_fresh(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """``judge`` for responses that are not cached."""
        raise NotImplementedError

    async def judge(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """Cached verdicts where available, new ones elsewhere; equal pairs are scored once."""
        items = list(zip(tasks, responses, strict=True))

        async def fresh(indices: Sequence[int]) -> list[Verdict]:
            return await self.judge_fresh([items[i][0] for i in indices], [items[i][1] for i in indices])

        return await self.through_cache([("judge", task.hash, response) for task, response in items], fresh)

    async def through_cache(
        self, contents: Sequence[Sequence[Any]], fresh: Callable[[Sequence[int]], Coroutine[Any, Any, list[Verdict]]]
    ) -> list[Verdict]:
        """Verdicts by content.

        Args:
            contents: JSON values that, with ``identity``, determine each verdict.
            fresh: computes the verdicts of the entries that are not cached.
        """
        identity = self.identity()
        keys = [VerdictCache.key(identity, *content) for content in contents]
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        known = {key: v for key in first if self.caching and (v := self._stored(key)) is not None}
        self.usage.cached += sum(key in known for key in keys)
        missing = sorted(i for key, i in first.items() if key not in known)
        if missing:
            for i, verdict in zip(missing, await fresh(missing), strict=True):
                known[keys[i]] = verdict
                if self.caching:
                    self._cache.put(keys[i], verdict)
        return [known[key] for key in keys]

    def _stored(self, key: str) -> Verdict | None:
        """The cached verdict; None if this judge cannot have returned it, which means that the file is damaged."""
        verdict = self._cache.get(key)
        try:
            return None if verdict is None else check_verdict(self, verdict)
        except (EnvError, JudgeError):
            return None


def run_async(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a coroutine, whether or not an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_interrupted_once(start))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_interrupted_once(start))).result()


async def _interrupted_once(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """``start()``, without asyncio's report of a Ctrl-C that arrived while a task of it was running.

    The loop raises that KeyboardInterrupt to its caller, and reports the task whose exception nobody retrieved as well:
    a traceback after the last line of the command.
    """

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), KeyboardInterrupt):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(report)
    return await start()


def _rebuilt(judge_class: type[Judge], options: dict[str, Any], entry: Any) -> Judge:
    judge = judge_class(**options)
    judge.entry = entry
    return judge


def _compared(first: Verdict, second: Verdict) -> Verdict:
    if first.score is None or second.score is None:
        worse = first if first.score is None else second
        return Verdict.unscorable(f"one of two responses has no score: {worse.detail}")
    return Verdict.scored(0.5 + 0.5 * ((first.score > second.score) - (first.score < second.score)))


def get_judge(spec: Spec | Judge, **options: Any) -> Judge:
    """A judge of responses, e.g. ``get_judge("rule")``; see ``fdiv_gym.get``."""
    plugin: Judge = get("judge", spec, **options)
    return plugin
