"""`stream-guard notify`: the notifier in a process of its own, with its metrics."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from stream_guard.adapters.notify import make_notifier
from stream_guard.adapters.notify.metrics import PrometheusNotify
from stream_guard.adapters.notify.targets import load_targets
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.app.web import serve
from stream_guard.errors import ConfigurationError

if TYPE_CHECKING:
    from stream_guard.settings import Settings


async def run_notifier(settings: Settings) -> None:
    """Send until SIGTERM or SIGINT; `/metrics` and `/healthz` are where the settings put the web server.

    Raises:
        ConfigurationError: there are no targets, or one cannot be used.
    """
    targets, metrics = load_targets(settings.notify.targets), Metrics()
    client = connect(settings.redis)
    notifier = make_notifier(settings, client, targets, PrometheusNotify(metrics.registry, targets))
    if notifier is None:
        raise ConfigurationError("STREAM_GUARD_NOTIFY__TARGETS: names no file, so there is nobody to tell")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [
        asyncio.create_task(notifier.run()),
        asyncio.create_task(serve(_application(metrics), settings.web.host, settings.web.port)),
        asyncio.create_task(_wait(stop)),
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10.0)
    await client.aclose()
    for task in done:
        with suppress(asyncio.CancelledError):
            task.result()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _application(metrics: Metrics) -> web.Application:
    async def render(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    application = web.Application()
    application.add_routes([web.get("/metrics", render), web.get("/healthz", live)])
    return application
