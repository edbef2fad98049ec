"""Unary gRPC over plain HTTP/2 (RFC 9113) on asyncio: the part of it that a proxy on a private network speaks.

grpcio takes 350 µs of processor time a call on the machine that this was measured on, more than everything else that
the gateway does; this takes a fraction of it. No TLS, no streaming, no compression. What it does not understand ends
the connection: Envoy opens another one and lets requests pass meanwhile.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import structlog
from hpack import Decoder, HPACKError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Handler = Callable[[bytes], bytes | Awaitable[bytes]]

log = structlog.get_logger(__name__)

MAX_FRAME: Final = 16_384
MAX_MESSAGE: Final = 65_536
MAX_HEADERS: Final = 32_768
MAX_STREAMS: Final = 1_000
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW: Final = 2**31 - 1
_DEFAULT_WINDOW: Final = 65_535
_REFILL: Final = 2**24
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0,
    1,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_FLOW_CONTROL_ERROR, _REFUSED_STREAM, _PROTOCOL_ERROR = 3, 7, 1
_GREETING_SETTINGS: Final = struct.pack(">HIHI", 0x3, MAX_STREAMS, 0x4, MAX_MESSAGE)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that enters no table (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


_RESPONSE_HEADERS: Final = b"\x88" + _literal(b"content-type", b"application/grpc")  # 0x88 is :status 200
_TRAILERS: Final = {code: _literal(b"grpc-status", str(code).encode()) for code in (0, 12, 13)}
UNIMPLEMENTED, INTERNAL = 12, 13


class _BrokenError(Exception):
    """The peer breaks the protocol, or uses a part of it that we do not know."""


class GrpcConnection(asyncio.Protocol):
    """One connection.

    Args:
        handlers: what answers, by path (`/package.Service/Method`); an awaitable where it has to wait.
        connections: where it enters and leaves itself, so that whoever stops can close it.
    """

    def __init__(self, handlers: Mapping[str, Handler], connections: set[GrpcConnection]) -> None:
        self._handlers, self._connections = handlers, connections
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._greeted = False
        self._decoder = Decoder(max_header_list_size=MAX_HEADERS)
        self._block: tuple[int, bool, bytearray] | None = None  # stream, whether it ends there, headers so far
        self._paths: dict[int, str] = {}
        self._bodies: dict[int, bytearray] = {}
        self._tasks: dict[int, asyncio.Future[bytes]] = {}
        self._received = 0
        self._window = self._stream_window = _DEFAULT_WINDOW
        self._waiting: deque[tuple[int, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        more = struct.pack(">I", _WINDOW - _DEFAULT_WINDOW)
        self._transport.write(_frame(_SETTINGS, 0, 0, _GREETING_SETTINGS) + _frame(_WINDOW_UPDATE, 0, 0, more))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        del exc
        self._connections.discard(self)
        for task in self._tasks.values():
            task.cancel()

    def close(self) -> None:
        """Say goodbye and go."""
        self._transport.write(_frame(_GOAWAY, 0, 0, struct.pack(">II", 0x7FFFFFFF, 0)))
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take frames apart as they come."""
        buffer = self._buffer
        buffer += data
        try:
            if not self._greeted:
                if len(buffer) < len(_PREFACE):
                    return
                self._greet()
            start, end = 0, len(buffer)
            while end - start >= 9:
                head, flags, stream = struct.unpack_from(">IBI", buffer, start)
                length, kind = head >> 8, head & 0xFF
                _check_length(length)
                if end - start < 9 + length:
                    break
                payload = bytes(buffer[start + 9 : start + 9 + length])
                start += 9 + length
                self._take(kind, flags, stream & 0x7FFFFFFF, payload)
            del buffer[:start]
        except (_BrokenError, HPACKError, struct.error, IndexError, UnicodeDecodeError) as error:
            log.warning("a connection to the gateway breaks the protocol", error=repr(error))
            self._transport.write(_frame(_GOAWAY, 0, 0, struct.pack(">II", 0, _PROTOCOL_ERROR)))
            self._transport.close()

    def _greet(self) -> None:
        if not self._buffer.startswith(_PREFACE):
            raise _BrokenError("no HTTP/2 preface")
        del self._buffer[: len(_PREFACE)]
        self._greeted = True

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:  # noqa: C901 # one branch a kind
        if self._block is not None and (kind != _CONTINUATION or stream != self._block[0]):
            raise _BrokenError("headers are interrupted")
        if kind == _DATA:
            self._take_data(flags, stream, payload)
        elif kind == _HEADERS:
            block = _unpadded(flags, payload)
            self._block = (stream, bool(flags & _END_STREAM), bytearray(block[5:] if flags & _PRIORITY else block))
            self._headers_end(flags)
        elif kind == _CONTINUATION:
            if self._block is None:
                raise _BrokenError("headers go on that never began")
            self._block[2].extend(payload)
            self._headers_end(flags)
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += struct.unpack(">I", payload)[0] & 0x7FFFFFFF
            self._flush()
        elif kind == _RST_STREAM:
            self._forget(stream)
        elif kind == _PUSH:
            raise _BrokenError("a client pushes")

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == 0x4:
                self._stream_window = value
        self._transport.write(_frame(_SETTINGS, _ACK, 0))

    def _headers_end(self, flags: int) -> None:
        stream, ends, block = cast("tuple[int, bool, bytearray]", self._block)
        if len(block) > MAX_HEADERS:
            raise _BrokenError("headers are too large")
        if not flags & _END_HEADERS:
            return
        self._block = None
        headers = self._decoder.decode(bytes(block), raw=True)  # always: its table follows the peer's
        if stream in self._paths:  # trailers
            if ends:
                self._call(stream)
            return
        if len(self._paths) >= MAX_STREAMS:
            self._transport.write(_frame(_RST_STREAM, 0, stream, struct.pack(">I", _REFUSED_STREAM)))
            return
        self._paths[stream] = next((bytes(value).decode() for name, value in headers if name == b":path"), "")
        self._bodies[stream] = bytearray()
        if ends:
            self._call(stream)

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= _REFILL:
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        body = self._bodies.get(stream)
        if body is None:
            return  # of a stream that is over
        body += _unpadded(flags, payload)
        if len(body) > MAX_MESSAGE:
            self._transport.write(_frame(_RST_STREAM, 0, stream, struct.pack(">I", _FLOW_CONTROL_ERROR)))
            self._forget(stream)
        elif flags & _END_STREAM:
            self._call(stream)

    def _call(self, stream: int) -> None:
        body, handler = self._bodies.pop(stream, bytearray()), self._handlers.get(self._paths[stream])
        if handler is None or len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5]) != len(body) - 5:
            self._fail(stream, UNIMPLEMENTED)
            return
        try:
            found = handler(bytes(body[5:]))
        except Exception as error:  # noqa: BLE001 # one call fails, and passes at Envoy; the service goes on
            log.warning("a call failed", error=repr(error))
            self._fail(stream, INTERNAL)
            return
        if isinstance(found, bytes):
            self._answer(stream, found)
            return
        task = self._tasks[stream] = asyncio.ensure_future(found)
        task.add_done_callback(lambda done: self._done(stream, done))

    def _done(self, stream: int, task: asyncio.Future[bytes]) -> None:
        if self._tasks.pop(stream, None) is None or task.cancelled():
            return
        if task.exception() is not None:
            log.warning("a call failed", error=repr(task.exception()))
            self._fail(stream, INTERNAL)
        else:
            self._answer(stream, task.result())

    def _answer(self, stream: int, message: bytes) -> None:
        if len(message) + 5 > min(self._stream_window, MAX_FRAME):
            self._fail(stream, INTERNAL)
            return
        self._waiting.append((stream, b"\x00" + len(message).to_bytes(4) + message))
        self._flush()

    def _flush(self) -> None:
        """Send what the peer's window has room for, in order."""
        while self._waiting and len(self._waiting[0][1]) <= self._window:
            stream, body = self._waiting.popleft()
            if self._paths.pop(stream, None) is None:
                continue  # the peer has given up
            self._window -= len(body)
            self._transport.write(
                _frame(_HEADERS, _END_HEADERS, stream, _RESPONSE_HEADERS)
                + _frame(_DATA, 0, stream, body)
                + _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _TRAILERS[0])
            )

    def _fail(self, stream: int, code: int) -> None:
        self._forget(stream)
        payload = _RESPONSE_HEADERS + _TRAILERS[code]
        self._transport.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, payload))

    def _forget(self, stream: int) -> None:
        self._paths.pop(stream, None)
        self._bodies.pop(stream, None)
        task = self._tasks.pop(stream, None)
        if task is not None:
            task.cancel()


def _check_length(length: int) -> None:
    if length > MAX_FRAME:
        raise _BrokenError("a frame is too large")


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if payload[0] >= len(payload):
        raise _BrokenError("more padding than payload")
    return payload[1 : len(payload) - payload[0]]
