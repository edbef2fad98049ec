"""Campaigns, alerts, decisions and the audit in a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KEY, KillSwitch
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.adapters.redis_registry import AUDIT_KEY, ENDED_SECONDS, RedisRegistry, RegistrySink
from stream_guard.encode import campaign_object, decision_object
from stream_guard.ports import Output
from stream_guard.records import AlertStatus, DecisionStatus, Json
from stream_guard.settings import RedisServer
from tests.support.made import AT, alert, campaign, decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis


class Bench:
    def __init__(self, client: Redis) -> None:
        self.client = client
        self.tenant = f"t-{uuid4().hex}"
        self.registry = RedisRegistry(client)

    async def decide(self, **changes: Any) -> None:  # noqa: ANN401 # whatever the record takes
        await self.registry.publish(Output(decisions=[decision(tenant=self.tenant, **changes)]))

    async def audited(self) -> list[Json]:
        return [entry for entry in await self.registry.audited(1_000) if entry.get("tenant") == self.tenant]


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    client = connect(RedisServer(url=redis_url, timeout_seconds=3.0))
    made = Bench(client)
    yield made
    async for key in client.scan_iter(match=f"sg:{{{made.tenant}}}:*"):
        await client.delete(key)
    await client.aclose()


async def test_campaigns_are_listed_by_how_fast_they_leak(bench: Bench) -> None:
    made = [
        campaign(tenant=bench.tenant, campaign_id=f"cmp_{rate}", exchanges_per_hour=float(rate))
        for rate in (5, 500, 50)
    ]
    await bench.registry.publish(Output(campaigns=made))
    listed = await bench.registry.campaigns(bench.tenant)
    assert [item["campaign_id"] for item in listed] == ["cmp_500", "cmp_50", "cmp_5"]
    found = await bench.registry.campaign(bench.tenant, "cmp_50")
    assert found is not None
    assert found["evidence"][0]["text"] == campaign_object(made[2])["evidence"][0]["text"]
    assert await bench.registry.campaign(bench.tenant, "none") is None


async def test_a_campaign_that_ended_is_kept_for_a_while(bench: Bench) -> None:
    await bench.registry.publish(Output(campaigns=[campaign(tenant=bench.tenant)]))
    key = f"sg:{{{bench.tenant}}}:campaign:cmp_1"
    assert await bench.client.ttl(key) > ENDED_SECONDS
    resolved = alert(tenant=bench.tenant, status=AlertStatus.RESOLVED)
    await bench.registry.publish(Output(campaigns=[campaign(tenant=bench.tenant)], alerts=[resolved]))
    assert 0 < await bench.client.ttl(key) <= ENDED_SECONDS
    await bench.client.delete(key)
    assert await bench.registry.campaigns(bench.tenant) == []
    assert await bench.client.zcard(f"sg:{{{bench.tenant}}}:campaigns") == 0


async def test_transitions_of_decisions_are_audited_once(bench: Bench) -> None:
    await bench.decide(status=DecisionStatus.HELD)
    await bench.decide(status=DecisionStatus.HELD, expires_at=AT + 9_000.0)  # a renewal
    await bench.decide(actor="ann", reason="agreed")
    await bench.decide(actor="ann", reason="agreed")  # published twice
    await bench.decide(status=DecisionStatus.RELEASED, actor="bob", reason="partner")
    assert [(entry["status"], entry["actor"]) for entry in await bench.audited()] == [
        ("released", "bob"),
        ("active", "ann"),
        ("held", "stream_guard"),
    ]


async def test_a_replay_does_not_bring_back_what_has_ended(bench: Bench) -> None:
    await bench.decide()
    await bench.decide(status=DecisionStatus.EXPIRED)
    await bench.decide()
    found = await bench.registry.decision(bench.tenant, "dec_1")
    assert found is not None
    assert found["status"] == "expired"
    assert len(await bench.audited()) == 2


async def test_several_changes_of_one_decision_in_one_output(bench: Bench) -> None:
    both = [
        decision(tenant=bench.tenant),
        decision(tenant=bench.tenant, status=DecisionStatus.RELEASED, actor="ann"),
    ]
    await bench.registry.publish(Output(decisions=both))
    assert [entry["status"] for entry in await bench.audited()] == ["released", "active"]
    assert await bench.registry.decisions(bench.tenant) == [decision_object(both[1])]


async def test_alerts_are_listed_newest_first(bench: Bench) -> None:
    alerts = [alert(tenant=bench.tenant, alert_id=f"alr_{number}", at=AT + number) for number in range(3)]
    await bench.registry.publish(Output(alerts=alerts))
    assert [item["alert_id"] for item in await bench.registry.alerts(bench.tenant, 2)] == ["alr_2", "alr_1"]


async def test_the_allow_list_is_shown(bench: Bench) -> None:
    await bench.registry.allow(bench.tenant, {"scope": "account", "id": "a", "reason": "partner"})
    await bench.registry.allow(bench.tenant, {"scope": "campaign", "id": "c", "reason": "benchmark"})
    await bench.registry.disallow(bench.tenant, "account", "a")
    assert await bench.registry.allowed(bench.tenant) == [{"scope": "campaign", "id": "c", "reason": "benchmark"}]


async def test_the_audit_is_capped_and_holds_json(bench: Bench) -> None:
    await bench.registry.audit({"kind": "operation", "tenant": bench.tenant, "reason": "ü"})
    assert (await bench.audited())[0]["reason"] == "ü"
    assert await bench.client.xlen(AUDIT_KEY) >= 1


async def test_tenants_do_not_see_each_other(bench: Bench) -> None:
    await bench.registry.publish(Output(campaigns=[campaign(tenant=bench.tenant)]))
    assert await bench.registry.campaigns(bench.tenant + "2") == []


async def test_the_sink_writes_registry_and_limits(bench: Bench) -> None:
    await bench.client.delete(KEY)
    sink = RegistrySink(bench.registry, RedisLimits(bench.client, KillSwitch(bench.client)))
    output = Output(
        campaigns=[campaign(tenant=bench.tenant)],
        alerts=[alert(tenant=bench.tenant)],
        decisions=[decision(tenant=bench.tenant)],
    )
    await sink.publish(output)
    await sink.publish(output)
    assert await bench.client.exists(f"sg:{{{bench.tenant}}}:limit:campaign:cmp_1")
    assert len(await bench.registry.decisions(bench.tenant)) == 1


async def test_how_a_campaign_grew_is_kept_once_a_moment(bench: Bench) -> None:
    for exchanges, at in ((10, AT), (25, AT + 600.0), (25, AT + 600.0)):
        await bench.registry.publish(
            Output(campaigns=[campaign(tenant=bench.tenant, exchanges=exchanges, last_seen=at)])
        )
    assert await bench.registry.history(bench.tenant, "cmp_1") == [(AT, 10, 1), (AT + 600.0, 25, 1)]
