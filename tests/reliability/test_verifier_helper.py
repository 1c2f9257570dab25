"""The helper process of the math verifier is killed while a batch of answers is judged."""

import os
import signal
import threading
import time
from collections import Counter

from fdiv_gym_mathverify.pool import WorkerPool


def results(pool, count, kills):
    futures = pool.submit([[(str(i), str(i))] for i in range(count)], 20.0)
    for done in kills:
        while sum(future.done() for future in futures) < done:
            time.sleep(0.002)
        os.kill(pool.pid, signal.SIGKILL)
        time.sleep(0.05)
    return Counter(future.result(120)[0] for future in futures)


def test_a_killed_helpers_batch_is_retried_once():
    pool = WorkerPool(1, 2**31)
    try:
        found = results(pool, 600, [50])
    finally:
        pool.close()
    assert found["error"] == 0, found
    assert sum(found.values()) == 600


def test_a_second_loss_is_an_error_and_the_next_batch_is_judged():
    pool = WorkerPool(1, 2**31)
    try:
        futures = pool.submit([[(str(i), str(i))] for i in range(600)], 20.0)
        killed = set()
        deadline = time.monotonic() + 300
        while len(killed) < 2 and time.monotonic() < deadline:
            pid = pool.pid
            if pid is not None and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)
        found = Counter(future.result(120)[0] for future in futures)
        assert found["error"] > 0
        assert results(pool, 5, [])["error"] == 0
    finally:
        pool.close()
    assert threading.active_count() < 20
