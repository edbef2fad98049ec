"""The worker process: composes everything and runs until a signal or a failure; the exit code says which.

0 after SIGTERM or SIGINT with everything given up cleanly; 1 when work could not go on. Nothing is acknowledged on
the way out that was not durable, so a supervisor simply starts the process again.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError  # type: ignore[import-untyped] # aiokafka ships no types
from faust.exceptions import FaustError

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_state import RedisStateStore, RedisWatermarks
from stream_guard.app.agents import add_agents
from stream_guard.app.checkpoint import Collaborators, Limits
from stream_guard.app.event_time import Pacing
from stream_guard.app.factory import make_app
from stream_guard.app.health import HealthState, MetricsPort, NullMetrics
from stream_guard.app.memory import give_back
from stream_guard.app.pacer import Pacer
from stream_guard.app.partitions import Partitions
from stream_guard.app.sender import FaustSender
from stream_guard.app.stages import EAGER_STAGES
from stream_guard.app.watchdog import LoopGuard, watch
from stream_guard.errors import ServiceUnavailableError, StreamGuardError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from faust.types import TP

    from stream_guard.app.factory import GuardApp
    from stream_guard.app.sinks import OutputSink
    from stream_guard.app.stages import Stage
    from stream_guard.policy import Policy
    from stream_guard.settings import Settings

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
CANCEL_ATTEMPTS = 3
CANCEL_SECONDS = 1.0  # between them


class Worker:
    """One worker process.

    Args:
        settings: where things are.
        policy: what the operator tuned; only its epochs matter here.
        stages: what to run.
        sinks: where outputs go besides Kafka.
        metrics: where measurements go.
        health: what the web server shows.
        beside: further coroutines to run as long as the worker, such as the web server.
        afterwards: what to close in the end.
        on_lag: who wants to know topic, partition and records that wait, a few times a second.
    """

    def __init__(  # noqa: PLR0913 # the composition root is given everything
        self,
        settings: Settings,
        policy: Policy,
        stages: Sequence[Stage],
        *,
        sinks: Sequence[OutputSink] = (),
        metrics: MetricsPort | None = None,
        health: HealthState | None = None,
        beside: Sequence[Callable[[], Awaitable[None]]] = (),
        afterwards: Sequence[Callable[[], Awaitable[None]]] = (),
        on_lag: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.health = health or HealthState()
        self._settings = settings
        self._beside, self._afterwards = beside, afterwards
        self._metrics = metrics or NullMetrics()
        runtime, kafka = settings.runtime, settings.kafka
        self._redis = connect(settings.redis)
        ttl_hours = settings.redis.account_ttl_hours
        store = RedisStateStore(
            self._redis, kafka.group, EAGER_STAGES, ttl_seconds=ttl_hours * 3_600 if ttl_hours else None
        )
        self._app = make_app(settings, stages)
        shared = Collaborators(
            store,
            FaustSender(self._app, settings.topic_name),
            sinks,
            self._metrics,
            Limits(
                checkpoint_seconds=runtime.checkpoint_seconds,
                max_dirty=runtime.max_dirty,
                future_skew_seconds=runtime.future_skew_seconds,
            ),
        )
        self.partitions = Partitions(
            stages,
            settings.topic_name,
            shared,
            self.health,
            look_back_seconds=kafka.look_back_hours * 3_600 if kafka.look_back_hours else None,
            trust_high_watermark=kafka.trust_high_watermark,
            fenced_retry_seconds=runtime.fenced_retry_seconds,
        )
        self._pacer = Pacer(
            self.partitions,
            paced_stages=frozenset(stage.name for stage in stages if stage.paced),
            expected=settings.partitions.queries,
            board=RedisWatermarks(self._redis, kafka.group),
            pacing=Pacing(
                idle_seconds=runtime.idle_seconds,
                idle_close_seconds=runtime.idle_close_seconds,
                max_lead_seconds=runtime.max_lead_seconds,
                lateness_seconds=policy.epochs.allowed_lateness_seconds,
                tail_seconds=policy.epochs.epoch_seconds,
            ),
            metrics=self._metrics,
            on_lag=on_lag,
        )
        add_agents(self._app, stages, settings.topic_name, self.partitions)
        self._follow_rebalances(self._app)

    def _follow_rebalances(self, app: GuardApp) -> None:
        deadline = min(self._settings.kafka.rebalance_timeout_seconds / 2, self._settings.runtime.shutdown_seconds)

        async def revoked(_: object, tps: set[TP], **__: object) -> None:
            log.info("partitions revoked", count=len(tps))
            await self.partitions.revoke(deadline)

        async def assigned(_: object, tps: set[TP], **__: object) -> None:
            if self.health.stopping:
                return  # we are about to leave the group ourselves
            self.partitions.lane = app.consumer  # type: ignore[assignment] # the lane's transport makes lane consumers
            self.partitions.assign(tps)

        # Faust keeps weak references to receivers.
        self._receivers = (revoked, assigned)
        app.on_partitions_revoked.connect(revoked)  # type: ignore[arg-type] # mode calls it like this
        app.on_partitions_assigned.connect(assigned)  # type: ignore[arg-type] # as above

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Run until SIGTERM or SIGINT, or until `stop` is set where the caller gives one.

        Raises:
            StreamGuardError: work could not go on.
        """
        loop = asyncio.get_running_loop()
        if stop is None:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
        self.partitions.failed = loop.create_future()
        guard = LoopGuard(self._settings.runtime.watchdog_seconds)
        guard.start()
        helpers = [
            asyncio.create_task(self._app.start(), name="faust"),
            asyncio.create_task(self._pacer.run(), name="pacer"),
            asyncio.create_task(give_back(), name="memory"),
            asyncio.create_task(watch(self.partitions, guard, self._settings.runtime.watchdog_seconds), name="watch"),
            *(asyncio.ensure_future(start()) for start in self._beside),
        ]
        failure: BaseException | None = None
        try:
            failure = await self._until_over(stop, helpers)
        finally:
            self.health.stopping = True
            await self._shut_down(helpers, clean=failure is None)
            guard.stop()
        if failure is not None:
            self.health.failure = self.health.failure or repr(failure)
            if isinstance(failure, StreamGuardError):
                raise failure
            raise ServiceUnavailableError(f"the worker cannot go on: {failure!r}") from failure
        log.info("stopped")

    async def _until_over(self, stop: asyncio.Event, helpers: Sequence[asyncio.Future[None]]) -> BaseException | None:
        while not stop.is_set():
            if self.partitions.failed is not None and self.partitions.failed.done():
                return self.partitions.failed.result()
            for helper in helpers:
                if helper.done() and not helper.cancelled() and helper.exception() is not None:
                    return helper.exception()
            if self._app.crashed:
                return self._app.crash_reason or ServiceUnavailableError("Faust crashed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
        return None

    async def _shut_down(self, helpers: Sequence[asyncio.Future[None]], *, clean: bool) -> None:
        """Give everything up within the deadline; after a failure nothing more is written."""
        deadline = self._settings.runtime.shutdown_seconds
        if clean:
            await self.partitions.revoke(deadline / 2)
        else:
            self.partitions.abandon()
        await _cancel(helpers[1:])
        try:
            await asyncio.wait_for(self._app.stop(), deadline / 2)
        except (TimeoutError, KafkaError, FaustError) as error:
            log.warning("Kafka was left without a goodbye", error=repr(error))
        await _cancel(helpers[:1])
        await self._redis.aclose()
        for close in self._afterwards:
            await close()


async def _cancel(helpers: Sequence[asyncio.Future[None]]) -> None:
    """End helpers; once more where a library took the first cancellation for its own, and never for ever."""
    waiting = set(helpers)
    for _ in range(CANCEL_ATTEMPTS):
        for helper in waiting:
            helper.cancel()
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=CANCEL_SECONDS)
    if waiting:
        log.warning("left without waiting", helpers=[repr(helper) for helper in waiting])
    await asyncio.gather(*(helper for helper in helpers if helper.done()), return_exceptions=True)


def execute(make: Callable[[], Worker]) -> int:
    """Run a worker to its end; the exit code."""
    try:
        asyncio.run(make_and_run(make))
    except StreamGuardError as error:
        sys.stderr.write(f"stream-guard: {error}\n")
        return 1
    return 0


async def make_and_run(make: Callable[[], Worker]) -> None:
    """Build the worker inside the loop that it will run in."""
    await make().run()
