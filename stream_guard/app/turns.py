"""Who uses the processor next: one envelope at a time, and in between the event loop moves what has arrived.

Without turns every partition that has something to do does it in the same round of the loop, and a record on its way
from Kafka to a runner, which takes several rounds, waits for all of them in each. What follows from an evaluation then
stands behind queries that nobody is waiting for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Final

ROUNDS: Final = 4  # of the loop between two turns: as many as a record takes from the consumer to its runner


class Turns:
    """Deals turns by when they were asked for and how long each can wait, so nobody waits for ever."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._dealing = False

    async def take(self, patience_seconds: float) -> None:
        """Wait for a turn; it lasts until the caller waits for something else."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        heapq.heappush(self._waiting, (time.monotonic() + patience_seconds, next(self._number), turn))
        if not self._dealing:
            self._dealing = True
            loop.call_soon(self._deal, 0)
        await turn

    def _deal(self, rounds: int) -> None:
        loop = asyncio.get_running_loop()
        if rounds:
            loop.call_soon(self._deal, rounds - 1)
            return
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():  # or whoever asked was cancelled
                turn.set_result(None)
                loop.call_soon(self._deal, ROUNDS)
                return
        self._dealing = False
