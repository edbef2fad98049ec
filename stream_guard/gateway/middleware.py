"""ASGI middleware: the same answers for gateways and APIs written in Python.

`app.add_middleware(LimitMiddleware, gate=Gate.on(settings.redis), identify=who)` in Starlette and FastAPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from stream_guard.gateway.client import Answer, Gate

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY: Final = b'{"error": "too many requests"}\n'


class LimitMiddleware:
    """Refuses requests as decided; the rest pass, with the answer under `stream_guard` in the scope.

    Args:
        app: what it protects.
        gate: started with the application and closed with it.
        identify: tenant and account of an authenticated request; None = nobody known, the request passes.
    """

    def __init__(self, app: Application, gate: Gate, identify: Callable[[Scope], tuple[str, str] | None]) -> None:
        self._app, self._gate, self._identify = app, gate, identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        known = self._identify(scope) if scope["type"] == "http" else None
        if known is not None:
            await self._gate.start()  # where the server knows no lifespan
            tenant, account_id = known
            answer = await self._gate.check(account_id, tenant)
            if not answer.allowed:
                await _refuse(answer, send)
                return
            scope["stream_guard"] = answer
        await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gate.start()
        try:
            await self._app(scope, receive, send)
        finally:
            await self._gate.aclose()


async def _refuse(answer: Answer, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers().items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})
