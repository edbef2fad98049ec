"""The routes: `Operations` over HTTP, a line of glue each. `web` decides who gets in.

Reading takes `?tenant=` and, for lists, `?limit=`. Acting takes a JSON body with `reason`, and optionally `tenant` and
`actor`. An action that is answered with 202 is on Kafka; the worker carries it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.app.api import bodies
from stream_guard.app.api.bodies import (
    Act,
    ActUntil,
    AuditEntry,
    Judge,
    Judgement,
    Nothing,
    Some,
    Spare,
    SpareNoMore,
    Which,
)
from stream_guard.app.api.glue import V1, Call, Handler, Route, answer
from stream_guard.app.api.openapi import describe
from stream_guard.app.api.stream import LAST_EVENT, MEDIA, STREAMS, Streams, stream_decisions
from stream_guard.app.dossier import dossier_object, gather
from stream_guard.app.operations import InvalidRequestError
from stream_guard.encode import time_seconds
from stream_guard.records import Json, Scope
from stream_guard.records.bodies import CampaignBody

if TYPE_CHECKING:
    from aiohttp import web

    from stream_guard.app.operations import Operations
    from stream_guard.policy import Decisions as DecisionPolicy


def add_api(application: web.Application, operations: Operations, policy: DecisionPolicy) -> None:
    """Add the routes and `/openapi.json`, which tells nothing about anybody and is open."""
    for route in ROUTES:
        ends = route.media != MEDIA  # a stream does not, so its headers cannot be asked for alone
        for method in ("GET", "HEAD") if route.method == "GET" and ends else (route.method,):
            application.router.add_route(method, V1 + route.path, route.serve(operations, policy))
    application[STREAMS] = Streams()
    application.on_shutdown.append(application[STREAMS].end)
    description = describe(ROUTES)

    async def openapi(_: web.Request) -> web.Response:
        return answer(description)

    application.router.add_get("/openapi.json", openapi)


async def _campaigns(call: Call[Some, None]) -> Json:
    return {"campaigns": await call.operations.list_campaigns(call.tenant, call.query.limit)}


async def _campaign(call: Call[Which, None]) -> Json:
    return await call.operations.get_campaign(call.id, call.tenant)


async def _dossier(call: Call[Which, None]) -> Json:
    return dossier_object(await gather(call.operations, call.policy, call.id, call.tenant))


async def _alerts(call: Call[Some, None]) -> Json:
    return {"alerts": await call.operations.list_alerts(call.tenant, call.query.limit)}


async def _decisions(call: Call[Some, None]) -> Json:
    return {"decisions": await call.operations.list_decisions(call.tenant, call.query.limit)}


async def _audit(call: Call[Some, None]) -> Json:
    everybody = call.query.tenant is msgspec.UNSET and call.caller.tenant is None
    return {"audit": await call.operations.audit(call.query.limit, None if everybody else call.tenant)}


async def _allowed(call: Call[Which, None]) -> Json:
    return {"allowed": await call.operations.list_allowed(call.tenant)}


async def _kill_switch(call: Call[Nothing, None]) -> Json:
    state = await call.operations.kill_switch()
    shown = None if state is None or call.caller.tenant is not None else msgspec.to_builtins(state)
    return {"engaged": state is not None, "state": shown}


async def _release_campaign(call: Call[Nothing, Act]) -> Json:
    return await call.operations.release(call.who, Scope.CAMPAIGN, call.id)


async def _release_account(call: Call[Nothing, Act]) -> Json:
    return await call.operations.release(call.who, Scope.ACCOUNT, call.id)


async def _release_decision(call: Call[Nothing, Act]) -> Json:
    return await call.operations.release(call.who, "decision", call.id)


async def _approve(call: Call[Nothing, Act]) -> Json:
    return await call.operations.approve(call.who, call.id)


async def _snooze(call: Call[Nothing, ActUntil]) -> Json:
    return await call.operations.snooze(call.who, call.id, _end(call.body.expires_at))


async def _allow(call: Call[Nothing, Spare]) -> Json:
    return await call.operations.allow(call.who, call.body.scope, call.body.id, _end(call.body.expires_at))


async def _disallow(call: Call[Nothing, SpareNoMore]) -> Json:
    return await call.operations.disallow(call.who, call.body.scope, call.body.id)


async def _feedback(call: Call[Nothing, Judge]) -> Json:
    return await call.operations.feedback(call.who, call.body.label, call.body.campaign_id, call.body.account_id)


async def _engage(call: Call[Nothing, Act]) -> Json:
    call.caller.must_be_unbound()
    return await call.operations.engage_kill_switch(call.who)


async def _disengage(call: Call[Nothing, Act]) -> Json:
    call.caller.must_be_unbound()
    return await call.operations.disengage_kill_switch(call.who)


def _end(text: str | None) -> float | None:
    try:
        return None if text is None else time_seconds(text)
    except (ValueError, TypeError, OverflowError):
        raise InvalidRequestError("expires_at must be an RFC 3339 time with its offset") from None


def _read(path: str, does: str, handler: Handler, gives: Any, query: type[msgspec.Struct], *refuses: int) -> Route:  # noqa: ANN401 # types of many kinds
    return Route(method="GET", path=path, does=does, handler=handler, gives=gives, query=query, refuses=refuses)


def _act(method: str, path: str, does: str, handler: Handler, body: object, *refuses: int) -> Route:
    return Route(
        method=method, path=path, does=does, handler=handler, gives=AuditEntry, body=body, status=202, refuses=refuses
    )


def _switch(method: str, does: str, handler: Handler) -> Route:
    return Route(method=method, path="/kill-switch", does=does, handler=handler, gives=AuditEntry, body=Act)


# fmt: off
ROUTES: Final = (
    _read("/campaigns", "Campaigns, fastest first.", _campaigns, bodies.Campaigns, Some),
    _read("/campaigns/{id}", "One campaign with its members and evidence.", _campaign, CampaignBody, Which, 404),
    _read("/campaigns/{id}/dossier", "All about one campaign.", _dossier, bodies.DossierBody, Which, 404),
    _act("POST", "/campaigns/{id}/release", "Lift a campaign's limits for a day.", _release_campaign, Act, 404),
    _act("POST", "/campaigns/{id}/snooze", "Hear nothing of it; for a day by default.", _snooze, ActUntil, 404),
    _act("POST", "/accounts/{id}/release", "Lift an account's limits for a day.", _release_account, Act),
    _read("/alerts", "Alerts, newest first.", _alerts, bodies.Alerts, Some),
    _read("/decisions", "Decisions, newest first.", _decisions, bodies.Decisions, Some),
    Route(
        method="GET", path="/decisions/stream", does="What happens to decisions, as it happens, without a gap.",
        handler=stream_decisions, gives=bodies.StreamEvent, query=Which, refuses=(429,), media=MEDIA, header=LAST_EVENT,
    ),
    _act("POST", "/decisions/{id}/approve", "Let a held decision take effect.", _approve, Act, 404, 409),
    _act("POST", "/decisions/{id}/release", "Lift a decision now.", _release_decision, Act, 404, 409),
    _read("/audit", "Who did what; of every tenant unless one is named.", _audit, bodies.Audit, Some),
    _read("/allow", "The allow-list.", _allowed, bodies.Allowed, Which),
    _act("POST", "/allow", "Leave an account or a campaign alone.", _allow, Spare),
    _act("DELETE", "/allow", "Take it off the allow-list.", _disallow, SpareNoMore),
    _act("POST", "/feedback", "Say what a campaign or an account really is.", _feedback, Judgement, 404),
    _read("/kill-switch", "Whether every limit is stopped.", _kill_switch, bodies.Switch, Nothing),
    _switch("POST", "Stop every limit of every tenant.", _engage),
    _switch("DELETE", "Let limits be written again.", _disengage),
)
# fmt: on
