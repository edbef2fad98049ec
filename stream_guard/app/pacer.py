"""Applies event-time pacing to this worker's partitions, watches progress, and refreshes lag for health."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from stream_guard.app.event_time import Mark, Pacing, WatermarkBoard, pace
from stream_guard.errors import StateUnavailableError
from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stream_guard.app.health import MetricsPort
    from stream_guard.app.partitions import Partitions
    from stream_guard.app.runner import PartitionRunner

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.2


class Pacer:
    """Runs beside the partitions until cancelled.

    Args:
        partitions: this worker's runners.
        paced_stages: names of the stages whose partitions keep step.
        expected: number of paced partitions in the whole group.
        board: marks of all workers.
        pacing: limits.
        metrics: lag and degradation go here.
        on_lag: who else wants to know topic, partition and lag.
    """

    def __init__(  # noqa: PLR0913 # named collaborators
        self,
        partitions: Partitions,
        *,
        paced_stages: frozenset[str],
        expected: int,
        board: WatermarkBoard,
        pacing: Pacing,
        metrics: MetricsPort,
        on_lag: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._partitions, self._paced, self._expected = partitions, paced_stages, expected
        self._board, self._pacing, self._metrics, self._on_lag = board, pacing, metrics, on_lag
        self._marks: dict[str, Mark] = {}
        self._last: dict[str, bytes] = {}
        self._drained_since: dict[str, float] = {}

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            await self.tick()
            await pause(TICK_SECONDS)

    async def tick(self) -> None:
        """One round: marks out, marks in, consequences."""
        now = time.monotonic()
        mine = {
            runner.name: self._mark(runner, now)
            for (stage, _), runner in self._partitions.runners.items()
            if stage in self._paced and not runner.finished and self._partitions.health.nodes[runner.name].restored
        }
        self._marks.update(mine)
        try:
            theirs = await self._board.exchange({name: mark.encode() for name, mark in mine.items()})
        except StateUnavailableError:
            theirs = {}
        self._read(theirs, mine, now)
        wanted = pace(self._marks, self._expected, now, self._pacing)
        for unit, runner in list(self._partitions.runners.items()):
            if unit[0] in self._paced and runner.name in mine:
                self._apply(runner, mine[runner.name], wanted.idle_through, wanted.wait_beyond)
            self._refresh_health(runner)
            rows = self._partitions.rows(unit)
            if rows is not None:
                self._metrics.rows(runner.name, rows)
        self._metrics.degraded(self._partitions.health.degraded)

    def _mark(self, runner: PartitionRunner, now: float) -> Mark:
        silent = now - runner.progress_at
        idle_since = None
        if runner.drained and silent >= self._pacing.idle_seconds:
            idle_since = self._drained_since.setdefault(runner.name, now)
        else:
            self._drained_since.pop(runner.name, None)
        return Mark(runner.node.watermark, idle_since, now)

    def _read(self, theirs: Mapping[str, bytes], mine: Mapping[str, Mark], now: float) -> None:
        """A mark is as old as the time since it last changed: whatever the clocks of others say."""
        for name, data in theirs.items():
            mark = Mark.decode(data)
            if mark is None or name in mine or self._last.get(name) == data:
                continue
            self._last[name] = data
            self._marks[name] = mark.heard(now)

    def _apply(
        self, runner: PartitionRunner, mark: Mark, idle_through: float | None, wait_beyond: float | None
    ) -> None:
        if mark.idle_since is not None and idle_through is not None:
            if runner.closed_through is None or idle_through > runner.closed_through:
                runner.request_idle(idle_through)
        elif mark.seen is not None and wait_beyond is not None and mark.seen > wait_beyond:
            runner.wait_for_others(active=True)
            return
        runner.wait_for_others(active=False)

    def _refresh_health(self, runner: PartitionRunner) -> None:
        health = self._partitions.health.nodes.get(runner.name)
        if health is None:
            return
        health.dirty = runner.node.dirty
        health.warming = health.warming and not runner.drained
        for topic, records in runner.lag().items():
            self._metrics.lag(topic, runner.partition, records)
            if self._on_lag is not None:
                self._on_lag(topic, runner.partition, records)
        health.lag = sum(runner.lag().values())
        self._metrics.dirty(runner.name, health.dirty)
