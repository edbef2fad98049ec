"""Waiting between the rounds of a loop that runs until it is cancelled."""

from __future__ import annotations

import asyncio


async def pause(seconds: float) -> None:
    """Sleep, or end the task at once where its cancellation was lost on the way.

    `asyncio.wait_for`, which redis-py waits with, hides a cancellation that arrives together with the result (CPython
    gh-86296, repaired in 3.12). A loop that polls for ever would then do so, and its process would never stop.

    Raises:
        CancelledError: somebody cancelled this task, now or earlier.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)
