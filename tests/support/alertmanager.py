"""A real Alertmanager, and a receiver that remembers what it was sent."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import yaml
from aiohttp import web

from tests.support.servers import Server, free_port

if TYPE_CHECKING:
    from pathlib import Path


class AlertmanagerServer(Server):
    """Alertmanager that groups by alert and tells `receiver` at once."""

    def __init__(self, directory: Path, receiver: str) -> None:
        super().__init__(directory)
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "alertmanager.yml"
        route = {
            "receiver": "pager", "group_by": ["alert_id"], "group_wait": "1s", "group_interval": "1s",
            "repeat_interval": "1h",
        }  # fmt: skip
        receivers = [{"name": "pager", "webhook_configs": [{"url": receiver, "send_resolved": True}]}]
        self._file.write_text(yaml.safe_dump({"route": route, "receivers": receivers}), encoding="utf-8")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            "prometheus-alertmanager", f"--config.file={self._file}", f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=",
        ]  # fmt: skip

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=1.0) as response:  # noqa: S310 # our own
            return bool(response.status == 200)
        return False


class Receiver:
    """An endpoint that takes, refuses, fails or hangs, as told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.hangs_seconds = 0.0
        self.attempts = 0
        application = web.Application()
        application.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.attempts += 1
        body = await request.read()
        if self.hangs_seconds:
            await asyncio.sleep(self.hangs_seconds)
            return web.Response(status=503)  # nobody waits for it any more
        if self.status == 200:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
        return web.Response(status=self.status)

    async def wait(self, count: int, seconds: float = 20.0) -> list[Any]:
        """Wait for that many bodies."""
        async with asyncio.timeout(seconds):
            while len(self.bodies) < count:  # noqa: ASYNC110 # many may wait
                await asyncio.sleep(0.05)
        return list(self.bodies)
