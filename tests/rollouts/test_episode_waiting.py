"""Asynchronous episodes: awaited together, in one event loop that stays, each with its own deadline."""

import asyncio
import gc
import logging
import os
import threading
import time
import weakref

import pytest
from episodes_harness import Counter, Talks, run, run_text, statuses, tasks_of

from fdiv_gym.envs.play import play
from fdiv_gym.envs.waiting import EventLoop, event_loop
from fdiv_gym.registry.watchdog import watchdog

GENEROUS_S = 60.0


class Gate:
    """Opens when ``count`` coroutines wait at it; until then none goes on."""

    def __init__(self, count):
        self.count, self.waiting, self.opened = count, 0, asyncio.Event()

    async def wait(self):
        self.waiting += 1
        if self.waiting == self.count:
            self.opened.set()
        await asyncio.wait_for(self.opened.wait(), GENEROUS_S)


@pytest.mark.parametrize("method", ["begin", "opening", "reply", "outcome", "close"])
def test_asynchronous_calls_of_all_episodes_are_awaited_together(method):
    gates = []

    async def gated(self, *arguments):
        if not gates or gates[-1].opened.is_set():
            gates.append(Gate(5))
        await gates[-1].wait()
        return inherited(self, *arguments)

    if method == "begin":
        inherited = Talks.begin
        env = type("Gated", (Talks,), {"begin": gated})()
    else:
        inherited = getattr(Counter, method)
        env = Talks(type("Gated", (Counter,), {method: gated}))
    found = run(env, tasks_of(*[3] * 5))
    assert statuses(found) == ["scored"] * 5
    assert len(gates) == (3 if method == "reply" else 1)  # one for each turn: nobody waits for a single episode
    assert [episode.closed for episode in env.episodes] == [1] * 5


def test_one_episode_that_waits_for_another_s_reply_would_stop_a_loop_over_them():
    """The plant for the gate: awaited one after the other, they would never open it."""

    async def alone():
        gate = Gate(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await gate.wait()
        return gate.opened.is_set()

    assert asyncio.run(alone()) is False


def test_replies_come_back_to_their_own_episodes_in_whatever_order_they_end():
    order = []

    class Reversed(Counter):
        async def reply(self, response):
            number = env.episodes.index(self)
            while len(order) % 4 != 3 - number:
                await asyncio.sleep(0)
            order.append(number)
            return super().reply(response)

    env = Talks(Reversed)
    found = run(env, tasks_of(2, 2, 2, 2))
    assert order == [3, 2, 1, 0] * 2
    assert [t.transcript.messages[2].content for t in found] == [f"turn 1 of t{i}" for i in range(4)]


def test_sync_and_async_episodes_play_in_one_batch():
    class Some(Counter):
        def reply(self, response):
            answer = super().reply(response)

            async def later():
                await asyncio.sleep(0)
                return answer

            return later() if self.task.prompt == "t1" else answer

    found = run(Talks(Some), tasks_of(2, 2, 3))
    assert [t.turns for t in found] == [2, 2, 3]
    assert statuses(found) == ["scored"] * 3


@pytest.mark.parametrize("runner", [run, run_text], ids=["tokens", "text"])
def test_a_late_reply_is_cancelled_and_costs_one_timeout(runner):
    ended = []

    class Late(Counter):
        async def reply(self, response):
            if self.task.prompt == "t1":
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(self.task.prompt)
            return super().reply(response)

    env = Talks(Late, reply_deadline_s=0.2)
    found = runner(env, tasks_of(2, 2, 2))
    assert statuses(found) == ["scored", "timeout", "scored"]
    assert found[1].verdict.detail == "a reply took more than 0.2 s (env.reply_deadline_s)"
    assert ended == ["t1"]
    assert [episode.closed for episode in env.episodes] == [1, 1, 1]


def test_a_late_reply_that_answers_its_cancellation_is_late_all_the_same():
    class Stubborn(Counter):
        async def reply(self, response):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "still here"

    (found,) = run(Talks(Stubborn, reply_deadline_s=0.05), tasks_of(1))
    assert str(found.verdict.status) == "timeout"


def test_a_late_plain_reply_costs_one_timeout():
    class Slow(Counter):
        def reply(self, response):
            if self.task.prompt == "t1":
                time.sleep(0.25)
            return super().reply(response)

    found = run(Talks(Slow, reply_deadline_s=0.2), tasks_of(1, 1))
    assert statuses(found)[1] == "timeout"


@pytest.mark.parametrize("method", ["begin", "opening", "outcome", "close"])
def test_the_other_calls_have_the_same_deadline(method, caplog):
    async def never(self, *arguments):
        if method == "close":
            self.closed += 1
        await asyncio.Event().wait()

    own = {method: never}
    env = type("Late", (Talks,), own)() if method == "begin" else Talks(type("Late", (Counter,), own))
    env = env.__class__(env.episode, reply_deadline_s=0.05)
    with caplog.at_level(logging.WARNING):
        (found,) = run(env, tasks_of(1))
    if method == "close":
        assert str(found.verdict.status) == "scored"
        assert "closing an episode took more than 0.05 s" in caplog.text
    else:
        assert str(found.verdict.status) == "timeout"
        assert f"the {method} of an episode took more than 0.05 s" in found.verdict.detail
    assert [episode.closed for episode in env.episodes] == ([] if method == "begin" else [1])


def test_the_watchdog_is_set_again_while_replies_go_on_and_not_for_each(monkeypatch):
    sent = []
    monkeypatch.setattr(watchdog, "_send", sent.append)
    run(Talks(), tasks_of(*[1] * 50))
    begun = [line.split("\t") for line in sent if "\t" in line]
    assert [(line[1], line[3]) for line in begun if "a reply" in line[3]] == [
        ("125.0", "a reply (env.reply_deadline_s)")
    ]
    assert len(sent) == 2 * len(begun)

    class Slow(Counter):
        async def reply(self, response):
            time.sleep(0.03)
            return super().reply(response)

    sent.clear()
    run(Talks(Slow, reply_deadline_s=0.02), tasks_of(*[1] * 4))
    begun = [line for line in sent if "a reply" in line]
    assert len(begun) >= 4  # each blocked the loop for longer than half of the deadline
    assert {line.split("\t")[1] for line in begun} == {"5.04"}


def test_a_client_of_a_server_lives_from_turn_to_turn_and_from_batch_to_batch():
    class Clients(Counter):
        async def reply(self, response):
            loop = asyncio.get_running_loop()
            if env.server is None:
                env.server = asyncio.Queue()
                env.task = loop.create_task(serve())
            answer = loop.create_future()
            await env.server.put(answer)
            env.loops.add(loop)
            await answer
            return super().reply(response)

    async def serve():  # stands for a connection with a reader of its own
        while True:
            (await env.server.get()).set_result(None)

    env = Talks(Clients)
    env.server, env.loops = None, set()
    for _ in range(2):
        assert statuses(run(env, tasks_of(2, 3))) == ["scored"] * 2
    assert len(env.loops) == 1
    loop = next(iter(env.loops))
    loop.call_soon_threadsafe(env.task.cancel)


def test_a_caller_with_a_running_event_loop():
    class Later(Counter):
        async def reply(self, response):
            await asyncio.sleep(0)
            return super().reply(response)

    async def notebook():
        return run(Talks(Later), tasks_of(2, 1))

    assert statuses(asyncio.run(notebook())) == ["scored"] * 2


def test_an_episode_may_play_another_environment():
    class Inner(Counter):
        async def reply(self, response):
            await asyncio.sleep(0)
            return super().reply(response)

    class Outer(Counter):
        async def reply(self, response):
            inner = play(Talks(Inner), tasks_of(2)[0], lambda messages: "in")
            assert inner.outcome["said"] == "inin"
            return super().reply(response)

    found = run(Talks(Outer), tasks_of(1, 2))
    assert [t.verdict.detail for t in found] == [""] * 2


def test_what_an_episode_plays_may_play_another_environment():
    loop, found = EventLoop(), []

    async def level(depth):
        await asyncio.sleep(0)
        return 1 + (loop.run(lambda: level(depth - 1)) if depth else 0)

    thread = threading.Thread(target=lambda: found.append(loop.run(lambda: level(3))), daemon=True)
    thread.start()
    thread.join(GENEROUS_S)
    assert found == [4]
    loop.close()


def test_a_task_of_an_episode_that_exits_ends_its_episode_only(caplog):
    class Exits(Counter):
        async def reply(self, response):
            async def leaves():
                raise SystemExit(4)

            if self.task.prompt == "t1":
                await asyncio.get_running_loop().create_task(leaves())
            await asyncio.sleep(0)
            return super().reply(response)

    found = run(Talks(Exits), tasks_of(2, 2, 2))
    assert statuses(found) == ["scored", "error", "scored"]
    assert "SystemExit: 4" in found[1].verdict.detail
    assert "a task in the event loop of the episodes raised SystemExit" in caplog.text


def test_an_interrupt_in_the_waiting_thread_cancels_the_calls(monkeypatch):
    loop = EventLoop()
    state = []

    async def waits():
        state.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            state.append("ended")

    class Interrupted:
        def __init__(self, future):
            self.future = future

        def result(self):
            deadline = time.monotonic() + GENEROUS_S
            while not state and time.monotonic() < deadline:
                time.sleep(0.001)
            raise KeyboardInterrupt

        def __getattr__(self, name):
            return getattr(self.future, name)

    submit = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", lambda *given: Interrupted(submit(*given)))
    with pytest.raises(KeyboardInterrupt):
        loop.run(waits)
    assert state == ["began", "ended"]
    monkeypatch.undo()
    loop.close()
    assert loop.run(lambda: asyncio.sleep(0, "again")) == "again"  # another one
    loop.close()


def test_an_interrupt_before_the_future_is_known_cancels_the_calls(monkeypatch):
    loop, began, state = EventLoop(), threading.Event(), []

    async def waits():
        began.set()
        try:
            await asyncio.sleep(GENEROUS_S)
        finally:
            state.append("ended")

    submit = asyncio.run_coroutine_threadsafe

    def interrupted(*given):
        submit(*given)
        assert began.wait(GENEROUS_S)
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(waits)
    assert state == ["ended"]
    loop.close()


def test_a_forked_process_has_an_event_loop_of_its_own():
    assert event_loop.run(lambda: asyncio.sleep(0, 1)) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if event_loop.run(lambda: asyncio.sleep(0, 2)) == 2 else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Held:
    """Something that an episode holds."""


def test_nothing_is_left_of_an_episode():
    held = weakref.WeakSet()

    class Holds(Counter):
        def __init__(self, env, task):
            super().__init__(env, task)
            env.episodes.clear()
            self.thing = Held()
            held.add(self.thing)

        async def reply(self, response):
            await asyncio.sleep(0)
            if self.task.prompt == "t1":
                raise ValueError("broken")
            if self.task.prompt == "t2":
                await asyncio.Event().wait()
            return super().reply(response)

    def once():
        env = Talks(Holds, reply_deadline_s=0.05)
        found = run(env, tasks_of(2, 2, 2, 2))
        env.log.clear()
        return found

    def state():
        gc.collect()
        tasks = [one for one in gc.get_objects() if type(one) is asyncio.Task]
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(tasks), len(held)

    once()
    before = state()
    kept = [once() for _ in range(3)]  # trajectories may be kept, their episodes are not
    assert statuses(kept[-1]) == ["scored", "error", "timeout", "scored"]
    assert state() == before
    assert before[3] == 0
