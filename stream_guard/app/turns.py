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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS: Final = 1  # of the loop between two turns, besides the one of the turn: four cost a tenth of the rate

ALONE_SECONDS: Final = 0.5  # at most: a server that answers late holds up its own partition, not the queries
LOOK_AGAIN_SECONDS: Final = 0.002

Result = TypeVar("Result")


class Turns:
    """Deals turns by when they were asked for and how long each can wait, so nobody waits for ever."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, bool, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._dealing = False
        self._alone_until: list[float] = []
        self._thread = ThreadPoolExecutor(1, "evaluation")

    async def apart(self, work: Callable[[], Result]) -> Result:
        """Do what may take seconds outside the loop, one such work after the other.

        A short one has the processor to itself, as if it were done in the loop. Of a long one nobody notices much:
        queries are read, servers are answered in time, and so are those who ask whether the worker lives.
        """
        with self.alone():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the caller waits for the answers of servers, nobody gets a turn who can wait for one.

        An answer takes many rounds of the loop. Were each as long as an envelope, an alert would take a second more.
        """
        until = time.monotonic() + ALONE_SECONDS
        self._alone_until.append(until)
        try:
            yield
        finally:
            self._alone_until.remove(until)

    async def take(self, patience_seconds: float) -> None:
        """Wait for a turn; it lasts until the caller waits for something else."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        due = time.monotonic() + patience_seconds
        heapq.heappush(self._waiting, (due, next(self._number), patience_seconds > 0.0, turn))
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
            patient = self._waiting[0][2]
            if patient and self._alone_until and time.monotonic() < max(self._alone_until):
                loop.call_later(LOOK_AGAIN_SECONDS, self._deal, 0)
                return
            turn = heapq.heappop(self._waiting)[3]
            if not turn.done():  # or whoever asked was cancelled
                turn.set_result(None)
                loop.call_soon(self._deal, ROUNDS)
                return
        self._dealing = False
