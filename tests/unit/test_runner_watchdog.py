"""A worker that is alive but does nothing ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import pytest

from stream_guard.app import watchdog
from stream_guard.app.health import HealthState, NodeHealth
from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from types import SimpleNamespace

    from stream_guard.app.partitions import Partitions


class _Partitions:
    def __init__(self, stalled: tuple[str, ...]) -> None:
        self.health = HealthState()
        self.runners: dict[tuple[str, int], SimpleNamespace] = {}
        self._stalled = stalled

    def stalled(self, limit_seconds: float) -> tuple[str, ...]:
        return self._stalled if limit_seconds > 0 else ()


async def test_a_stalled_partition_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.01)
    partitions = _Partitions(("accounts:1",))
    with pytest.raises(ServiceUnavailableError, match="accounts:1"):
        await watchdog.watch(cast("Partitions", partitions), watchdog.LoopGuard(60.0), 5.0)
    assert not partitions.health.live


async def test_progress_keeps_it_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.01)
    partitions = _Partitions(())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watchdog.watch(cast("Partitions", partitions), watchdog.LoopGuard(60.0), 5.0), 0.1)
    assert partitions.health.live


def test_a_loop_that_stops_turning_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.01)
    guard = watchdog.LoopGuard(0.05)

    def leave(code: int) -> None:
        codes.append(code)
        guard.stop()

    monkeypatch.setattr("os._exit", leave)
    guard.start()
    deadline = time.monotonic() + 2.0
    while not codes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert codes == [watchdog.EXIT_STALLED]


def test_health_is_ready_when_every_node_is_restored() -> None:
    health = HealthState(monotonic=lambda: 10.0)
    before = health.ready
    assert not before
    health.joined = True
    node = health.nodes["accounts:0"] = NodeHealth("accounts:0")
    restoring = health.ready
    assert not restoring
    node.restored, node.checkpoint_at = True, 8.0
    assert health.ready
    assert node.checkpoint_age(10.0) == 2.0
    node.degraded = True
    assert health.degraded
    assert health.live
