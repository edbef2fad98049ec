"""One target's deliveries: in order, again and again until taken, ever more patiently while the target is dead."""

from __future__ import annotations

import asyncio
import random
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from stream_guard.adapters.notify.senders import Notice, RefusedError
from stream_guard.errors import ServiceUnavailableError, StateUnavailableError
from stream_guard.pausing import pause
from stream_guard.records import AlertStatus, Severity

if TYPE_CHECKING:
    from stream_guard.adapters.notify.outbox import Outbox
    from stream_guard.adapters.notify.senders import Sender
    from stream_guard.adapters.notify.targets import Target, TargetKind
    from stream_guard.records import Json

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.5
REMIND_SECONDS: Final = 300.0  # a third of the time after which Alertmanager would let go
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 60.0
OPEN_AFTER: Final = 5  # failures in a row: the circuit is open, one attempt a wait
_RANKS: Final = tuple(Severity)


class Outcome(StrEnum):
    """What became of an attempt; `dropped` is what a full queue lost."""

    SENT = "sent"
    FAILED = "failed"
    REFUSED = "refused"
    FILTERED = "filtered"
    DROPPED = "dropped"


class NotifyMetrics(Protocol):
    """Where measurements go: `notify.metrics.PrometheusNotify`."""

    def outcome(self, kind: TargetKind, outcome: Outcome) -> None:
        """Count one."""
        ...

    def circuit(self, target: Target, *, is_open: bool) -> None:
        """The target is dead, or lives again."""
        ...

    def queue(self, target: Target, length: int) -> None:
        """How much waits."""
        ...


def wait_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: doubling, at most a minute, with jitter of a half."""
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 # spreads load, protects nothing


class Delivery:
    """Brings one target what its queue holds."""

    def __init__(self, target: Target, sender: Sender, outbox: Outbox, metrics: NotifyMetrics) -> None:
        self._target, self._sender, self._outbox, self._metrics = target, sender, outbox, metrics
        self._failures = 0
        self._reminded_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await pause(await self.step())
            except StateUnavailableError as error:
                log.warning("notifications wait for Redis", target=self._target.name, error=str(error))
                await pause(1.0)

    async def step(self) -> float:
        """One attempt, where there is anything; seconds until the next.

        Raises:
            StateUnavailableError: Redis does not answer.
        """
        try:
            return await self._attempt()
        except ServiceUnavailableError as error:
            self._failures += 1
            self._metrics.outcome(self._target.kind, Outcome.FAILED)
            self._metrics.circuit(self._target, is_open=self._failures >= OPEN_AFTER)
            if self._failures in {1, OPEN_AFTER}:
                log.warning("target fails", target=self._target.name, error=str(error), failures=self._failures)
            return wait_seconds(self._failures)

    async def _attempt(self) -> float:
        name = self._target.name
        self._metrics.queue(self._target, await self._outbox.length(name))
        body = await self._outbox.head(name)
        now = asyncio.get_running_loop().time()
        if body is None:
            if now - self._reminded_at >= REMIND_SECONDS:
                await self._sender.remind(list((await self._outbox.active(name)).values()))
                self._reminded_at = now
                self._succeeded()
            return POLL_SECONDS
        item: Json = msgspec.json.decode(body)
        alert: Json = item["alert"]
        known = await self._outbox.known(name, alert["alert_id"])
        if known is None and not self._wants(alert):
            await self._outbox.done(name, body, alert["alert_id"], None, told=False)
            self._metrics.outcome(self._target.kind, Outcome.FILTERED)
            return 0.0
        try:
            told = await self._sender.send(Notice(item["transition"], alert, known))
        except RefusedError as error:
            log.exception("target refuses", target=name, transition=item["transition"], error=str(error))
            await self._outbox.done(name, body, alert["alert_id"], None, told=False)
            self._metrics.outcome(self._target.kind, Outcome.REFUSED)
            return 0.0
        over = alert["status"] == AlertStatus.RESOLVED.value
        await self._outbox.done(name, body, alert["alert_id"], None if over else told, told=True)
        self._metrics.outcome(self._target.kind, Outcome.SENT)
        self._succeeded()
        return 0.0

    def _wants(self, alert: Json) -> bool:
        """A new alert that is grave enough; the end of one that the target never heard of is no news."""
        if alert["status"] == AlertStatus.RESOLVED.value:
            return False
        return _RANKS.index(Severity(alert["severity"])) >= _RANKS.index(self._target.min_severity)

    def _succeeded(self) -> None:
        self._failures = 0
        self._metrics.circuit(self._target, is_open=False)
