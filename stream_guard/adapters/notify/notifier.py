"""The notifier: of all that run, one holds the lease and sends; the next one goes on where it stopped."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import aiohttp
import structlog

from stream_guard.adapters.notify.delivery import Delivery, Outcome
from stream_guard.adapters.notify.feed import feed
from stream_guard.adapters.notify.outbox import LEASE_SECONDS, Outbox
from stream_guard.adapters.notify.senders import AppriseSender, make_sender
from stream_guard.adapters.notify.targets import TargetKind
from stream_guard.errors import StateUnavailableError
from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from stream_guard.adapters.notify.metrics import PrometheusNotify
    from stream_guard.adapters.notify.targets import Target
    from stream_guard.settings import Settings

log = structlog.get_logger(__name__)

_LEASE_CHECK_SECONDS: Final = LEASE_SECONDS / 5.0
_CANCEL_SECONDS: Final = 1.0


class Notifier:
    """Sends alerts to targets until cancelled.

    Args:
        settings: where Kafka is.
        client: Redis; see `redis_client.connect`.
        targets: whom to tell.
        metrics: where measurements go.
    """

    def __init__(self, settings: Settings, client: Redis, targets: Sequence[Target], metrics: PrometheusNotify) -> None:
        self._settings, self._targets, self._metrics = settings, targets, metrics
        self._outbox = Outbox(client, settings.kafka.group, [target.name for target in targets])
        self._name = uuid4().hex

    async def run(self) -> None:
        """Wait for the lease, send while it is held. Raises nothing but cancellation."""
        try:
            while True:
                if await self._holds():
                    await self._lead()
                await pause(_LEASE_CHECK_SECONDS)
        finally:
            with suppress(StateUnavailableError):
                await self._outbox.release(self._name)

    async def _lead(self) -> None:
        log.info("notifier active", targets=[target.name for target in self._targets])
        self._metrics.active(is_active=True)
        async with AsyncExitStack() as stack:
            tasks = [asyncio.create_task(feed(self._settings, self._outbox, self._dropped))]
            for target in self._targets:
                timeout = aiohttp.ClientTimeout(total=target.timeout_seconds)
                session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
                delivery = Delivery(target, make_sender(target, session), self._outbox, self._metrics)
                tasks.append(asyncio.create_task(delivery.run()))
            try:
                while await self._holds():
                    done, _ = await asyncio.wait(
                        tasks, timeout=_LEASE_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    if done:
                        log.error("notifier starts again", error=repr(next(iter(done)).exception()))
                        break
            finally:
                self._metrics.active(is_active=False)
                await _end(tasks)

    async def _holds(self) -> bool:
        try:
            return await self._outbox.hold(self._name)
        except StateUnavailableError as error:
            log.warning("notifier waits for Redis", error=str(error))
            return False

    def _dropped(self, names: list[str]) -> None:
        for target in self._targets:
            if target.name in names:
                self._metrics.outcome(target.kind, Outcome.DROPPED)


def make_notifier(
    settings: Settings, client: Redis, targets: Sequence[Target], metrics: PrometheusNotify
) -> Notifier | None:
    """A notifier; None where there is nobody to tell.

    Raises:
        ConfigurationError: Apprise is not installed, or does not know a target's URL.
    """
    for target in targets:
        if target.kind is TargetKind.APPRISE:
            AppriseSender(target.address(), target.timeout_seconds)  # so that it fails now, not when an alert comes
    return Notifier(settings, client, targets, metrics) if targets else None


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until they are gone: a library may take a cancellation for its own time-out."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_CANCEL_SECONDS)
