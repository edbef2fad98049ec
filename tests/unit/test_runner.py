"""The numbered steps of `ports`, on a fake tap and the in-memory store."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from stream_guard.adapters.memory_state import MemoryStateStore
from stream_guard.app import runner
from stream_guard.app.checkpoint import Limits
from stream_guard.app.runner import NOTABLE_SECONDS
from stream_guard.errors import FencedError, ServiceUnavailableError
from stream_guard.ports import Message, Output, Topic
from tests.support.counting import CountingNode
from tests.support.fakes import Bench

if TYPE_CHECKING:
    from stream_guard.ports import Node

RECORDS = [json.dumps({"account_id": f"a{number % 3}", "ts": float(number)}).encode() for number in range(30)]


def counting() -> Node:
    return cast("Node", CountingNode(0))


async def stored_counts(store: MemoryStateStore) -> dict[bytes, bytes]:
    return dict(await MemoryStateStore(store).read_all("accounts:0"))


async def test_counts_and_positions_become_durable_together() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    bench.feed(0, 10)
    bench.feed(10, 30)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 30})
    assert await stored_counts(store) == {b"a0": b"10", b"a1": b"10", b"a2": b"10"}
    assert bench.health.warming
    assert bench.runner.drained
    assert await bench.stop() is not None
    assert bench.tap.closed


async def test_records_fetched_before_the_seek_are_dropped() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    bench.feed(5, 10, ticket=bench.tap.ticket - 1)
    bench.feed(0, 3)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    assert await stored_counts(store) == {b"a0": b"1", b"a1": b"1", b"a2": b"1"}
    await bench.stop()


async def test_a_later_owner_resumes_at_the_stored_position() -> None:
    store = MemoryStateStore()
    first = Bench(store, counting, RECORDS)
    await first.restored()
    first.feed(0, 12)
    await first.until(lambda: first.runner.positions == {Topic.QUERIES: 12})
    await first.stop()
    second = Bench(MemoryStateStore(store), counting, RECORDS)
    await second.restored()
    assert second.tap.started_at == {Topic.QUERIES: 12}
    assert not second.health.warming
    second.feed(12, 30)
    await second.until(lambda: second.runner.positions == {Topic.QUERIES: 30})
    await second.stop()
    assert await stored_counts(store) == {b"a0": b"10", b"a1": b"10", b"a2": b"10"}


async def test_a_kept_node_goes_on_without_reading() -> None:
    store = MemoryStateStore()
    first = Bench(store, counting, RECORDS)
    await first.restored()
    first.feed(0, 6)
    await first.until(lambda: first.runner.positions == {Topic.QUERIES: 6})
    kept = await first.stop()
    assert kept is not None
    second = Bench(store, counting, RECORDS, kept=kept)
    await second.restored()
    assert second.runner.node is kept.node
    await second.stop()
    await MemoryStateStore(store).acquire("accounts:0")
    third = Bench(store, counting, RECORDS, kept=kept)
    await third.restored()
    assert third.runner.node is not kept.node
    await third.stop()


async def test_a_fenced_runner_ends_without_writing() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    await MemoryStateStore(store).acquire("accounts:0")
    bench.feed(0, 3)
    with pytest.raises(FencedError):
        await bench.task
    assert await stored_counts(store) == {}
    assert bench.tap.closed


async def test_known_accounts_are_scored_while_the_store_is_away() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    bench.feed(0, 3)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    store.away = True
    bench.feed(3, 9)
    await bench.until(lambda: bench.runner.positions == {Topic.QUERIES: 9} and bench.health.degraded)
    assert bench.tap.recorded == {Topic.QUERIES: 3}, "nothing is committed"
    store.away = False
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 9})
    assert not bench.health.degraded
    assert await stored_counts(store) == {b"a0": b"3", b"a1": b"3", b"a2": b"3"}
    await bench.stop()


async def test_an_unknown_account_waits_for_the_store() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    store.away = True
    bench.feed(0, 3)
    await bench.until(lambda: bench.health.degraded)
    assert bench.runner.positions == {Topic.QUERIES: 0}
    store.away = False
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    await bench.stop()


async def test_too_much_dirt_holds_the_partition_back() -> None:
    store = MemoryStateStore()
    limits = Limits(checkpoint_seconds=0.01, max_dirty=2, retry_first_seconds=0.01, retry_most_seconds=0.02)
    bench = Bench(store, counting, RECORDS, limits=limits)
    await bench.restored()
    bench.feed(0, 3)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    store.away = True
    bench.feed(3, 6)
    bench.feed(6, 9)
    await bench.until(lambda: "dirty" in bench.tap.holds)
    assert bench.runner.positions == {Topic.QUERIES: 6}
    store.away = False
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 9})
    assert "dirty" not in bench.tap.holds
    await bench.stop()


async def test_stopping_while_an_account_waits_loses_nothing() -> None:
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    store.away = True
    bench.feed(0, 3)
    await bench.until(lambda: bench.health.degraded)
    await bench.stop()
    store.away = False
    assert await stored_counts(store) == {}


async def test_refused_messages_are_sent_again_before_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_guard.app.outbox.FIRST_WAIT_SECONDS", 0.001)
    bench = Bench(MemoryStateStore(), counting, RECORDS)
    await bench.restored()
    bench.sender.refusals = 3
    bench.feed(0, 3)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    assert bench.sender.sent
    await bench.stop()


async def test_messages_refused_for_good_end_the_runner_without_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_guard.app.outbox.FIRST_WAIT_SECONDS", 0.001)
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    bench.sender.refusals = 1_000
    bench.feed(0, 3)
    with pytest.raises(ServiceUnavailableError):
        await bench.task
    assert await stored_counts(store) == {}


class _Sink:
    def __init__(self) -> None:
        self.away = True
        self.outputs: list[Output] = []

    async def publish(self, output: Output) -> None:
        if self.away:
            raise ServiceUnavailableError("the sink plays dead")
        self.outputs.append(output)


class _Telling(CountingNode):
    def process(self, prepared: object) -> Output:
        output = super().process(prepared)  # type: ignore[arg-type] # what `decode` made
        return Output(output.messages, output.counts, campaigns=[cast("object", "campaign")])  # type: ignore[list-item] # the runner only looks whether there are any


async def test_a_checkpoint_waits_for_the_sinks() -> None:
    store, sink = MemoryStateStore(), _Sink()
    bench = Bench(store, lambda: cast("Node", _Telling(0)), RECORDS, sinks=[sink])
    await bench.restored()
    bench.feed(0, 3)
    await bench.until(lambda: bench.health.degraded)
    assert await stored_counts(store) == {}
    sink.away = False
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    assert len(sink.outputs) == 1
    await bench.stop()


class _Order:
    """What left the worker, in the order in which it left."""

    def __init__(self, sent: list[Message]) -> None:
        self.sent, self.sent_before = sent, list[int]()

    async def publish(self, output: Output) -> None:
        del output
        await asyncio.sleep(0.01)
        self.sent_before.append(len(self.sent))


class _Alerting(_Telling):
    def process(self, prepared: object) -> Output:
        output = super().process(prepared)
        return Output([Message(Topic.ALERTS, b"key", b"alert")], output.counts, campaigns=output.campaigns)


async def test_who_reads_an_alert_finds_its_decision_in_the_sinks() -> None:
    sink = _Order([])
    bench = Bench(MemoryStateStore(), lambda: cast("Node", _Alerting(0)), RECORDS, sinks=[sink])
    sink.sent = bench.sender.sent
    await bench.restored()
    bench.feed(0, 3)
    bench.feed(3, 6)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 6})
    assert sink.sent_before == [0, 1]
    assert len(bench.sender.sent) == 2
    await bench.stop()


async def test_alerts_do_not_wait_for_a_sink_that_is_away() -> None:
    sink = _Sink()
    bench = Bench(MemoryStateStore(), lambda: cast("Node", _Alerting(0)), RECORDS, sinks=[sink])
    await bench.restored()
    bench.feed(0, 3)
    await bench.until(lambda: bool(bench.sender.sent) and bench.health.degraded)
    assert not bench.tap.recorded
    sink.away = False
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    assert len(sink.outputs) == 1
    await bench.stop()


async def test_a_queue_that_fills_holds_the_partition_back() -> None:
    bench = Bench(MemoryStateStore(), counting, RECORDS)
    await bench.restored()
    for start in range(4):
        bench.feed(start, start + 1)
    assert "queue" in bench.tap.holds
    await bench.until(lambda: bench.runner.positions == {Topic.QUERIES: 4})
    assert "queue" not in bench.tap.holds
    await asyncio.sleep(0)
    await bench.stop()


class _Closing(CountingNode):
    def __init__(self) -> None:
        super().__init__(0)
        self.closed: list[float] = []

    def idle(self, watermark: float) -> Output:
        self.closed.append(watermark)
        return Output(watermark=self.watermark)


async def test_nothing_is_closed_for_idleness_while_kafka_may_hold_more() -> None:
    """After a pause of the process or of the broker, what the last fetch said of the ends is old."""
    node = _Closing()
    bench = Bench(MemoryStateStore(), lambda: cast("Node", node), RECORDS)
    await bench.restored()
    bench.feed(0, 30)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 30})
    bench.tap.caught_up = False
    bench.runner.request_idle(100.0)
    await asyncio.sleep(0.05)
    assert node.closed == []
    assert bench.runner.closed_through is None
    bench.tap.caught_up = True
    bench.runner.request_idle(100.0)
    await bench.until(lambda: bench.runner.closed_through == 100.0)
    assert node.closed == [100.0]
    await bench.stop()


async def test_a_node_that_decoded_what_it_never_processed_is_not_kept() -> None:
    """Its decoder names a value only once: the names of the envelope would be missing for ever."""
    store = MemoryStateStore()
    bench = Bench(store, counting, RECORDS)
    await bench.restored()
    bench.feed(0, 3)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 3})
    bench.runner.node.counts.clear()  # type: ignore[attr-defined] # a counting node, as if evicted
    store.away = True
    bench.feed(3, 6)
    await bench.until(lambda: bench.health.degraded)
    store.away = False
    assert await bench.stop() is None


class _Slow(CountingNode):
    """Burns processor time, and remembers in which thread."""

    def __init__(self) -> None:
        super().__init__(0)
        self.threads: list[str] = []

    def process(self, prepared: object) -> Output:
        self.threads.append(threading.current_thread().name)
        until = time.thread_time() + NOTABLE_SECONDS + 0.05
        while time.thread_time() < until:
            pass
        return super().process(prepared)  # type: ignore[arg-type] # what `decode` made


async def test_what_took_long_is_done_outside_the_loop_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "APART_SECONDS", NOTABLE_SECONDS)
    store, node = MemoryStateStore(), _Slow()
    bench = Bench(store, lambda: cast("Node", node), RECORDS)
    await bench.restored()
    bench.feed(0, 10)
    bench.feed(10, 30)
    await bench.until(lambda: bench.tap.recorded == {Topic.QUERIES: 30})
    assert await stored_counts(store) == {b"a0": b"10", b"a1": b"10", b"a2": b"10"}
    assert node.threads[0] == "MainThread"
    assert node.threads[1].startswith("evaluation")
    await bench.stop()
