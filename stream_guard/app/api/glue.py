"""From HTTP to a handler and back: a route says what it takes and gives, and this holds requests to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web

from stream_guard.app.api.bodies import Act, Nothing
from stream_guard.app.operations import InvalidRequestError, Operations, Request

if TYPE_CHECKING:
    from stream_guard.app.access import Caller
    from stream_guard.policy import Decisions as DecisionPolicy

API_PREFIX: Final = "/api/"
V1: Final = "/api/v1"
CALLER: Final[ContextVar[Caller]] = ContextVar("caller")
Query = TypeVar("Query", bound=msgspec.Struct)
Body = TypeVar("Body", bound="Act | None")


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """One request, as its route understands it."""

    operations: Operations
    policy: DecisionPolicy
    caller: Caller
    http: web.Request
    query: Query
    body: Body

    @property
    def id(self) -> str:
        """`{id}` of the path."""
        return self.http.match_info["id"]

    @property
    def tenant(self) -> str:
        """Of which tenant something is asked.

        Raises:
            ForbiddenError: of another one than the caller is bound to.
        """
        asked = getattr(self.query, "tenant", msgspec.UNSET)
        return self.caller.within(None if asked is msgspec.UNSET else asked)

    @property
    def who(self) -> Request:
        """Who acts, for which tenant and why.

        Raises:
            ForbiddenError: for another tenant than the caller is bound to.
        """
        act = self.body
        if act is None:
            raise TypeError("this route takes no action")
        actor = self.caller.name if act.actor is None else act.actor
        return Request(actor, act.reason, self.caller.within(act.tenant), f"http:{self.caller.name}")


Handler = Callable[[Call[Any, Any]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: below `V1`.
        does: one line.
        handler: gives what is answered; a response of aiohttp goes out as it is.
        gives: type of the answer.
        query: parameters.
        body: type of the JSON that it takes, an `Act`; None for none.
        status: where it worked.
        refuses: what it answers beyond what every route does: 404, 409, 429.
        media: type of the answer.
        header: optional header that it reads.
    """

    method: str
    path: str
    does: str
    handler: Handler
    gives: Any
    query: type[msgspec.Struct] = Nothing
    body: Any = None
    status: int = 200
    refuses: tuple[int, ...] = ()
    media: str = "application/json"
    header: str | None = None

    def serve(
        self, operations: Operations, policy: DecisionPolicy
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """For aiohttp's router."""

        async def handle(request: web.Request) -> web.StreamResponse:
            query = _query(request, self.query)
            body = None if self.body is None else await _body(request, self.body)
            given = await self.handler(Call(operations, policy, CALLER.get(), request, query, body))
            return given if isinstance(given, web.StreamResponse) else answer(given, self.status)

        return handle


def answer(data: object, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json")


def _query(request: web.Request, kind: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"query: {error}") from error


async def _body(request: web.Request, kind: Any) -> Act:  # noqa: ANN401 # types of many kinds
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="the body must be application/json")
    try:
        body: Act = msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"body: {error}") from error
    return body
