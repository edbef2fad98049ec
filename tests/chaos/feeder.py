"""Sends a run's records in their order, as far as it is allowed to."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # aiokafka ships no types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.traffic import Item

SLICE = 1_000
WAIT_SECONDS = 0.05


class Feeder:
    """A thread with an idempotent producer: every record arrives once and in order, whatever the broker does.

    A slice is acknowledged before the next one starts, so partitions never lie far apart in event time.
    """

    def __init__(self, bootstrap: str, topic: str, items: Sequence[Item]) -> None:
        self.sent = 0
        self.error: BaseException | None = None
        self._bootstrap, self._topic, self._items = bootstrap, topic, items
        self._allowed, self._per_second = 0, float("inf")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def allow(self, share: float, over_seconds: float = 0.0) -> None:
        """Send up to that share of the records, spread over some seconds."""
        allowed = int(min(1.0, share) * len(self._items))
        self._per_second = (allowed - self.sent) / over_seconds if over_seconds else float("inf")
        self._allowed = allowed

    @property
    def done(self) -> bool:
        return self.sent == len(self._items)

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(130)

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001 # told by whoever waits
            self.error = error

    async def _send(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            linger_ms=5,
            max_batch_size=262_144,
            enable_idempotence=True,
            request_timeout_ms=120_000,
        )
        await producer.start()
        try:
            while not self._stopping and not self.done:
                part = self._items[self.sent : min(self.sent + SLICE, self._allowed)]
                if not part:
                    await asyncio.sleep(WAIT_SECONDS)
                    continue
                started = time.monotonic()
                sent = [
                    await producer.send(self._topic, key=item.key, value=item.value, partition=item.partition)
                    for item in part
                ]
                await producer.flush()
                await asyncio.gather(*sent)
                self.sent += len(part)
                await asyncio.sleep(max(0.0, len(part) / self._per_second - (time.monotonic() - started)))
        finally:
            await producer.stop()
