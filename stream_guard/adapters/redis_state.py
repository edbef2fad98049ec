"""Checkpoints in Redis.

For every node there are, under one hash slot `{group:node}`:

- `sg:{group:node}:token`: newest fencing token, a counter;
- `sg:{group:node}:meta`: hash with `meta` (the node's own state) and `p:<topic>` (next offset);
- `sg:{group:node}:s:<key>`: one string per state of a lazy stage (accounts), optionally with a time to live;
- `sg:{group:node}:all`: one hash with every state of an eager stage, which is always read as a whole.

`sg:{group}:watermarks` is the board on which workers compare their event time. A checkpoint is one Lua call, hence
atomic; its size is bounded because runners write before too much is dirty. Values are opaque: nothing is unpickled.

Reads are fenced too. A worker that was suspended and goes on from its own position must not load a state in which its
successor has already counted the same events: it would send totals that are too high.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from stream_guard.adapters.redis_client import Breaker
from stream_guard.errors import FencedError, StateUnavailableError
from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from redis.asyncio import Redis

    from stream_guard.ports import Checkpoint

# The first token is a time, so that tokens go on growing when Redis has lost everything.
ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[1]) end
return redis.call('INCR', KEYS[1])
"""

READ_CHUNK = 2_000
SCAN_CHUNK = 1_000

# KEYS: token, meta, then states to set, then states to delete. ARGV: token, time to live in ms (0 = none),
# number of states to set, number of meta fields, fields and values of meta, values of the states.
WRITE_KEYS = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local ttl, sets, metas = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 1, metas do redis.call('HSET', KEYS[2], ARGV[3 + 2 * i], ARGV[4 + 2 * i]) end
local values = 4 + 2 * metas
for i = 1, sets do
  if ttl > 0 then redis.call('SET', KEYS[2 + i], ARGV[values + i], 'PX', ttl)
  else redis.call('SET', KEYS[2 + i], ARGV[values + i]) end
end
for i = 3 + sets, #KEYS do redis.call('DEL', KEYS[i]) end
return 1
"""

# KEYS: token, meta, hash. ARGV: token, number of states to set, number of meta fields, fields and values of meta,
# fields and values of the states, fields to delete.
WRITE_HASH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local sets, metas = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, metas do redis.call('HSET', KEYS[2], ARGV[2 + 2 * i], ARGV[3 + 2 * i]) end
local first = 3 + 2 * metas
for i = 1, sets do redis.call('HSET', KEYS[3], ARGV[first + 2 * i - 1], ARGV[first + 2 * i]) end
for i = first + 2 * sets + 1, #ARGV do redis.call('HDEL', KEYS[3], ARGV[i]) end
return 1
"""


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
        self._write_keys = client.register_script(WRITE_KEYS)
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
        positions = {
            Topic(field[2:].decode()): int(value) for field, value in fields.items() if field.startswith(b"p:")
        }
        return fields.get(b"meta"), positions

    async def read(self, node: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes | None]:
        """States of some keys, in chunks, each read together with the token."""
        states: dict[bytes, bytes | None] = {}
        for chunk in _chunks(keys, READ_CHUNK):
            async with self._guard():
                prefix = self._key(node, "s:")
                newest, *values = await self._client.mget([self._key(node, "token"), *(prefix + key for key in chunk)])
            self._require_newest(node, newest)
            states.update(zip(chunk, cast("list[bytes | None]", values), strict=True))
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
                prefix = self._key(node, "s:")
                done = await self._write_keys(
                    keys=[*keys, *(prefix + key for key, _ in changed), *(prefix + key for key in deleted)],
                    args=[
                        token,
                        self._ttl_ms,
                        len(changed),
                        len(meta) // 2,
                        *meta,
                        *(value for _, value in changed),
                    ],
                )
        if not done:
            raise FencedError(f"{node}: token {token} is no longer the newest")


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


def _chunks(keys: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), size):
        yield list(keys[start : start + size])


def _flat(pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for pair in pairs:
        yield from pair
