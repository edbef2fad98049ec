"""The gate in Python: shared budgets, staleness, the middleware; on a real Redis that may go away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from stream_guard.adapters.redis_budget import Budgets
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_enforcers import Enforcers, Reconciler
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.adapters.redis_mirror import STALE_SECONDS, Limit, LimitMirror, parse_limit
from stream_guard.gateway import Gate
from stream_guard.gateway.middleware import LimitMiddleware
from stream_guard.records import Action, DecisionStatus, Scope
from stream_guard.settings import RedisServer
from tests.support.made import decision
from tests.support.servers import RedisServer as OwnRedis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from stream_guard.records import Decision


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    made = connect(RedisServer(url=redis_url))
    await KillSwitch(made).disengage()
    yield made
    await made.aclose()


@pytest.fixture
def tenant() -> str:
    return f"c-{uuid4().hex[:8]}"


async def decide(client: Redis, made: Decision) -> None:
    await RedisLimits(client, KillSwitch(client)).apply([made])


async def test_replicas_together_let_no_more_through_than_the_budget(redis_url: str, tenant: str) -> None:
    limit = Limit("dec_1", Action.LIMIT, 120.0, "cmp_1")
    clients = [connect(RedisServer(url=redis_url)) for _ in range(4)]
    replicas = [Budgets(client, 5.0) for client in clients]
    waits = await asyncio.gather(
        *(replicas[number % 4].spend(tenant, f"acc_{number % 9}", limit) for number in range(200))
    )
    for client in clients:
        await client.aclose()
    assert sum(wait == 0.0 for wait in waits) in {10, 11}  # the burst, and one where half a second has passed
    assert all(wait <= 0.5 for wait in waits)


async def test_campaigns_and_accounts_have_budgets_of_their_own(client: Redis, tenant: str) -> None:
    budgets = Budgets(client, 5.0)
    one, other = Limit("dec_1", Action.LIMIT, 1.0, "cmp_1"), Limit("dec_2", Action.LIMIT, 1.0, "cmp_2")
    alone = Limit("dec_3", Action.SLOW, 1.0)
    assert await budgets.spend(tenant, "a", one) == 0.0
    assert await budgets.spend(tenant, "b", one) > 50.0
    assert await budgets.spend(tenant, "b", other) == 0.0
    assert await budgets.spend(tenant, "b", alone) == 0.0
    assert await budgets.spend(tenant, "a", alone) == 0.0


async def test_when_redis_goes_away_requests_pass_quickly_and_limits_are_forgotten(tmp_path: Path) -> None:
    server = OwnRedis(tmp_path)
    server.start()
    gate = Gate.on(RedisServer(url=server.url, timeout_seconds=0.5), ["default"])
    try:
        await decide(gate.client, decision(requests_per_minute=1.0))
        async with gate:
            assert (await gate.check("acc_1")).allowed
            assert (await gate.check("acc_1")).status == 429
            server.pause()
            started = time.monotonic()
            answers = [await gate.check("acc_1") for _ in range(200)]
            assert all(answer.allowed for answer in answers)
            assert time.monotonic() - started < 1.0
            assert gate.counts.failed_open > 0
            await asyncio.sleep(STALE_SECONDS + 1.0)
            assert not gate.fresh
            assert (await gate.check("acc_1")).decision_id is None
            server.resume()
            deadline = time.monotonic() + 10.0
            while (await gate.check("acc_1")).allowed:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
    finally:
        server.resume()
        server.stop()


async def test_a_limit_ends_with_its_key_although_nothing_tells_the_mirror(client: Redis, tenant: str) -> None:
    clock = [100.0]
    mirror = LimitMirror(client, [tenant], lambda: clock[0])
    made = decision(tenant=tenant)
    await decide(client, made)
    await mirror.refresh()
    assert mirror.find(tenant, "acc_1") is not None
    assert mirror.find("never seen", "acc_1") is None
    clock[0] += STALE_SECONDS + 0.1
    assert mirror.find(tenant, "acc_1") is None
    await mirror.refresh()
    assert mirror.find(tenant, "acc_1") is not None
    mirror.refreshed_at = clock[0] = 100.0 + made.expires_at - made.at + 1.0
    assert mirror.find(tenant, "acc_1") is None


async def test_a_key_deleted_by_hand_stops_limiting(client: Redis, tenant: str) -> None:
    clock = [100.0]
    mirror = LimitMirror(client, [tenant], lambda: clock[0])
    await decide(client, decision(tenant=tenant))
    await mirror.refresh()
    await client.delete(f"sg:{{{tenant}}}:limit:account:acc_1")
    clock[0] += 61.0
    await mirror.refresh()
    assert mirror.find(tenant, "acc_1") is None
    assert mirror.find(tenant, "acc_2") is not None


@pytest.mark.parametrize("value", [b"", b"no json", b"{}", b'{"decision_id":"d","action":"explode"}', b"[1]"])
def test_a_value_of_unknown_shape_limits_nobody(value: bytes) -> None:
    assert parse_limit(value) is None


async def test_drift_is_told_when_it_lasts_and_a_silent_gateway_is_missed(client: Redis, tenant: str) -> None:
    enforcers, reconciler = Enforcers(client), Reconciler(client)
    behind = LimitMirror(client, [tenant])
    await behind.refresh()
    await decide(client, decision(tenant=tenant))
    await enforcers.report("g1", behind)
    try:
        assert not (await reconciler.look()).missing  # may still be on its way
        standing = await reconciler.look()
        assert ("g1", tenant, "dec_1") in standing.missing
        assert not [item for item in standing.stale if item[1] == tenant]

        await behind.refresh()
        await enforcers.report("g1", behind)
        assert ("g1", tenant, "dec_1") not in (await reconciler.look()).missing

        await decide(client, decision(tenant=tenant, status=DecisionStatus.RELEASED))
        await reconciler.look()
        assert ("g1", tenant, "dec_1") in (await reconciler.look()).stale

        silent = (await reconciler.look()).silent
        await client.delete("sg:gateway:g1")
        assert (await reconciler.look()).silent == silent + 1
    finally:
        await enforcers.leave("g1")
    assert "g1" not in await enforcers.reports()


async def test_the_middleware_refuses_members_and_closes_its_gate(redis_url: str, client: Redis, tenant: str) -> None:
    await decide(client, decision(tenant=tenant, action=Action.SUSPEND_REQUEST, scope=Scope.CAMPAIGN))
    gate = Gate.on(RedisServer(url=redis_url), [tenant])
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # ASGI
        del receive
        seen.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})

    def identify(scope: Any) -> tuple[str, str] | None:  # noqa: ANN401 # ASGI
        account = dict(scope["headers"]).get(b"x-account-id")
        return None if account is None else (tenant, account.decode())

    middleware = LimitMiddleware(application, gate, identify)

    async def ask(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:  # noqa: ANN401 # ASGI
            sent.append(message)

        await middleware({"type": "http", "headers": list(headers)}, receive, send)
        return dict(sent[0])

    try:
        refused = await ask((b"x-account-id", b"acc_1"))
        assert refused["status"] == 403
        assert (b"x-stream-guard-decision", b"dec_1") in refused["headers"]
        assert (await ask((b"x-account-id", b"honest")))["status"] == 200
        assert (await ask())["status"] == 200
        assert seen == ["http", "http"]
    finally:
        await gate.aclose()
