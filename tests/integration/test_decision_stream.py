"""The stream of decisions on a real Redis: nothing is missed or comes twice, and who is too far behind is told."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from stream_guard import settings
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_decision_log import log_key
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.app import decision_stream
from stream_guard.app.access import AccessToken
from stream_guard.app.api import stream
from stream_guard.app.health import HealthState
from stream_guard.app.operations import Operations
from stream_guard.app.web import make_web
from stream_guard.ports import Output
from stream_guard.records import DecisionStatus
from tests.support.made import AT, decision
from tests.support.operators import FakeSender
from tests.support.server_events import Reader, Seen
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from redis.asyncio import Redis

    from tests.support.servers import RedisServer

URL = "/api/v1/decisions/stream"
OPERATE = "operator-operator"
HELD, ACTIVE, RELEASED = DecisionStatus.HELD, DecisionStatus.ACTIVE, DecisionStatus.RELEASED


@dataclass
class Bench:
    http: TestClient[web.Request, web.Application]
    redis: Redis
    tenant: str

    async def decide(self, *several: tuple[str, DecisionStatus, float], tenant: str | None = None) -> None:
        made = [
            decision(tenant=tenant or self.tenant, decision_id=name, status=status, at=AT + after)
            for name, status, after in several
        ]
        await RedisRegistry(self.redis).publish(Output(decisions=made))

    @asynccontextmanager
    async def reading(self, position: str | None = None, **options: Any) -> AsyncIterator[Reader]:  # noqa: ANN401 # aiohttp's
        headers = {"Authorization": f"Bearer {OPERATE}"} | ({} if position is None else {"Last-Event-ID": position})
        options = {"params": {"tenant": self.tenant}, **options}
        async with self.http.get(URL, headers=headers, **options) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield Reader(response)


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as made:
        yield made


@asynccontextmanager
async def bench_on(redis_url: str) -> AsyncIterator[Bench]:
    client = connect(settings.RedisServer(url=redis_url))
    await KillSwitch(client).disengage()
    operations = Operations(RedisRegistry(client), KillSwitch(client), FakeSender(), lambda: AT)
    tokens = (AccessToken("desk", "operate", OPERATE),)
    application = make_web(HealthState(), Metrics(), operations, tokens)
    async with TestClient(TestServer(application)) as http:
        yield Bench(http, client, f"t-{uuid4().hex[:8]}")
    await client.aclose()


async def test_a_new_reader_gets_what_stands_and_then_each_change(bench: Bench) -> None:
    await bench.decide(("d1", HELD, 0.0), ("d2", ACTIVE, 0.0), ("d3", ACTIVE, 0.0))
    await bench.decide(("d3", RELEASED, 5.0))
    async with bench.reading() as reader:
        first, *standing, synced = await reader.until("synced")
        assert (first.name, first.position) == ("resync", "")
        assert sorted(one.outline for one in standing) == [("d1", "held"), ("d2", "active")]
        assert {one.position for one in standing} == {""}
        assert synced.data == {"decisions": 2}
        await bench.decide(("d1", ACTIVE, 6.0))
        (change,) = await reader.decisions(1)
        assert change.outline == ("d1", "active")
        assert position_of(change) > position_of(synced)


async def test_who_comes_back_with_a_position_gets_every_change_once_and_no_list(bench: Bench) -> None:
    async with bench.reading() as reader:
        await reader.until("synced")
        await bench.decide(("d1", HELD, 0.0))
        (last,) = await reader.decisions(1)
    await bench.decide(("d1", ACTIVE, 1.0), ("d2", ACTIVE, 1.0))
    await bench.decide(("d1", RELEASED, 2.0))
    async with bench.reading(last.position) as reader:
        missed = await reader.decisions(3)
        assert [one.outline for one in missed] == [("d1", "active"), ("d2", "active"), ("d1", "released")]
        await bench.decide(("d2", RELEASED, 3.0))
        assert (await reader.decisions(1))[0].outline == ("d2", "released")
    async with bench.reading(missed[0].position) as reader:
        assert [one.outline for one in await reader.decisions(3)] == [
            ("d2", "active"), ("d1", "released"), ("d2", "released"),
        ]  # fmt: skip


async def test_work_that_is_repeated_after_a_crash_adds_no_event(bench: Bench) -> None:
    steps = [("d1", HELD, 0.0), ("d1", ACTIVE, 0.0), ("d1", ACTIVE, 1_800.0), ("d2", ACTIVE, 1_900.0)]
    async with bench.reading() as reader:
        await reader.until("synced")
        for step in steps:
            await bench.decide(step)
        for step in steps:
            await bench.decide(step)
        await bench.decide(*steps)
        await bench.decide(("d1", RELEASED, -5.0))  # by a person's clock, behind event time
        await bench.decide(*steps)
        await bench.decide(("d3", HELD, 0.0))
        found = [one.outline for one in await reader.decisions(6)]
    assert found == [("d1", "held"), ("d1", "active"), ("d1", "active"), ("d2", "active"), ("d1", "released"),
                     ("d3", "held")]  # fmt: skip


@pytest.mark.parametrize("position", ["1-1", "99999999999999-0", "yesterday", "99999999999999999999-0", "1-1\u00e9"])
async def test_a_position_that_is_unknown_starts_anew(bench: Bench, position: str) -> None:
    await bench.decide(("d1", ACTIVE, 0.0))
    async with bench.reading(position) as reader:
        events = await reader.until("synced")
    assert [event.name for event in events] == ["resync", "decision", "synced"]
    assert "unknown or too old" in events[0].data["reason"]


async def test_a_position_that_is_too_old_starts_anew(bench: Bench) -> None:
    async with bench.reading() as reader:
        await reader.until("synced")
        await bench.decide(("d1", ACTIVE, 0.0))
        (old,) = await reader.decisions(1)
    await bench.decide(("d2", ACTIVE, 0.0), ("d1", RELEASED, 1.0))
    await bench.redis.xtrim(log_key(bench.tenant), maxlen=1, approximate=False)
    async with bench.reading(old.position) as reader:
        events = await reader.until("synced")
        assert [event.name for event in events] == ["resync", "decision", "synced"]
        assert events[1].outline == ("d2", "active")
    async with bench.reading(events[-1].position) as reader:  # which is good again
        await bench.decide(("d2", RELEASED, 2.0))
        assert (await reader.decisions(1))[0].outline == ("d2", "released")


async def test_a_reader_that_the_log_overtakes_is_told(bench: Bench) -> None:
    await bench.decide(("d1", ACTIVE, 0.0))
    async with bench.reading() as reader:
        await reader.until("kill_switch")
        async with bench.redis.pipeline() as pipeline:  # in one step, so that no look falls in between
            pipeline.delete(log_key(bench.tenant))
            pipeline.xadd(log_key(bench.tenant), {"decision": b"{}"})
            await pipeline.execute()
        assert [event.name for event in await reader.until("synced")] == ["resync", "decision", "synced"]


async def test_a_position_of_another_tenant_leads_nowhere(bench: Bench) -> None:
    other = f"{bench.tenant}-other"
    await bench.decide(("theirs", ACTIVE, 0.0), tenant=other)
    async with bench.reading(params={"tenant": other}) as reader:
        theirs = (await reader.until("synced"))[-1].position
    await bench.decide(("theirs", RELEASED, 1.0), tenant=other)
    await bench.decide(("ours", ACTIVE, 0.0))
    async with bench.reading(theirs) as reader:
        events = await reader.until("synced")
    assert [event.outline for event in events if event.name == "decision"] == [("ours", "active")]


async def test_readers_that_come_and_go_while_much_changes_miss_nothing(bench: Bench) -> None:
    chance, changes = random.Random(5), 600

    async def write() -> None:
        for number in range(changes):
            await bench.decide((f"d{number % 50}", ACTIVE, float(number)))

    async def read() -> list[Seen]:
        found: list[Seen] = []
        position = start
        while len(found) < changes:
            async with bench.reading(position) as reader:
                wanted = min(chance.randrange(1, 90), changes - len(found))
                found += await reader.decisions(wanted)
                position = found[-1].position
        return found

    async with bench.reading() as reader:
        start = (await reader.until("synced"))[-1].position
    found, _ = await asyncio.gather(read(), write())
    assert [one.data["decision_id"] for one in found] == [f"d{number % 50}" for number in range(changes)]
    positions = [position_of(one) for one in found]
    assert positions == sorted(set(positions))


async def test_the_kill_switch_is_part_of_it(bench: Bench) -> None:
    switch = KillSwitch(bench.redis)
    async with bench.reading() as reader:
        assert (await reader.until("kill_switch"))[-1].data == {"engaged": False}
        await switch.engage("ann", "limits hit the wrong people", "")
        assert (await reader.until("kill_switch"))[-1].data == {"engaged": True}
        await switch.disengage()
        assert (await reader.until("kill_switch"))[-1].data == {"engaged": False}


async def test_there_are_only_so_many_streams_and_one_that_was_left_is_free_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 2)
    headers = {"Authorization": f"Bearer {OPERATE}"}
    async with bench.reading() as reader, bench.reading() as second:
        await reader.until("synced")
        await second.until("synced")
        answer = await bench.http.get(URL, headers=headers)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    for _ in range(50):
        async with bench.http.get(URL, headers=headers) as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("a stream that was left counts on")


async def test_a_stream_wants_a_token_that_may_see_the_tenant(bench: Bench) -> None:
    assert (await bench.http.get(URL)).status == 401
    operations = Operations(RedisRegistry(bench.redis), KillSwitch(bench.redis), FakeSender(), lambda: AT)
    tokens = (AccessToken("acme", "read", OPERATE, bench.tenant),)
    await bench.decide(("ours", ACTIVE, 0.0))
    application = make_web(HealthState(), Metrics(), operations, tokens)
    async with TestClient(TestServer(application)) as http:
        bound = Bench(http, bench.redis, bench.tenant)
        async with bound.reading(params={}) as reader:
            assert [one.name for one in await reader.until("synced")] == ["resync", "decision", "synced"]
        headers = {"Authorization": f"Bearer {OPERATE}"}
        assert (await http.get(URL, params={"tenant": "default"}, headers=headers)).status == 403


async def test_without_redis_the_answer_is_503() -> None:
    client = connect(settings.RedisServer(url="redis://127.0.0.1:1/0", timeout_seconds=0.5))
    operations = Operations(RedisRegistry(client), KillSwitch(client), FakeSender(), lambda: AT)
    tokens = (AccessToken("desk", "operate", OPERATE),)
    async with TestClient(TestServer(make_web(HealthState(), Metrics(), operations, tokens))) as http:
        answer = await http.get(URL, headers={"Authorization": f"Bearer {OPERATE}"})
        assert (answer.status, answer.content_type) == (503, "application/json")
    await client.aclose()


async def test_when_redis_goes_so_does_the_stream_and_the_position_is_good_afterwards(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_stream, "POLL_SECONDS", 0.05)
    async with bench_on(own_redis.url) as bench:
        await bench.decide(("d1", ACTIVE, 0.0))
        async with bench.reading() as reader:
            last = (await reader.until("synced"))[-1]
            await asyncio.to_thread(own_redis.stop)
            with pytest.raises(EOFError):
                await reader.until("never")
        await asyncio.to_thread(own_redis.start)
        await bench.decide(("d1", RELEASED, 1.0))
        async with bench.reading(last.position) as reader:
            assert (await reader.decisions(1))[0].outline == ("d1", "released")


async def test_an_open_stream_does_not_keep_a_server_from_ending(redis_url: str) -> None:
    port = free_port()
    environment = {**os.environ, "REDIS_URL": redis_url, "STREAM_GUARD_WEB__PORT": str(port)}
    command = [sys.executable, "-m", "stream_guard.cli", "console"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    while b"web server listens" not in await asyncio.wait_for(process.stderr.readline(), 30.0):
        pass
    async with ClientSession() as http, http.get(f"http://127.0.0.1:{port}{URL}") as response:
        await Reader(response).until("kill_switch")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10.0) == 0


async def test_a_stream_has_no_head(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {OPERATE}"}
    assert (await bench.http.head(URL, headers=headers)).status == 405
    assert (await bench.http.head("/api/v1/decisions", headers=headers)).status == 200


def position_of(event: Seen) -> tuple[int, int]:
    time, _, number = event.position.partition("-")
    return int(time), int(number)
