"""Health, metrics, the operators' JSON API and the console, on loopback unless told otherwise.

`/healthz`, `/readyz`, `/metrics` and `/openapi.json` are open to whoever reaches the port. `/api/v1/` wants a bearer
token once tokens are configured, see `access`. Without tokens the API only reads, and only for this machine.
`/console` holds the same to people, with a log-in.
Answers are JSON without prompt content; an error is `{"error": one clear line}`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog
from aiohttp import web

from stream_guard.app.access import AccessToken, Caller, find_token
from stream_guard.app.api import API_PREFIX, CALLER, add_api, answer
from stream_guard.app.console import add_console
from stream_guard.app.failures import status_of
from stream_guard.errors import ServiceUnavailableError, StreamGuardError
from stream_guard.policy import Decisions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from stream_guard.app.operations import Operations

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

MAX_BODY_BYTES: Final = 48 * 1024  # the longest reason and ids, every character escaped, fit in
_READS: Final = frozenset({"GET", "HEAD"})
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Health(Protocol):
    """What the worker knows about itself: `app.health.HealthState`."""

    @property
    def live(self) -> bool:
        """Nothing failed and nothing stalls."""
        ...

    @property
    def ready(self) -> bool:
        """Every assigned partition is restored."""
        ...

    def summary(self) -> Mapping[str, object]:
        """Plain data: `failure`, `stalled`, `nodes` and more."""
        ...


class MetricsPage(Protocol):
    """What Prometheus scrapes: `adapters.prometheus.Metrics`."""

    content_type: str

    def render(self) -> bytes:
        """The page."""
        ...


def make_web(
    health: Health,
    metrics: MetricsPage,
    operations: Operations,
    tokens: Sequence[AccessToken] = (),
    policy: Decisions | None = None,
) -> web.Application:
    """The application; nothing listens yet. The console shows what `policy` would decide."""
    application = _application(tokens)
    pages = _Pages(health, metrics)
    application.router.add_get("/healthz", pages.healthz)
    application.router.add_get("/readyz", pages.readyz)
    application.router.add_get("/metrics", pages.metrics)
    _add_desk(application, operations, tokens, policy or Decisions())
    return application


def make_console(operations: Operations, tokens: Sequence[AccessToken], policy: Decisions) -> web.Application:
    """Console and API on their own, with `/healthz`, which says that they run."""

    async def healthz(_: web.Request) -> web.Response:
        return answer({"live": True, "reasons": []})

    application = _application(tokens)
    application.router.add_get("/healthz", healthz)
    _add_desk(application, operations, tokens, policy)
    return application


def _add_desk(
    application: web.Application, operations: Operations, tokens: Sequence[AccessToken], policy: Decisions
) -> None:
    add_api(application, operations, policy)
    add_console(application, operations, tokens, _is_local, policy)


def _application(tokens: Sequence[AccessToken]) -> web.Application:
    application = web.Application(
        middlewares=[_explain_errors, _Guard(tokens).middleware], client_max_size=MAX_BODY_BYTES
    )
    application.on_response_prepare.append(_add_headers)
    return application


async def serve(
    application: web.Application, host: str, port: int, on_start: Callable[[str, int], None] | None = None
) -> None:
    """Serve until cancelled.

    Args:
        application: from `make_web`.
        host: address to listen on.
        port: 0 = any free port.
        on_start: told the address and the port once requests are taken.

    Raises:
        ServiceUnavailableError: the port is taken or the address is not ours.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ServiceUnavailableError(f"the web server cannot listen on {host}:{port}: {error}") from error
        bound = runner.addresses[0]
        log.info("web server listens", host=bound[0], port=bound[1])
        if on_start is not None:
            on_start(str(bound[0]), int(bound[1]))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


class _Pages:
    """The open pages."""

    def __init__(self, health: Health, metrics: MetricsPage) -> None:
        self._health, self._metrics = health, metrics

    async def healthz(self, _: web.Request) -> web.Response:
        """Restart the process when this is not 200."""
        summary = self._health.summary()
        reasons = [str(summary["failure"])] if summary.get("failure") else []
        reasons += [f"{node} makes no progress" for node in cast("Sequence[str]", summary.get("stalled", ()))]
        return answer({"live": self._health.live, "reasons": reasons}, 200 if self._health.live else 503)

    async def readyz(self, _: web.Request) -> web.Response:
        """All partitions are restored; the nodes one by one."""
        summary = self._health.summary()
        ready = self._health.ready
        nodes = cast("Mapping[str, Mapping[str, Any]]", summary.get("nodes", {}))
        reasons = [f"{name} is being restored" for name, node in nodes.items() if not node["restored"]]
        if not ready and not reasons:
            reasons = ["no partitions are assigned yet, or the worker is stopping"]
        return answer({**summary, "reasons": reasons}, 200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus text."""
        return web.Response(body=self._metrics.render(), headers={"Content-Type": self._metrics.content_type})


class _Guard:
    """Lets into the API whom the tokens allow; without tokens readers on this machine."""

    def __init__(self, tokens: Sequence[AccessToken]) -> None:
        self._tokens = tokens

    @property
    def middleware(self) -> Any:  # noqa: ANN401 # aiohttp's middleware type is private
        """For the application."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(API_PREFIX):
                CALLER.set(self._caller(request))  # one task a request, so nobody else sees it
            return await handler(request)

        return guard

    def _caller(self, request: web.Request) -> Caller:
        if not self._tokens:
            if request.method not in _READS:
                raise web.HTTPForbidden(reason="read-only: configure a token with the role operate")
            if not _is_local(request):
                raise web.HTTPForbidden(reason="only from this machine: configure a token")
            return Caller("local", can_operate=False)
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        found = find_token(self._tokens, given.strip()) if kind.lower() == "bearer" else None
        if found is None:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}, reason="a valid bearer token is needed")
        if request.method not in _READS and not found.caller.can_operate:
            raise web.HTTPForbidden(reason="this token only reads")
        return found.caller


def _is_local(request: web.Request) -> bool:
    """Asked from this machine, under a name of this machine (no rebinding), and not through a proxy."""
    name = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    return (
        _is_loopback(request.remote or "")
        and (name == "localhost" or _is_loopback(name.strip("[]")))
        and not any(header in request.headers for header in _FORWARDED)
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@web.middleware
async def _explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = answer({"error": error.reason}, error.status)
        kept = ("WWW-Authenticate", "Allow", "Retry-After")
        response.headers.update({name: error.headers[name] for name in kept if name in error.headers})
        return response
    except StreamGuardError as error:
        return answer({"error": str(error)}, status_of(error))


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "stream-guard"  # aiohttp has put versions there
