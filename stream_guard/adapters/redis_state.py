"""Checkpoints in Redis.

For every node there are, under one hash slot `{group:node}`:

- `sg:{group:node}:token`: newest fencing token, a counter;
- `sg:{group:node}:meta`: hash with `meta` (the node's own state) and `p:<topic>` (next offset);
- `sg:{group:node}:b:<bucket>`: accounts, the states that come by the million. Those whose keys have equal check sums
  share a hash, some tens each: a key of its own for every account would cost a hundred bytes more. A field is the
  state's key without its first letter; its value begins with the day on which it was written;
- `sg:{group:node}:s:<key>`: one string for every other state of a lazy stage;
- `sg:{group:node}:all`: one hash with every state of an eager stage, which is always read as a whole.

Lazy states optionally have a time to live. A hash as a whole has it from the last write to it; of one that lives on,
fields are dropped, once a day, that nobody has written for longer.

`sg:{group}:watermarks` is the board on which workers compare their event time. A checkpoint is one Lua call, hence
atomic; its size is bounded because runners write before too much is dirty. Values are opaque: nothing is unpickled.

Reads are fenced too. A worker that was suspended and goes on from its own position must not load a state in which its
successor has already counted the same events: it would send totals that are too high.
"""

from __future__ import annotations

import struct
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from zlib import crc32

from redis.exceptions import RedisError

from stream_guard.adapters.redis_client import Breaker
from stream_guard.adapters.redis_scripts import ACQUIRE, READ_FIELDS, WRITE_HASH, WRITE_LAZY
from stream_guard.errors import FencedError, StateUnavailableError
from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from redis.asyncio import Redis

    from stream_guard.ports import Checkpoint

READ_CHUNK = 2_000
SCAN_CHUNK = 1_000

GROUPED = b"a"  # first letter of the keys of accounts
BUCKETS = 1 << 15  # of a partition: some twenty accounts in each where there are millions, which is quick to search
LAYOUT = b"2"  # 1, before any release, had a key for each account
DAY_SECONDS = 86_400
MOST_SWEPT = 64  # hashes looked through in one checkpoint
_DAY = struct.Struct("<H")


class RedisStateStore:
    """`ports.StateStore` on Redis.

    Args:
        client: see `redis_client.connect`; closed by whoever made it.
        group: consumer group; separates installations that share a Redis.
        eager_stages: stages whose states live in one hash.
        ttl_seconds: life of a lazy state that is not written again; None = for ever.
        breaker: shared by all calls.
    """

    def __init__(
        self,
        client: Redis,
        group: str,
        eager_stages: frozenset[str],
        *,
        ttl_seconds: float | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._client, self._group, self._eager_stages = client, group, eager_stages
        self._ttl_ms = 0 if ttl_seconds is None else int(ttl_seconds * 1000)
        self._breaker = breaker or Breaker()
        self._tokens: dict[str, int] = {}
        self._acquire = client.register_script(ACQUIRE)
        self._swept: dict[str, int] = {}
        self._write_lazy = client.register_script(WRITE_LAZY)
        self._read_fields = client.register_script(READ_FIELDS)
        self._write_hash = client.register_script(WRITE_HASH)

    def _key(self, node: str, rest: str) -> bytes:
        return f"sg:{{{self._group}:{node}}}:{rest}".encode()

    def _eager(self, node: str) -> bool:
        return node.partition(":")[0] in self._eager_stages

    @asynccontextmanager
    async def _guard(self) -> AsyncIterator[None]:
        self._breaker.enter()
        try:
            yield
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise StateUnavailableError(f"Redis does not answer: {error!r}") from error
        except BaseException:
            self._breaker.failed()  # cancelled in mid-call: the next call probes
            raise
        self._breaker.succeeded()

    async def acquire(self, node: str) -> int:
        """Become the owner; every earlier token is void from now on."""
        async with self._guard():
            token = int(await self._acquire(keys=[self._key(node, "token")], args=[time.time_ns() // 1_000_000]))
        self._tokens[node] = token
        return token

    def _require_newest(self, node: str, newest: object) -> None:
        """Refuse what was read after somebody else became the owner; a store that never acquired may read."""
        mine = self._tokens.get(node)
        if mine is not None and newest != b"%d" % mine:
            raise FencedError(f"{node}: token {mine} is no longer the newest")

    async def read_meta(self, node: str) -> tuple[bytes | None, Mapping[Topic, int]]:
        """Meta and positions of the last checkpoint."""
        async with self._guard():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(self._key(node, "meta"))
            pipeline.get(self._key(node, "token"))
            fields, newest = await pipeline.execute()
        self._require_newest(node, newest)
        if fields and not self._eager(node) and fields.get(b"layout") != LAYOUT:
            return None, {}  # written by an early build: this partition starts cold
        positions = {
            Topic(field[2:].decode()): int(value) for field, value in fields.items() if field.startswith(b"p:")
        }
        return fields.get(b"meta"), positions

    async def read(self, node: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """States of some keys, in chunks, each read together with the token."""
        states: dict[bytes, bytes | None] = {}
        token, strings, hashes = self._key(node, "token"), self._key(node, "s:"), self._key(node, "b:")
        for chunk in _chunks([key for key in keys if key[:1] != GROUPED], READ_CHUNK):
            async with self._guard():
                newest, *values = await self._client.mget([token, *(strings + key for key in chunk)])
            self._require_newest(node, newest)
            states.update(zip(chunk, cast("list[bytes | None]", values), strict=True))
        for chunk in _chunks([key for key in keys if key[:1] == GROUPED], READ_CHUNK):
            async with self._guard():
                newest, *values = await self._read_fields(
                    keys=[token, *(hashes + bucket_of(key) for key in chunk)], args=[key[1:] for key in chunk]
                )
            self._require_newest(node, newest)
            states.update((key, value and value[2:]) for key, value in zip(chunk, values, strict=True))
        return states

    async def read_all(self, node: str) -> Mapping[bytes, bytes]:
        """Every state of an eager node; safe to scan because only its owner writes."""
        states: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            async with self._guard():
                cursor, found = await self._client.hscan(self._key(node, "all"), cursor, count=SCAN_CHUNK)
            states.update(cast("dict[bytes, bytes]", found))
            if cursor == 0:
                break
        async with self._guard():
            newest = await self._client.get(self._key(node, "token"))
        self._require_newest(node, newest)
        return states

    async def write(self, node: str, token: int, checkpoint: Checkpoint) -> None:
        """Write everything or nothing."""
        changed = [(key, value) for key, value in checkpoint.states.items() if value is not None]
        deleted = [key for key, value in checkpoint.states.items() if value is None]
        meta: list[bytes | str | int] = ["meta", checkpoint.meta]
        for topic, offset in checkpoint.positions.items():
            meta += [f"p:{topic.value}", offset]
        keys = [self._key(node, "token"), self._key(node, "meta")]
        async with self._guard():
            if self._eager(node):
                done = await self._write_hash(
                    keys=[*keys, self._key(node, "all")],
                    args=[token, len(changed), len(meta) // 2, *meta, *_flat(changed), *deleted],
                )
            else:
                done = await self._write_states(node, token, changed, deleted, ["layout", LAYOUT, *meta])
        if not done:
            raise FencedError(f"{node}: token {token} is no longer the newest")

    async def _write_states(
        self,
        node: str,
        token: int,
        changed: Sequence[tuple[bytes, bytes]],
        deleted: Sequence[bytes],
        meta: Sequence[bytes | str | int],
    ) -> bool:
        """The states of a lazy stage."""
        now, strings, hashes = time.time(), self._key(node, "s:"), self._key(node, "b:")
        grouped = [(key, value) for key, value in changed if key[:1] == GROUPED]
        alone = [(key, value) for key, value in changed if key[:1] != GROUPED]
        fields_gone = [key for key in deleted if key[:1] == GROUPED]
        gone = [key for key in deleted if key[:1] != GROUPED]
        swept = self._turn(node, now)
        today, oldest = _DAY.pack(int(now // DAY_SECONDS)), int((now - self._ttl_ms / 1_000) // DAY_SECONDS)
        done = await self._write_lazy(
            keys=[
                self._key(node, "token"),
                self._key(node, "meta"),
                *(hashes + bucket_of(key) for key, _ in grouped),
                *(hashes + bucket_of(key) for key in fields_gone),
                *(strings + key for key, _ in alone),
                *(strings + key for key in gone),
                *(hashes + b"%04x" % number for number in swept),
            ],
            args=[
                token,
                self._ttl_ms,
                oldest,
                *(len(some) for some in (grouped, fields_gone, alone, gone, swept)),
                len(meta) // 2,
                *meta,
                *_flat([(key[1:], today + value) for key, value in grouped]),
                *(key[1:] for key in fields_gone),
                *(value for _, value in alone),
            ],
        )
        return bool(done)

    def _turn(self, node: str, now: float) -> Sequence[int]:
        """Which hashes to look through for states past their time: by the clock, each of them once a day."""
        if not self._ttl_ms:
            return ()
        turn = int(now * BUCKETS / DAY_SECONDS)
        last = self._swept.get(node, turn)
        self._swept[node] = turn
        return [number % BUCKETS for number in range(max(last, turn - MOST_SWEPT), turn)]


class RedisWatermarks:
    """`app.event_time.WatermarkBoard` on a Redis hash."""

    def __init__(self, client: Redis, group: str) -> None:
        self._client = client
        self._key = f"sg:{{{group}}}:watermarks"

    async def exchange(self, mine: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Write some marks and read all."""
        pipeline = self._client.pipeline(transaction=False)
        if mine:
            pipeline.hset(self._key, mapping=dict(mine))  # type: ignore[arg-type] # redis-py types keys as str | bytes invariantly
        pipeline.hgetall(self._key)
        try:
            answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StateUnavailableError(f"Redis does not answer: {error!r}") from error
        return {name.decode(): mark for name, mark in answers[-1].items()}


def bucket_of(key: bytes) -> bytes:
    """Which hash an account is in: the end of that hash's key."""
    return b"%04x" % (crc32(key) % BUCKETS)


def _chunks(keys: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), size):
        yield list(keys[start : start + size])


def _flat(pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for pair in pairs:
        yield from pair
