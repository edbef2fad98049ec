"""Hand-written stand-ins for Kafka: a tap that is fed by the test and a sender that keeps what it is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stream_guard.app.checkpoint import Collaborators, Limits
from stream_guard.app.health import NodeHealth, NullMetrics
from stream_guard.app.runner import Kept, PartitionRunner
from stream_guard.ports import Envelope, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.app.sinks import OutputSink
    from stream_guard.ports import Message, Node, StateStore


class FakeTap:
    """Starts where it is told; remembers holds."""

    def __init__(self, records: Mapping[Topic, Sequence[bytes]]) -> None:
        self.records = records
        self.holds: set[str] = set()
        self.ticket = 0
        self.closed = False
        self.caught_up = True
        self.recorded: dict[Topic, int] = {}
        self.started_at: dict[Topic, int] = {}

    async def start(self, stored: Mapping[Topic, int]) -> tuple[int, Mapping[Topic, int], bool]:
        positions = {topic: stored.get(topic, 0) for topic in self.records}
        return await self.resume(positions), positions, not stored

    async def resume(self, positions: Mapping[Topic, int]) -> int:
        self.ticket += 1
        self.started_at = dict(positions)
        return self.ticket

    def hold(self, reason: str) -> None:
        self.holds.add(reason)

    def release(self, reason: str) -> None:
        self.holds.discard(reason)

    def shut(self) -> None:
        self.closed = True

    def record(self, positions: Mapping[Topic, int]) -> None:
        self.recorded.update(positions)

    def waiting(self, positions: Mapping[Topic, int]) -> Mapping[Topic, int] | None:
        return {topic: len(self.records[topic]) - positions.get(topic, 0) for topic in self.records}

    async def at_ends(self, positions: Mapping[Topic, int]) -> bool:
        return self.caught_up and not any((self.waiting(positions) or {}).values())


class FakeSender:
    """Acknowledges at once; refuses the next `refusals` messages."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.refusals = 0

    async def send(self, message: Message) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.refusals > 0:
            self.refusals -= 1
            future.set_exception(ConnectionError("refused"))
        else:
            self.sent.append(message)
            future.set_result(None)
        return future


class Bench:
    """A runner on a fake tap, to be fed by hand."""

    def __init__(
        self,
        store: StateStore,
        make_node: Callable[[], Node],
        records: Sequence[bytes],
        *,
        limits: Limits | None = None,
        sinks: Sequence[OutputSink] = (),
        kept: Kept | None = None,
    ) -> None:
        self.tap = FakeTap({Topic.QUERIES: records})
        self.sender = FakeSender()
        self.health = NodeHealth("accounts:0")
        limits = limits or Limits(checkpoint_seconds=0.01, retry_first_seconds=0.01, retry_most_seconds=0.02)
        self.runner = PartitionRunner(
            "accounts:0",
            make_node=make_node,
            tap=self.tap,
            shared=Collaborators(store, self.sender, sinks, NullMetrics(), limits),
            health=self.health,
            kept=kept,
        )
        self.task: asyncio.Task[Kept | None] = asyncio.create_task(self.runner.run())

    async def restored(self) -> None:
        await self.until(lambda: self.health.restored)

    def feed(self, start: int, stop: int, ticket: int | None = None) -> None:
        values = self.tap.records[Topic.QUERIES][start:stop]
        envelope = Envelope(Topic.QUERIES, 0, list(range(start, start + len(values))), values)
        self.runner.offer(self.tap.ticket if ticket is None else ticket, envelope)

    async def until(self, condition: Callable[[], bool], seconds: float = 3.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.002)

    async def stop(self) -> Kept | None:
        self.runner.stop()
        return await self.task
