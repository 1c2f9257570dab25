"""A Ctrl-C inside a task of a judge: raised once, and reported once."""

import asyncio
import gc
import logging

import pytest

from fdiv_gym.rewards import run_async


@pytest.mark.parametrize(("raised", "reports"), [(KeyboardInterrupt, 0), (ValueError, 1)])
def test_an_interrupt_in_a_task_is_not_reported_again(raised, reports, caplog):
    async def request():
        raise raised

    async def start():
        task = asyncio.get_running_loop().create_task(request())
        await asyncio.sleep(0.05)  # the interrupt ends the loop here; another exception stays in the task
        del task
        gc.collect()
        return 3

    with caplog.at_level(logging.ERROR, "asyncio"):
        if raised is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                run_async(start)
        else:
            assert run_async(start) == 3
        gc.collect()
    assert len([r for r in caplog.records if "never retrieved" in r.getMessage()]) == reports
