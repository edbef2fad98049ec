"""The Redis store keeps the promises of `ports.StateStore`; needs a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from stream_guard.adapters.redis_client import Breaker, connect
from stream_guard.adapters.redis_state import (
    BUCKETS,
    DAY_SECONDS,
    MOST_SWEPT,
    RedisStateStore,
    RedisWatermarks,
    bucket_of,
)
from stream_guard.errors import FencedError, StateUnavailableError
from stream_guard.ports import Checkpoint, Topic
from stream_guard.settings import RedisServer
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

EAGER = frozenset({"clusters"})
NODES = ["accounts:0", "clusters:0"]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(RedisServer(url=redis_url, timeout_seconds=2.0))
    yield client
    await client.aclose()


@pytest.fixture
def group() -> str:
    return f"t{uuid4().hex[:8]}"


def checkpoint(states: dict[bytes, bytes | None], offset: int) -> Checkpoint:
    return Checkpoint(states, b"meta-%d" % offset, {Topic.QUERIES: offset})


@pytest.mark.integration
@pytest.mark.parametrize("node", NODES)
async def test_a_checkpoint_is_read_back(client: Redis, group: str, node: str) -> None:
    store = RedisStateStore(client, group, EAGER)
    assert await store.read_meta(node) == (None, {})
    token = await store.acquire(node)
    await store.write(node, token, checkpoint({b"a": b"1", b"b\x00\xff": b"2", b"c": b"3"}, 7))
    await store.write(node, token, checkpoint({b"a": b"4", b"c": None}, 9))
    assert await store.read_meta(node) == (b"meta-9", {Topic.QUERIES: 9})
    if node.startswith("clusters"):
        assert await store.read_all(node) == {b"a": b"4", b"b\x00\xff": b"2"}
    else:
        assert await store.read(node, [b"c", b"a", b"b\x00\xff"]) == {b"c": None, b"a": b"4", b"b\x00\xff": b"2"}


@pytest.mark.integration
@pytest.mark.parametrize("node", NODES)
async def test_positions_of_other_topics_stay(client: Redis, group: str, node: str) -> None:
    store = RedisStateStore(client, group, EAGER)
    token = await store.acquire(node)
    await store.write(node, token, Checkpoint({}, b"", {Topic.QUERIES: 3, Topic.ACCOUNT_STATUS: 5}))
    await store.write(node, token, Checkpoint({}, b"", {Topic.QUERIES: 4}))
    assert await store.read_meta(node) == (b"", {Topic.QUERIES: 4, Topic.ACCOUNT_STATUS: 5})


@pytest.mark.integration
@pytest.mark.parametrize("node", NODES)
async def test_a_fenced_owner_neither_writes_nor_reads(client: Redis, group: str, node: str) -> None:
    first, second = RedisStateStore(client, group, EAGER), RedisStateStore(client, group, EAGER)
    old = await first.acquire(node)
    new = await second.acquire(node)
    assert new > old
    await second.write(node, new, checkpoint({b"a": b"new"}, 2))
    with pytest.raises(FencedError):
        await first.write(node, old, checkpoint({b"a": b"old", b"b": b"old"}, 1))
    with pytest.raises(FencedError):
        await first.read(node, [b"a"])
    with pytest.raises(FencedError):
        await first.read_all(node)
    with pytest.raises(FencedError):
        await first.read_meta(node)
    assert await second.read_meta(node) == (b"meta-2", {Topic.QUERIES: 2})


@pytest.mark.integration
@pytest.mark.parametrize("node", NODES)
async def test_twenty_thousand_states_in_one_call(client: Redis, group: str, node: str) -> None:
    store = RedisStateStore(client, group, EAGER)
    token = await store.acquire(node)
    states: dict[bytes, bytes | None] = {b"k%d" % number: b"x" * 200 for number in range(20_000)}
    await store.write(node, token, checkpoint(states, 1))
    if node.startswith("clusters"):
        assert await store.read_all(node) == states
    else:
        assert await store.read(node, list(states)) == states


@pytest.mark.integration
async def test_account_states_expire_when_asked_to(client: Redis, group: str) -> None:
    store = RedisStateStore(client, group, EAGER, ttl_seconds=60.0)
    token = await store.acquire("accounts:0")
    await store.write("accounts:0", token, checkpoint({b"a1": b"1", b"d1": b"2"}, 1))
    for rest in (f"b:{bucket_of(b'a1').decode()}", "s:d1"):
        assert 0 < await client.ttl(f"sg:{{{group}:accounts:0}}:{rest}") <= 60
    assert await client.ttl(f"sg:{{{group}:accounts:0}}:meta") == -1


@pytest.mark.integration
async def test_accounts_expire_alone_too(client: Redis, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others in the same hash are written again and again; every hash is looked through once a day."""
    store, now = RedisStateStore(client, group, EAGER, ttl_seconds=10 * DAY_SECONDS), [1.8e9]
    monkeypatch.setattr("stream_guard.adapters.redis_state.time.time", lambda: now[0])
    token = await store.acquire("accounts:0")
    first = b"a0"
    second = next(key for key in map(b"a%d".__mod__, range(1, 10**6)) if bucket_of(key) == bucket_of(first))
    await store.write("accounts:0", token, checkpoint({first: b"1", second: b"2"}, 1))
    ends = now[0] + 12 * DAY_SECONDS
    while now[0] < ends:
        now[0] += DAY_SECONDS * MOST_SWEPT / BUCKETS
        await store.write("accounts:0", token, checkpoint({second: b"3"}, 2))
    assert await store.read("accounts:0", [first, second]) == {first: None, second: b"3"}


@pytest.mark.integration
async def test_accounts_share_hashes_in_their_compact_form(client: Redis, group: str) -> None:
    store = RedisStateStore(client, group, EAGER)
    token = await store.acquire("accounts:0")
    states: dict[bytes, bytes | None] = {b"aacct_%d" % number: bytes(400) for number in range(20_000)}
    await store.write("accounts:0", token, checkpoint(states, 1))
    names = [name async for name in client.scan_iter(f"sg:{{{group}:accounts:0}}:b:*", count=5_000)]
    assert sum([await client.hlen(name) for name in names[:100]]) >= 100
    assert {await client.object("encoding", name) for name in names[:100]} == {b"listpack"}
    assert len(names) <= BUCKETS


@pytest.mark.integration
async def test_a_partition_of_an_early_layout_starts_cold(client: Redis, group: str) -> None:
    await client.hset(f"sg:{{{group}:accounts:0}}:meta", mapping={"meta": b"old", "p:queries": 3})
    store = RedisStateStore(client, group, EAGER)
    await store.acquire("accounts:0")
    assert await store.read_meta("accounts:0") == (None, {})


@pytest.mark.integration
async def test_workers_see_each_others_marks(client: Redis, group: str) -> None:
    board = RedisWatermarks(client, group)
    assert await board.exchange({}) == {}
    await board.exchange({"accounts:0": b"x"})
    assert await board.exchange({"accounts:1": b"y"}) == {"accounts:0": b"x", "accounts:1": b"y"}


async def test_an_absent_redis_is_reported_at_once_and_probed_later() -> None:
    client = connect(RedisServer(url=f"redis://127.0.0.1:{free_port()}/0", timeout_seconds=0.5))
    store = RedisStateStore(client, "t", EAGER, breaker=Breaker(first_seconds=60.0))
    for _ in range(2):
        with pytest.raises(StateUnavailableError):
            await store.acquire("accounts:0")
    await client.aclose()


def test_the_breaker_opens_probes_and_closes() -> None:
    now = [0.0]
    breaker = Breaker(first_seconds=1.0, most_seconds=3.0, monotonic=lambda: now[0])
    breaker.enter()
    breaker.failed()
    with pytest.raises(StateUnavailableError):
        breaker.enter()
    now[0] = 1.0
    breaker.enter()
    with pytest.raises(StateUnavailableError):
        breaker.enter()  # one probe at a time
    breaker.failed()
    now[0] = 2.5
    with pytest.raises(StateUnavailableError):
        breaker.enter()  # the pause has doubled
    now[0] = 3.0
    breaker.enter()
    breaker.succeeded()
    assert not breaker.open
    breaker.enter()
