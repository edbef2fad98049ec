"""Decisions as keys for gateways, and the kill switch, on a real Redis."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KEY, KillSwitch
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.errors import StateUnavailableError
from stream_guard.ports import Output
from stream_guard.records import Action, Decision, DecisionStatus, Scope
from stream_guard.settings import RedisServer
from tests.support.made import AT, decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

ENDS = (DecisionStatus.RELEASED, DecisionStatus.EXPIRED)


class Bench:
    """Limits on a tenant of its own."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.tenant = f"t-{uuid4().hex}"
        self.kill_switch = KillSwitch(client)
        self.limits = RedisLimits(client, self.kill_switch)

    def decision(self, **changes: object) -> Decision:
        return decision(tenant=self.tenant, **changes)

    async def apply(self, **changes: object) -> None:
        await self.limits.publish(Output(decisions=[self.decision(**changes)]))

    async def names(self) -> list[str]:
        prefix = f"sg:{{{self.tenant}}}:limit:"
        return sorted([key.decode().removeprefix(prefix) async for key in self.client.scan_iter(match=prefix + "*")])

    async def owner(self, name: str) -> str:
        value = await self.client.get(f"sg:{{{self.tenant}}}:limit:{name}")
        return str(json.loads(value or b'{"decision_id":""}')["decision_id"])


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    client = connect(RedisServer(url=redis_url, timeout_seconds=3.0))
    made = Bench(client)
    await client.delete(KEY)
    yield made
    async for key in client.scan_iter(match=f"sg:{{{made.tenant}}}:*"):
        await client.delete(key)
    await client.delete(KEY)
    await client.aclose()


async def test_a_campaign_decision_gives_each_member_one_key_that_points_at_the_campaign(bench: Bench) -> None:
    await bench.apply()
    assert await bench.names() == ["account:acc_1", "account:acc_2", "campaign:cmp_1"]
    key = f"sg:{{{bench.tenant}}}:limit:account:acc_2"
    assert json.loads(await bench.client.get(key) or b"") == {
        "decision_id": "dec_1",
        "action": "limit",
        "requests_per_minute": 60.0,
        "campaign_id": "cmp_1",
        "at": "2025-10-09T08:53:20.000Z",
        "expires_at": "2025-10-09T09:53:20.000Z",
    }
    assert 3_590 < await bench.client.ttl(key) <= 3_600


async def test_an_account_decision_has_one_key_and_no_campaign(bench: Bench) -> None:
    await bench.apply(scope=Scope.ACCOUNT, subject_id="acc_9", accounts=("acc_9",), action=Action.VERIFY)
    assert await bench.names() == ["account:acc_9"]
    value = json.loads(await bench.client.get(f"sg:{{{bench.tenant}}}:limit:account:acc_9") or b"")
    assert value["campaign_id"] is None
    assert value["action"] == "verify"


@pytest.mark.parametrize(
    "changes",
    [{"simulated": True}, {"status": DecisionStatus.HELD}, {"action": Action.OBSERVE}, {"expires_at": AT}],
)
async def test_what_is_not_in_force_writes_nothing(bench: Bench, changes: dict[str, object]) -> None:
    await bench.apply(**changes)
    assert await bench.names() == []


@pytest.mark.parametrize("status", ENDS)
async def test_the_end_of_a_decision_deletes_its_keys_and_a_replay_does_not_bring_it_back(
    bench: Bench, status: DecisionStatus
) -> None:
    await bench.apply()
    await bench.apply(status=status, at=AT + 60.0)
    assert await bench.names() == []
    await bench.apply()
    assert await bench.names() == []


async def test_publishing_twice_changes_nothing(bench: Bench) -> None:
    await bench.apply()
    before = await bench.names()
    await bench.apply()
    assert await bench.names() == before


async def test_a_key_that_a_newer_decision_owns_stays(bench: Bench) -> None:
    await bench.apply()
    newer = {"decision_id": "dec_2", "subject_id": "cmp_2", "at": AT + 5.0, "accounts": ("acc_2", "acc_3")}
    await bench.apply(**newer)
    assert await bench.owner("account:acc_2") == "dec_2"
    await bench.apply(status=DecisionStatus.RELEASED, at=AT + 6.0)
    assert await bench.names() == ["account:acc_2", "account:acc_3", "campaign:cmp_2"]


async def test_an_older_decision_does_not_take_a_key_back_until_the_newer_one_ends(bench: Bench) -> None:
    newer = {"decision_id": "dec_2", "at": AT + 5.0, "action": Action.SLOW, "expires_at": AT + 4_000.0}
    await bench.apply(**newer)
    await bench.apply(expires_at=AT + 1_800.0)
    assert await bench.owner("account:acc_1") == "dec_2"
    await bench.apply(**{**newer, "status": DecisionStatus.RELEASED, "at": AT + 800.0})
    assert await bench.owner("account:acc_1") == "dec_1"
    assert await bench.owner("campaign:cmp_1") == "dec_1"
    assert 900 < await bench.client.ttl(f"sg:{{{bench.tenant}}}:limit:account:acc_1") <= 1_000


async def test_members_that_left_lose_their_key_with_the_next_update(bench: Bench) -> None:
    await bench.apply()
    await bench.apply(accounts=("acc_2", "acc_3"), at=AT + 1.0)
    assert await bench.names() == ["account:acc_2", "account:acc_3", "campaign:cmp_1"]


@pytest.mark.parametrize("changes", [{"simulated": True}, {"status": DecisionStatus.HELD}])
async def test_a_decision_that_is_put_on_hold_lets_go(bench: Bench, changes: dict[str, object]) -> None:
    await bench.apply()
    await bench.apply(**changes)
    assert await bench.names() == []
    await bench.apply(at=AT + 1.0)
    assert len(await bench.names()) == 3


async def test_more_members_than_fit_one_call(bench: Bench) -> None:
    accounts = tuple(f"acc_{number}" for number in range(1_234))
    await bench.apply(accounts=accounts)
    assert len(await bench.names()) == 1_235
    await bench.apply(accounts=(), status=DecisionStatus.EXPIRED)
    assert await bench.names() == []


async def test_the_kill_switch_deletes_and_nothing_is_written_while_it_is_engaged(bench: Bench) -> None:
    await bench.apply()
    await bench.client.set(f"sg:{{{bench.tenant}}}:s:x}}:limit:account:y", b"a state, not a limit")
    started = time.monotonic()
    assert await bench.kill_switch.engage("ann", "gateway refuses everybody", "2026-01-01T00:00:00.000Z") >= 3
    assert time.monotonic() - started < 5.0
    await bench.apply(decision_id="dec_2")
    assert await bench.names() == []
    assert await bench.client.exists(f"sg:{{{bench.tenant}}}:s:x}}:limit:account:y")
    state = await bench.kill_switch.state()
    assert state is not None
    assert (state.actor, state.reason) == ("ann", "gateway refuses everybody")


async def test_letting_go_restores_nothing_by_itself(bench: Bench) -> None:
    await bench.apply()
    await bench.kill_switch.engage("ann", "why", "")
    assert await bench.kill_switch.disengage()
    assert not await bench.kill_switch.disengage()
    assert await bench.names() == []
    await bench.limits.reapply(bench.limits.active, AT + 3_000.0)
    assert len(await bench.names()) == 3
    assert 590 < await bench.client.ttl(f"sg:{{{bench.tenant}}}:limit:campaign:cmp_1") <= 600


async def test_what_is_written_while_the_switch_is_being_engaged_goes_too(bench: Bench) -> None:
    class TooEarly(KillSwitch):
        async def state(self) -> None:
            await self._client.set(KEY, b"not json")

    limits = RedisLimits(bench.client, TooEarly(bench.client))
    await limits.publish(Output(decisions=[bench.decision()]))
    assert await bench.names() == []
    assert await bench.kill_switch.state() is not None


async def test_a_worker_sweeps_and_tells_when_it_sees_the_switch(bench: Bench) -> None:
    await bench.apply()
    seen: list[bool] = []
    watching = asyncio.create_task(bench.kill_switch.watch(seen.append, poll_seconds=0.02))
    await asyncio.sleep(0.1)
    await bench.client.set(KEY, b"{}")
    async with asyncio.timeout(5.0):
        while await bench.names():  # noqa: ASYNC110 # another process's work in production
            await asyncio.sleep(0.02)
    await bench.kill_switch.disengage()
    await asyncio.sleep(0.1)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert seen == [False, True, False]


async def test_a_redis_that_is_away_is_said_in_our_words() -> None:
    client = connect(RedisServer(url="redis://127.0.0.1:1/0", timeout_seconds=0.2))
    with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1:1"):
        await RedisLimits(client, KillSwitch(client)).apply([decision()])
    await client.aclose()


async def test_a_tenant_cannot_leave_its_hash_tag(bench: Bench) -> None:
    await bench.limits.apply([decision(tenant=bench.tenant + "}x")])
    found = [key async for key in bench.client.scan_iter(match=f"sg:{{{bench.tenant}%7Dx}}:limit:*")]
    assert len(found) == 3
    await bench.kill_switch.sweep()
