"""Composes the product's worker from the settings: stages, sinks, metrics, web server."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from stream_guard.adapters.enforcer_metrics import EnforcerMetrics
from stream_guard.adapters.kafka_records import KafkaRecords
from stream_guard.adapters.notify import load_targets, make_notifier
from stream_guard.adapters.notify.metrics import PrometheusNotify
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_enforcers import Reconciler
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.adapters.redis_registry import RedisRegistry, RegistrySink
from stream_guard.adapters.redis_suspects import RedisSuspects
from stream_guard.adapters.topics import TopicAdmin, plan_topics, require
from stream_guard.app.access import access_tokens
from stream_guard.app.health import HealthState
from stream_guard.app.logs import configure_logs
from stream_guard.app.operations import Operations
from stream_guard.app.shedding import Shedder
from stream_guard.app.stages import product_stages
from stream_guard.app.web import make_console, make_web, serve
from stream_guard.app.worker import Worker, execute
from stream_guard.clusters.signals import SIGNALS
from stream_guard.decode import DeadLetterReason
from stream_guard.errors import StreamGuardError
from stream_guard.policy import load_policy
from stream_guard.settings import load_settings

if TYPE_CHECKING:
    from stream_guard.policy import Policy
    from stream_guard.settings import Settings


BAD_BUNDLE = "bad_bundle"  # refused between the stages, not by the decoder


def product_worker(settings: Settings, policy: Policy) -> Worker:
    """The worker of the product; nothing is contacted before it runs."""
    client = connect(settings.redis)
    health = HealthState()
    metrics = Metrics(
        signals=[signal.name for signal in SIGNALS],
        reasons=[*DeadLetterReason, BAD_BUNDLE],
        dry_run=policy.decisions.dry_run,
        assigned=health.nodes.keys,
    )
    kill_switch, registry = KillSwitch(client), RedisRegistry(client)
    records = KafkaRecords(settings)
    targets = load_targets(settings.notify.targets)
    notifier = make_notifier(settings, client, targets, PrometheusNotify(metrics.registry, targets))
    application = make_web(
        health,
        metrics,
        Operations(registry, kill_switch, records, time.time),
        access_tokens(settings.web),
        policy.decisions,
    )
    runtime, shedder = settings.runtime, None
    if runtime.shed_lag_records is not None:
        shedder = Shedder(runtime.shed_lag_records, runtime.shed_keep_share, RedisSuspects(client))
    return Worker(
        settings,
        policy,
        product_stages(settings, policy, None if shedder is None else shedder.keep),
        sinks=[RegistrySink(registry, RedisLimits(client, kill_switch))],
        metrics=metrics,
        health=health,
        beside=[
            lambda: serve(application, settings.web.host, settings.web.port),
            lambda: kill_switch.watch(metrics.kill_switch),
            *([notifier.run] if notifier is not None else []),
            *([shedder.run] if shedder is not None else []),
            lambda: Reconciler(client).watch(EnforcerMetrics(metrics.registry).observe),
        ],
        afterwards=[records.aclose, client.aclose],
        on_lag=None if shedder is None else shedder.observe_lag,
    )


async def run_console(settings: Settings, policy: Policy) -> None:
    """Serve the console without a worker, until SIGTERM or SIGINT.

    Raises:
        ServiceUnavailableError: the port is taken.
    """
    client, records = connect(settings.redis), KafkaRecords(settings)
    operations = Operations(RedisRegistry(client), KillSwitch(client), records, time.time)
    application = make_console(operations, access_tokens(settings.web), policy.decisions)
    serving = asyncio.create_task(serve(application, settings.web.host, settings.web.port))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        with suppress(asyncio.CancelledError):
            await serving
    finally:
        await records.aclose()
        await client.aclose()


def main() -> int:
    """Run the product with settings from the environment; the exit code."""
    try:
        settings = load_settings()
        policy = load_policy(settings.policy)
        if settings.kafka.verify_topics:  # a consumer of topics that do not exist would wait without a word
            with TopicAdmin(settings) as admin:
                require(admin.verify(plan_topics(settings)))
    except StreamGuardError as error:
        sys.stderr.write(f"stream-guard: {error}\n")
        return 1
    configure_logs(settings.log)
    return execute(lambda: product_worker(settings, policy))


if __name__ == "__main__":
    sys.exit(main())
