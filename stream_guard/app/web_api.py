"""The routes under `/api/v1/`: `Operations` over HTTP, one line of glue each. `web` decides who gets in.

Reading takes `?tenant=` and `?limit=`. Acting takes a JSON body with `reason`, and optionally `tenant` and `actor`;
without `actor` the token's name stands in the audit, which names the token in any case.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import web

from stream_guard.app.operations import InvalidRequestError, Request
from stream_guard.encode import time_seconds
from stream_guard.records import DEFAULT_TENANT, Json

if TYPE_CHECKING:
    from stream_guard.app.operations import Operations

API_PREFIX: Final = "/api/"
CALLER: Final[ContextVar[str]] = ContextVar("caller")  # name of the token
_V1: Final = "/api/v1"


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every action says."""

    reason: str
    actor: str | None = None
    tenant: str = DEFAULT_TENANT


class ActUntil(Act, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An action that ends by itself; RFC 3339."""

    expires_at: str | None = None


class Allow(ActUntil, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to leave alone."""

    scope: str
    id: str


class Judge(Act, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What something really is; exactly one of the ids."""

    label: str
    campaign_id: str | None = None
    account_id: str | None = None


Body = TypeVar("Body", bound=Act)


def add_api(application: web.Application, operations: Operations) -> None:
    """Add the routes."""
    api = _Api(operations)
    application.router.add_routes(
        [
            web.get(f"{_V1}/campaigns", api.campaigns),
            web.get(f"{_V1}/campaigns/{{id}}", api.campaign),
            web.post(f"{_V1}/campaigns/{{id}}/release", api.release_campaign),
            web.post(f"{_V1}/campaigns/{{id}}/snooze", api.snooze),
            web.get(f"{_V1}/alerts", api.alerts),
            web.get(f"{_V1}/decisions", api.decisions),
            web.post(f"{_V1}/decisions/{{id}}/approve", api.approve),
            web.post(f"{_V1}/decisions/{{id}}/release", api.release_decision),
            web.get(f"{_V1}/audit", api.audit),
            web.get(f"{_V1}/allow", api.allowed),
            web.post(f"{_V1}/allow", api.allow),
            web.delete(f"{_V1}/allow", api.disallow),
            web.post(f"{_V1}/feedback", api.feedback),
            web.get(f"{_V1}/kill-switch", api.kill_switch),
            web.post(f"{_V1}/kill-switch", api.engage),
            web.delete(f"{_V1}/kill-switch", api.disengage),
        ]
    )


class _Api:
    """The handlers; each method's route is in `add_api`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def campaigns(self, request: web.Request) -> web.Response:
        found = await self._operations.list_campaigns(_tenant(request), _limit(request))
        return answer({"campaigns": found})

    async def campaign(self, request: web.Request) -> web.Response:
        return answer(await self._operations.get_campaign(request.match_info["id"], _tenant(request)))

    async def alerts(self, request: web.Request) -> web.Response:
        return answer({"alerts": await self._operations.list_alerts(_tenant(request), _limit(request))})

    async def decisions(self, request: web.Request) -> web.Response:
        return answer({"decisions": await self._operations.list_decisions(_tenant(request), _limit(request))})

    async def audit(self, request: web.Request) -> web.Response:
        return answer({"audit": await self._operations.audit(_limit(request))})

    async def allowed(self, request: web.Request) -> web.Response:
        return answer({"allowed": await self._operations.list_allowed(_tenant(request))})

    async def kill_switch(self, _: web.Request) -> web.Response:
        state = await self._operations.kill_switch()
        return answer({"engaged": state is not None, "state": None if state is None else msgspec.to_builtins(state)})

    async def release_campaign(self, request: web.Request) -> web.Response:
        body = await _body(request, Act)
        return _taken(await self._operations.release(_who(body), "campaign", request.match_info["id"]))

    async def release_decision(self, request: web.Request) -> web.Response:
        body = await _body(request, Act)
        return _taken(await self._operations.release(_who(body), "decision", request.match_info["id"]))

    async def approve(self, request: web.Request) -> web.Response:
        body = await _body(request, Act)
        return _taken(await self._operations.approve(_who(body), request.match_info["id"]))

    async def snooze(self, request: web.Request) -> web.Response:
        body = await _body(request, ActUntil)
        who, until = _who(body), _end(body.expires_at)
        return _taken(await self._operations.snooze(who, request.match_info["id"], until))

    async def allow(self, request: web.Request) -> web.Response:
        body = await _body(request, Allow)
        return _taken(await self._operations.allow(_who(body), body.scope, body.id, _end(body.expires_at)))

    async def disallow(self, request: web.Request) -> web.Response:
        body = await _body(request, Allow)
        return _taken(await self._operations.disallow(_who(body), body.scope, body.id))

    async def feedback(self, request: web.Request) -> web.Response:
        body = await _body(request, Judge)
        who = _who(body)
        return _taken(await self._operations.feedback(who, body.label, body.campaign_id, body.account_id))

    async def engage(self, request: web.Request) -> web.Response:
        return answer(await self._operations.engage_kill_switch(_who(await _body(request, Act))))

    async def disengage(self, request: web.Request) -> web.Response:
        return answer(await self._operations.disengage_kill_switch(_who(await _body(request, Act))))


def answer(data: object, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


def _taken(entry: Json) -> web.Response:
    """Kafka has it; the worker carries it out."""
    return answer(entry, 202)


def _tenant(request: web.Request) -> str:
    return request.query.get("tenant", DEFAULT_TENANT)


def _limit(request: web.Request) -> int:
    try:
        return int(request.query.get("limit", "100"))
    except ValueError:
        raise InvalidRequestError("limit must be a whole number") from None


def _end(text: str | None) -> float | None:
    try:
        return None if text is None else time_seconds(text)
    except (ValueError, TypeError):
        raise InvalidRequestError("expires_at must be an RFC 3339 time with its offset") from None


async def _body(request: web.Request, kind: type[Body]) -> Body:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="the body must be application/json")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"body: {error}") from error


def _who(body: Act) -> Request:
    name = CALLER.get()
    actor = name if body.actor is None else body.actor
    return Request(actor, body.reason, body.tenant, f"http:{name}")
