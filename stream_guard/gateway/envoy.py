"""Envoy's rate-limit service and external authorization, answered by a gate.

`ShouldRateLimit` takes descriptors with the entry `account_id` and, where there are several, `tenant`. `Check` takes
the request headers `x-account-id` and `x-tenant`, or the context extension `tenant` of the route. Both headers must be
set by the gateway after it has authenticated the caller, never be taken from the caller.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption  # type: ignore[import-untyped] # no types
from envoy.service.auth.v3 import (  # type: ignore[import-untyped] # no types
    external_auth_pb2,
    external_auth_pb2_grpc,
)
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc  # type: ignore[import-untyped] # no types
from google.rpc import code_pb2  # type: ignore[import-untyped] # no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no types

from stream_guard.errors import ServiceUnavailableError
from stream_guard.records import DEFAULT_TENANT

if TYPE_CHECKING:
    from stream_guard.gateway.client import Answer, Gate

log = structlog.get_logger(__name__)

ACCOUNT_ENTRY: Final = "account_id"
TENANT_ENTRY: Final = "tenant"
ACCOUNT_HEADER: Final = "x-account-id"
TENANT_HEADER: Final = "x-tenant"
STOP_SECONDS: Final = 2.0
_RESPONSE: Final = rls_pb2.RateLimitResponse
_PASSED: Final = _RESPONSE(overall_code=_RESPONSE.OK)
_GRANTED: Final = external_auth_pb2.CheckResponse(status=Status(code=code_pb2.OK))


class RateLimitService(rls_pb2_grpc.RateLimitServiceServicer):  # type: ignore[misc] # generated, untyped
    """`envoy.service.ratelimit.v3.RateLimitService`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def ShouldRateLimit(  # noqa: N802 # Envoy's name
        self, request: rls_pb2.RateLimitRequest, context: object
    ) -> rls_pb2.RateLimitResponse:
        """The first descriptor that refuses decides; each that names an account spends one request."""
        del context
        response, refused = None, False
        for descriptor in request.descriptors:
            entries = {entry.key: entry.value for entry in descriptor.entries}
            account = entries.get(ACCOUNT_ENTRY)
            answer = await self._gate.check(account, entries.get(TENANT_ENTRY, DEFAULT_TENANT)) if account else None
            if answer is None or answer.decision_id is None:
                continue
            headers = [HeaderValue(key=key, value=value) for key, value in answer.headers().items()]
            refused = not answer.allowed
            if refused:
                response = _RESPONSE(overall_code=_RESPONSE.OVER_LIMIT, response_headers_to_add=headers)
                break
            response = _RESPONSE(overall_code=_RESPONSE.OK, request_headers_to_add=headers)
        return _PASSED if response is None else response


class Authorization(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc] # generated, untyped
    """`envoy.service.auth.v3.Authorization`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def Check(  # noqa: N802 # Envoy's name
        self, request: external_auth_pb2.CheckRequest, context: object
    ) -> external_auth_pb2.CheckResponse:
        """Refuse with the answer's status, or let pass and tell the application what holds."""
        del context
        attributes = request.attributes
        headers = attributes.request.http.headers
        account = headers.get(ACCOUNT_HEADER, "")
        tenant = attributes.context_extensions.get(TENANT_ENTRY) or headers.get(TENANT_HEADER) or DEFAULT_TENANT
        answer = await self._gate.check(account, tenant)
        if answer.decision_id is None:
            return _GRANTED
        options = [
            HeaderValueOption(
                header=HeaderValue(key=key, value=value),
                append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for key, value in answer.headers().items()
        ]
        return _denied(answer, options) if not answer.allowed else _granted(options)


def _granted(headers: list[HeaderValueOption]) -> external_auth_pb2.CheckResponse:
    return external_auth_pb2.CheckResponse(
        status=Status(code=code_pb2.OK), ok_response=external_auth_pb2.OkHttpResponse(headers=headers)
    )


def _denied(answer: Answer, headers: list[HeaderValueOption]) -> external_auth_pb2.CheckResponse:
    denied = external_auth_pb2.DeniedHttpResponse(headers=headers, body='{"error": "too many requests"}\n')
    denied.status.code = answer.status  # Envoy's enumeration has HTTP's numbers
    return external_auth_pb2.CheckResponse(status=Status(code=code_pb2.PERMISSION_DENIED), denied_response=denied)


async def serve(gate: Gate, address: str, stop: asyncio.Event | None = None) -> None:
    """Serve both services on `address` (`127.0.0.1:8081`) until SIGTERM or SIGINT, or until `stop` is set.

    Raises:
        ServiceUnavailableError: the address cannot be bound.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with gate:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        rls_pb2_grpc.add_RateLimitServiceServicer_to_server(RateLimitService(gate), server)
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(Authorization(gate), server)
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise ServiceUnavailableError(f"{address} cannot be bound: {error}") from error
        await server.start()
        log.info("gateway ready", address=address, name=gate.name)
        try:
            await stop.wait()
        finally:
            await server.stop(STOP_SECONDS)
