"""`GET /decisions/stream`: `decision_stream.follow` as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html: an event has a name, one line of JSON and, where a
reader can go on from it, an id. Who sends that id as `Last-Event-ID` misses nothing.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from stream_guard.app.decision_stream import IDLE, Event, follow
from stream_guard.errors import StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from stream_guard.app.api.bodies import Which
    from stream_guard.app.api.glue import Call

log = structlog.get_logger(__name__)

LAST_EVENT: Final = "Last-Event-ID"
MEDIA: Final = "text/event-stream"
MAX_STREAMS: Final = 64  # of one process
ALIVE_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = "10"
_AT_A_TIME: Final = 4  # look at Redis; the rest of its connections is for everybody else


class Streams:
    """Those that are open."""

    def __init__(self) -> None:
        self.count = 0
        self.ending = False
        self.turn = asyncio.Semaphore(_AT_A_TIME)

    async def end(self, _: web.Application) -> None:
        """The server stops and does not want to wait for them."""
        self.ending = True


STREAMS: Final = web.AppKey("streams", Streams)


async def stream_decisions(call: Call[Which, None]) -> web.StreamResponse:
    """Write events until the reader leaves or Redis does.

    Raises:
        HTTPTooManyRequests: `MAX_STREAMS` are open.
        StateUnavailableError: Redis does not answer; only before the first event.
    """
    tenant, position, streams = call.tenant, call.http.headers.get(LAST_EVENT, ""), call.http.app[STREAMS]
    if streams.count >= MAX_STREAMS:
        raise web.HTTPTooManyRequests(headers={"Retry-After": _RETRY_SECONDS}, reason="too many streams are open")
    streams.count += 1
    try:
        async with aclosing(follow(call.operations, tenant, position, streams.turn)) as events:
            first = await anext(events)
            response = web.StreamResponse(headers={"Content-Type": MEDIA, "X-Accel-Buffering": "no"})
            await response.prepare(call.http)
            await response.write(encode(first))
            await _write(call.http, response, events)
            return response
    finally:
        streams.count -= 1


async def _write(request: web.Request, response: web.StreamResponse, events: AsyncGenerator[Event]) -> None:
    written = time.monotonic()
    try:
        async for event in events:
            gone = request.transport is None or request.transport.is_closing()
            if gone or request.app[STREAMS].ending:
                return
            now = time.monotonic()
            if event is not IDLE or now - written >= ALIVE_SECONDS:
                await response.write(encode(event))
                written = now
    except StateUnavailableError as error:  # the reader comes back with its position, and is told then
        log.warning("a stream of decisions ends", error=str(error))
    except ConnectionResetError:
        return  # the reader left


def encode(event: Event) -> bytes:
    """As it goes over the wire; a comment keeps proxies from closing what is idle."""
    if event is IDLE:
        return b": alive\n\n"
    position = f"id: {event.position}\n" if event.position else ""
    return f"{position}event: {event.name}\ndata: ".encode() + msgspec.json.encode(event.data) + b"\n\n"
