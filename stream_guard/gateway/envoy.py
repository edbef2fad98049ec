"""Envoy's rate-limit service and external authorization, answered by a gate.

`ShouldRateLimit` takes descriptors with the entry `account_id` and, where there are several, `tenant`. `Check` takes
the request headers `x-account-id` and `x-tenant`, or the context extension `tenant` of the route. Both headers must be
set by the gateway after it has authenticated the caller, never be taken from the caller.

`grpc.health.v1.Health/Check` without a service says that the process answers; with the name of one, that limits are
known too.
"""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption  # type: ignore[import-untyped] # no types
from envoy.service.auth.v3 import external_auth_pb2  # type: ignore[import-untyped] # no types
from envoy.service.ratelimit.v3 import rls_pb2  # type: ignore[import-untyped] # no types
from google.rpc import code_pb2  # type: ignore[import-untyped] # no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no types

from stream_guard.errors import ServiceUnavailableError
from stream_guard.gateway.client import Answer
from stream_guard.gateway.http2 import GrpcConnection
from stream_guard.records import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stream_guard.gateway.client import Gate

log = structlog.get_logger(__name__)

ACCOUNT_ENTRY: Final = "account_id"
TENANT_ENTRY: Final = "tenant"
ACCOUNT_HEADER: Final = "x-account-id"
TENANT_HEADER: Final = "x-tenant"
_RESPONSE: Final = rls_pb2.RateLimitResponse
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse
_PASSED: Final = bytes(_RESPONSE(overall_code=_RESPONSE.OK).SerializeToString())
_GRANTED: Final = bytes(external_auth_pb2.CheckResponse(status=Status(code=code_pb2.OK)).SerializeToString())


def should_rate_limit(gate: Gate, message: bytes) -> bytes | Awaitable[bytes]:
    """`envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`: the first descriptor with an account decides."""
    for descriptor in rls_pb2.RateLimitRequest.FromString(message).descriptors:
        entries = {entry.key: entry.value for entry in descriptor.entries}
        account = entries.get(ACCOUNT_ENTRY)
        if account:
            return _answered(gate, account, entries.get(TENANT_ENTRY, DEFAULT_TENANT), _rate_limit)
    return _PASSED


def check(gate: Gate, message: bytes) -> bytes | Awaitable[bytes]:
    """`envoy.service.auth.v3.Authorization/Check`: refuses with the answer's status."""
    attributes = external_auth_pb2.CheckRequest.FromString(message).attributes
    headers = attributes.request.http.headers
    tenant = attributes.context_extensions.get(TENANT_ENTRY) or headers.get(TENANT_HEADER) or DEFAULT_TENANT
    return _answered(gate, headers.get(ACCOUNT_HEADER, ""), tenant, _authorization)


def health(gate: Gate, message: bytes) -> bytes:
    """`grpc.health.v1.Health/Check`."""
    return _SERVING if not message or gate.fresh else _NOT_SERVING


def _answered(gate: Gate, account: str, tenant: str, encode: Callable[[Answer], bytes]) -> bytes | Awaitable[bytes]:
    found = gate.look(account, tenant)
    if isinstance(found, Answer):
        return encode(found)

    async def spend() -> bytes:
        return encode(await gate.spend(account, tenant, found))

    return spend()


def _rate_limit(answer: Answer) -> bytes:
    if answer.decision_id is None:
        return _PASSED
    headers = [HeaderValue(key=key, value=value) for key, value in answer.headers().items()]
    if answer.allowed:
        response = _RESPONSE(overall_code=_RESPONSE.OK, request_headers_to_add=headers)
    else:
        response = _RESPONSE(overall_code=_RESPONSE.OVER_LIMIT, response_headers_to_add=headers)
    return bytes(response.SerializeToString())


def _authorization(answer: Answer) -> bytes:
    if answer.decision_id is None:
        return _GRANTED
    headers = [
        HeaderValueOption(
            header=HeaderValue(key=key, value=value), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        )
        for key, value in answer.headers().items()
    ]
    return bytes((_granted(headers) if answer.allowed else _denied(answer, headers)).SerializeToString())


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
    loop = asyncio.get_running_loop()
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    handlers: dict[str, Callable[[bytes], bytes | Awaitable[bytes]]] = {
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit": partial(should_rate_limit, gate),
        "/envoy.service.auth.v3.Authorization/Check": partial(check, gate),
        "/grpc.health.v1.Health/Check": partial(health, gate),
    }
    host, _, port = address.rpartition(":")
    connections: set[GrpcConnection] = set()
    async with gate:
        try:
            server = await loop.create_server(
                lambda: GrpcConnection(handlers, connections), host.strip("[]"), int(port)
            )
        except (OSError, ValueError, OverflowError) as error:
            raise ServiceUnavailableError(f"{address} cannot be bound: {error}") from error
        log.info("gateway ready", address=address, name=gate.name)
        try:
            await stop.wait()
        finally:
            server.close()
            for connection in list(connections):
                connection.close()
