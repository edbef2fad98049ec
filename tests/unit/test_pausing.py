"""A loop that polls ends when it is cancelled, also where a library lost the cancellation."""

from __future__ import annotations

import asyncio

import pytest

from stream_guard.pausing import pause


async def _loses_a_cancellation() -> None:
    """What `asyncio.wait_for` of Python 3.11 does where the result and the cancellation come together."""
    try:
        await asyncio.sleep(3600.0)
    except asyncio.CancelledError:
        return


async def test_a_lost_cancellation_ends_the_task_at_the_next_pause() -> None:
    rounds: list[int] = []

    async def polls() -> None:
        while True:
            await _loses_a_cancellation()
            rounds.append(1)
            await pause(3600.0)

    task = asyncio.create_task(polls())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10.0):
            await task
    assert rounds == [1]


async def test_it_sleeps() -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    await pause(0.02)
    assert loop.time() - before >= 0.02


async def test_a_cancellation_while_it_sleeps_is_an_ordinary_one() -> None:
    task = asyncio.create_task(pause(3600.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
