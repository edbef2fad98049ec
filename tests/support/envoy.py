"""A real Envoy with a shipped configuration, an upstream for it, and the gateway that it asks."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from aiohttp import web

from tests.support.servers import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
ENVOY = Path(sys.executable).parent / "envoy"
CONFIGURATIONS = ROOT / "deploy" / "envoy"


class EnvoyServer(Server):
    """Envoy on a configuration of `deploy/envoy`, with the ports changed and nothing else; `bare` drops our filter."""

    def __init__(
        self, directory: Path, upstream_port: int, gateway_port: int, name: str = "envoy.yaml", *, bare: bool = False
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        ports = {8000: upstream_port, 8081: gateway_port, 10000: self.port}
        text = yaml.safe_load((CONFIGURATIONS / name).read_text(encoding="utf-8"))
        if bare:
            manager = text["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            manager["http_filters"] = manager["http_filters"][-1:]
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "envoy.yaml"
        self._file.write_text(yaml.safe_dump(_with_ports(text, ports)), encoding="utf-8")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            str(ENVOY), "-c", str(self._file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning",
        ]  # fmt: skip

    def answers(self) -> bool:
        return _listens(self.port)


class GatewayProcess(Server):
    """`stream-guard gateway`."""

    def __init__(self, directory: Path, redis_url: str, *tenants: str, port: int = 0) -> None:
        super().__init__(directory)
        self.port, self._redis_url, self._tenants = port or free_port(), redis_url, tenants

    def command(self) -> list[str]:
        environment = [
            "env", f"PYTHONPATH={ROOT}", f"STREAM_GUARD_REDIS__URL={self._redis_url}",
        ]  # fmt: skip
        tenants = [part for tenant in self._tenants for part in ("--tenant", tenant)]
        command = [sys.executable, "-m", "stream_guard.cli", "gateway", "--address", f"127.0.0.1:{self.port}"]
        return [*environment, *command, *tenants]

    def answers(self) -> bool:
        return _listens(self.port)


class Upstream:
    """A model API in miniature: says which decision headers reached it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.requests = 0
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        return web.json_response({"action": request.headers.get("x-stream-guard-action")})


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _with_ports(value: Any, ports: Mapping[int, int]) -> Any:  # noqa: ANN401 # whatever YAML holds
    if isinstance(value, dict):
        return {
            key: ports.get(item, item) if key == "port_value" else _with_ports(item, ports)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_ports(item, ports) for item in value]
    return value
