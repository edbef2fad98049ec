"""Decisions carried out by the real Envoy: who is slowed, who is not, and what happens when something dies."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp
import grpc
import pytest

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.records import Action, DecisionStatus, Scope
from stream_guard.settings import RedisServer as RedisSettings
from tests.support.envoy import CONFIGURATIONS, ENVOY, EnvoyServer, GatewayProcess, Upstream
from tests.support.made import decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from stream_guard.records import Decision
    from tests.support.servers import RedisServer

pytestmark = pytest.mark.integration

RELEASE_SECONDS = 2.0
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
TIMEOUT_SECONDS = 0.1  # of the shipped configuration


@dataclass(slots=True)
class Scene:
    """Envoy, gateway, upstream and Redis, on a tenant of its own."""

    envoy: EnvoyServer
    gateway: GatewayProcess
    http: aiohttp.ClientSession
    client: Redis
    tenant: str
    kill_switch: KillSwitch
    limits: RedisLimits

    async def ask(self, account: str) -> tuple[int, dict[str, str], str]:
        headers = {"x-account-id": account, "x-tenant": self.tenant}
        async with self.http.get(f"{self.envoy.url}/v1/messages", headers=headers) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return response.status, found, await response.text()

    async def statuses(self, account: str, count: int) -> Counter[int]:
        return Counter([(await self.ask(account))[0] for _ in range(count)])

    async def wait_for(self, account: str, status: int, seconds: float = 10.0) -> float:
        """Ask until that status comes; how long it took."""
        started = time.monotonic()
        while (await self.ask(account))[0] != status:
            assert time.monotonic() - started < seconds, f"no {status} for {account} within {seconds} s"
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def decide(self, **changes: object) -> Decision:
        made = decision(tenant=self.tenant, requests_per_minute=1.0, **changes)
        await self.limits.apply([made])
        return made


@pytest.fixture(params=["envoy.yaml", "ext_authz.yaml"])
async def scene(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    tenant = f"g-{uuid4().hex[:8]}"
    gateway = GatewayProcess(tmp_path / "gateway", redis_url, tenant)
    client = connect(RedisSettings(url=redis_url))
    kill_switch = KillSwitch(client)
    await kill_switch.disengage()
    async with Upstream() as upstream, aiohttp.ClientSession() as http:
        envoy = EnvoyServer(tmp_path / "envoy", upstream.port, gateway.port, request.param)
        try:
            await asyncio.to_thread(gateway.start)
            await asyncio.to_thread(envoy.start)
            yield Scene(envoy, gateway, http, client, tenant, kill_switch, RedisLimits(client, kill_switch))
        finally:
            await asyncio.to_thread(envoy.stop)
            gateway.resume()
            await asyncio.to_thread(gateway.stop)
            await kill_switch.disengage()
            await client.aclose()


async def test_members_share_one_budget_the_honest_are_untouched_and_a_release_works_within_two_seconds(
    scene: Scene,
) -> None:
    made = await scene.decide()
    await scene.wait_for("acc_1", 429)
    status, headers, _ = await scene.ask("acc_2")
    assert status == 429  # acc_1 has spent what acc_2 shares
    assert headers["x-stream-guard-decision"] == made.decision_id
    assert 0 < int(headers["retry-after"]) <= 60
    assert await scene.statuses("honest", 50) == {200: 50}

    await scene.limits.apply([decision(tenant=scene.tenant, status=DecisionStatus.RELEASED)])
    assert await scene.wait_for("acc_1", 200) <= RELEASE_SECONDS
    assert await scene.statuses("acc_1", 20) == {200: 20}


async def test_what_is_simulated_held_or_stopped_by_the_kill_switch_limits_nobody(scene: Scene) -> None:
    await scene.decide(simulated=True)
    await scene.decide(decision_id="dec_2", status=DecisionStatus.HELD)
    await scene.decide(decision_id="dec_3", scope=Scope.ACCOUNT, subject_id="other", accounts=("other",))
    await scene.wait_for("other", 429)  # so the gateway has read what there is
    assert await scene.statuses("acc_1", 20) == {200: 20}

    await scene.kill_switch.engage("ada", "test", "now")
    assert await scene.wait_for("other", 200) <= RELEASE_SECONDS


async def test_a_verification_passes_and_tells_the_application(scene: Scene) -> None:
    await scene.decide(action=Action.VERIFY, scope=Scope.ACCOUNT, subject_id="old", accounts=("old",))
    deadline = time.monotonic() + 10.0
    while json.loads((await scene.ask("old"))[2])["action"] != "verify":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_requests_pass_within_the_time_limit_when_the_gateway_hangs_and_when_it_is_dead(scene: Scene) -> None:
    await scene.decide()
    await scene.wait_for("acc_1", 429)
    scene.gateway.pause()
    waits = []
    for _ in range(5):
        started = time.monotonic()
        assert (await scene.ask("acc_1"))[0] == 200
        waits.append(time.monotonic() - started)
    assert sorted(waits)[2] <= TIMEOUT_SECONDS + 0.2  # of the machine's own; the median, as others use it too
    scene.gateway.resume()
    await asyncio.to_thread(scene.gateway.stop, signal.SIGKILL)
    assert await scene.statuses("acc_1", 5) == {200: 5}
    await asyncio.to_thread(scene.gateway.start)
    await scene.wait_for("acc_1", 429)


async def test_a_probe_hears_that_the_process_answers_and_whether_limits_are_known(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    gateway = GatewayProcess(tmp_path, own_redis.url)
    await asyncio.to_thread(gateway.start)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            ask = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
            service = b"\x0a\x05ready"  # HealthCheckRequest{service: "ready"}
            assert await ask(service) == SERVING
            own_redis.pause()
            deadline = time.monotonic() + 10.0
            while await ask(service) != NOT_SERVING:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            assert await ask(b"") == SERVING
    finally:
        own_redis.resume()
        await asyncio.to_thread(gateway.stop)


@pytest.mark.parametrize("name", ["envoy.yaml", "ext_authz.yaml"])
def test_envoy_accepts_the_shipped_configuration(name: str) -> None:
    command = [str(ENVOY), "--mode", "validate", "-c", str(CONFIGURATIONS / name)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
