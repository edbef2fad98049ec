"""The gateway's HTTP/2: garbage ends one connection only, every cut of the stream gives the same answer."""

from __future__ import annotations

import asyncio
import random
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("hpack")
from hpack import Encoder

from stream_guard.gateway.http2 import MAX_FRAME, MAX_MESSAGE, GrpcConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(path: str = "/a.B/Echo") -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")]
    return bytes(Encoder().encode(fields))


def message(body: bytes) -> bytes:
    return b"\x00" + len(body).to_bytes(4) + body


def call(body: bytes = b"hello", path: str = "/a.B/Echo") -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0x4, 1, headers(path)) + frame(DATA, 0x1, 1, message(body))


async def slow(body: bytes) -> bytes:
    await asyncio.sleep(0.01)
    return b"slow " + body


def broken(body: bytes) -> bytes:
    raise ValueError(body)


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    handlers = {"/a.B/Echo": lambda body: b"echo " + body, "/a.B/Slow": slow, "/a.B/Broken": broken}
    server = await asyncio.get_running_loop().create_server(lambda: GrpcConnection(handlers, set()), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await asyncio.sleep(0.01)


async def frames(reader: asyncio.StreamReader, kind: int) -> tuple[int, bytes]:
    """The next frame of a kind: flags and payload."""
    async with asyncio.timeout(5.0):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == kind:
                return head[4], payload


async def test_an_answer_comes_whole_however_the_stream_is_cut() -> None:
    chance = random.Random(1)
    for _ in range(20):
        async with peer() as (reader, writer):
            sent = call()
            while sent:
                size = chance.randint(1, 30)
                writer.write(sent[:size])
                await writer.drain()
                await asyncio.sleep(0)
                sent = sent[size:]
            assert (await frames(reader, DATA))[1] == message(b"echo hello")
            flags, trailers = await frames(reader, HEADERS)
            assert flags & 0x1
            assert trailers.endswith(b"grpc-status\x010")


async def test_padding_priority_and_continuations_are_understood() -> None:
    async with peer() as (reader, writer):
        block = headers()
        padded = bytes([3]) + struct.pack(">IB", 0, 10) + block[:5] + b"\x00" * 3
        writer.write(PREFACE + frame(HEADERS, 0x8 | 0x20, 1, padded) + frame(CONTINUATION, 0x4, 1, block[5:]))
        writer.write(frame(DATA, 0x1 | 0x8, 1, bytes([2]) + message(b"x") + b"\x00\x00"))
        assert (await frames(reader, DATA))[1] == message(b"echo x")


async def test_slow_calls_do_not_hold_up_others_and_a_ping_is_answered() -> None:
    async with peer() as (reader, writer):
        writer.write(call(path="/a.B/Slow") + frame(PING, 0, 0, b"12345678"))
        assert await frames(reader, PING) == (0x1, b"12345678")
        assert (await frames(reader, DATA))[1] == message(b"slow hello")


@pytest.mark.parametrize(("path", "code"), [("/a.B/Broken", b"13"), ("/a.B/Unknown", b"12")])
async def test_a_call_that_fails_says_so_and_the_next_one_works(path: str, code: bytes) -> None:
    async with peer() as (reader, writer):
        writer.write(call(path=path))
        assert (await frames(reader, HEADERS))[1].endswith(code)
        writer.write(frame(HEADERS, 0x4, 3, headers()) + frame(DATA, 0x1, 3, message(b"again")))
        assert (await frames(reader, DATA))[1] == message(b"echo again")


async def test_a_message_that_is_too_large_is_reset() -> None:
    async with peer() as (reader, writer):
        writer.write(PREFACE + frame(HEADERS, 0x4, 1, headers()))
        for _ in range(MAX_MESSAGE // MAX_FRAME + 1):
            writer.write(frame(DATA, 0, 1, b"x" * MAX_FRAME))
        await frames(reader, RST_STREAM)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE + struct.pack(">I", MAX_FRAME + 1)[1:] + bytes(6),
        PREFACE + frame(HEADERS, 0x4, 1, b"\xff\xff\xff\xff\xff\xff"),
        PREFACE + frame(HEADERS, 0x8 | 0x4, 1, b"\xff"),
        PREFACE + frame(HEADERS, 0x8, 1),
        PREFACE + frame(CONTINUATION, 0x4, 1),
        PREFACE + frame(HEADERS, 0, 1, headers()) + frame(PING, 0, 0, b"12345678"),
        PREFACE + frame(SETTINGS, 0, 0, b"123"),
        PREFACE + frame(8, 0, 0, b"1"),
        PREFACE + frame(5, 0, 1),
    ],
)
async def test_garbage_ends_the_connection_with_a_word(garbage: bytes) -> None:
    async with peer() as (reader, writer):
        writer.write(garbage)
        await frames(reader, GOAWAY)
        assert await reader.read() == b""


async def test_random_bytes_end_nothing_but_their_connection() -> None:
    chance = random.Random(2)
    for _ in range(50):
        async with peer() as (reader, writer):
            kinds = [frame(chance.randrange(12), chance.randrange(256), chance.randrange(4), chance.randbytes(20))]
            writer.write(PREFACE + b"".join(kinds) + chance.randbytes(100))
            writer.write_eof()
            async with asyncio.timeout(5.0):
                await reader.read()
