"""Health, metrics and the API over HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream_guard.adapters.prometheus import Metrics
from stream_guard.app.access import AccessToken
from stream_guard.app.health import HealthState, NodeHealth
from stream_guard.app.web import make_web, serve
from stream_guard.decode import decode_operation
from stream_guard.errors import ConfigurationError, ServiceUnavailableError
from stream_guard.ports import Topic
from tests.support.made import AT
from tests.support.operators import FakeOperations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

READ = {"Authorization": "Bearer reader-reader-reader"}
OPERATE = {"Authorization": "Bearer operator-operator"}
TOKENS = (
    AccessToken("dashboard", "read", "reader-reader-reader"),
    AccessToken("console", "operate", "operator-operator"),
)
BODY = {"reason": "partner benchmark", "actor": "ann"}


@dataclass
class Bench:
    client: TestClient[web.Request, web.Application]
    operations: FakeOperations
    health: HealthState

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:  # noqa: ANN401 # JSON
        answer = await self.client.request(method, path, **options)
        return answer.status, await answer.json()


async def bench_with(tokens: tuple[AccessToken, ...]) -> AsyncIterator[Bench]:
    operations, health = FakeOperations(), HealthState()
    async with TestClient(TestServer(make_web(health, Metrics(), operations, tokens))) as client:
        yield Bench(client, operations, health)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async for made in bench_with(TOKENS):
        yield made


@pytest.fixture
async def open_bench() -> AsyncIterator[Bench]:
    async for made in bench_with(()):
        yield made


async def test_health_says_why(bench: Bench) -> None:
    assert await bench.ask("GET", "/healthz") == (200, {"live": True, "reasons": []})
    bench.health.failure, bench.health.stalled = "Faust crashed", ("accounts:3",)
    assert await bench.ask("GET", "/healthz") == (
        503,
        {"live": False, "reasons": ["Faust crashed", "accounts:3 makes no progress"]},
    )


async def test_readiness_says_what_is_missing(bench: Bench) -> None:
    status, found = await bench.ask("GET", "/readyz")
    assert (status, found["reasons"]) == (503, ["no partitions are assigned yet, or the worker is stopping"])
    bench.health.joined = True
    bench.health.nodes["accounts:0"] = NodeHealth("accounts:0")
    status, found = await bench.ask("GET", "/readyz")
    assert (status, found["reasons"]) == (503, ["accounts:0 is being restored"])
    bench.health.nodes["accounts:0"].restored = True
    status, found = await bench.ask("GET", "/readyz")
    assert (status, found["reasons"], found["ready"]) == (200, [], True)


async def test_metrics_are_open_and_in_prometheus_format(bench: Bench) -> None:
    answer = await bench.client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "stream_guard_build_info" in await answer.text()


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/v1/campaigns", "/nowhere"])
async def test_every_answer_carries_the_security_headers(bench: Bench, path: str) -> None:
    answer = await bench.client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "stream-guard"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong-wrong-wrong-wrong"},
        {"Authorization": "Basic operator-operator"},
        {"Authorization": "operator-operator"},
    ],
)
async def test_the_api_wants_a_token(bench: Bench, headers: dict[str, str]) -> None:
    answer = await bench.client.get("/api/v1/campaigns", headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "error" in await answer.json()


async def test_a_reader_reads_and_does_not_act(bench: Bench) -> None:
    status, found = await bench.ask("GET", "/api/v1/campaigns", headers=READ)
    assert status == 200
    assert found["campaigns"][0]["member_count"] == 1
    assert "members" not in found["campaigns"][0]
    for method, path in (("POST", "/api/v1/decisions/dec_2/approve"), ("DELETE", "/api/v1/kill-switch")):
        assert (await bench.ask(method, path, headers=READ, json=BODY))[0] == 403
    assert bench.operations.sender.sent == []


async def test_one_campaign_comes_with_members_and_evidence(bench: Bench) -> None:
    status, found = await bench.ask("GET", "/api/v1/campaigns/cmp_1", headers=READ)
    assert status == 200
    assert len(found["members"]) == 2
    assert found["evidence"][0]["text"] == "97 % of prompts follow one template"
    assert (await bench.ask("GET", "/api/v1/campaigns/cmp_9", headers=READ))[0] == 404
    assert (await bench.ask("GET", "/api/v1/campaigns/cmp_1?tenant=other", headers=READ))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "scope", "subject"),
    [
        ("POST", "decisions/dec_2/approve", {}, "approve", "decision", "dec_2"),
        ("POST", "decisions/dec_1/release", {}, "release", "decision", "dec_1"),
        ("POST", "campaigns/cmp_1/release", {}, "release", "campaign", "cmp_1"),
        ("POST", "campaigns/cmp_1/snooze", {}, "snooze", "campaign", "cmp_1"),
        ("POST", "allow", {"scope": "account", "id": "acc_1"}, "allow", "account", "acc_1"),
        ("DELETE", "allow", {"scope": "account", "id": "acc_1"}, "disallow", "account", "acc_1"),
    ],
)
async def test_an_action_is_a_record_on_kafka_and_an_entry_of_the_audit(  # noqa: PLR0917 # parameters
    bench: Bench, method: str, path: str, body: dict[str, str], action: str, scope: str, subject: str
) -> None:
    status, entry = await bench.ask(method, f"/api/v1/{path}", headers=OPERATE, json={**BODY, **body})
    assert status == 202
    ((topic, key, value),) = bench.operations.sender.sent
    operation = decode_operation(value)
    assert (topic, key) == (Topic.OPERATIONS, subject.encode())
    assert (operation.action, operation.scope, operation.subject_id) == (action, scope, subject)
    assert (operation.actor, operation.reason, operation.ts) == ("ann", "partner benchmark", AT)
    _, found = await bench.ask("GET", "/api/v1/audit", headers=READ)
    assert found["audit"] == [entry]
    assert entry["via"] == "http:console"


async def test_without_an_actor_the_token_stands_in_the_audit(bench: Bench) -> None:
    _, entry = await bench.ask("POST", "/api/v1/campaigns/cmp_1/release", headers=OPERATE, json={"reason": "r"})
    assert entry["actor"] == "console"


async def test_the_kill_switch(bench: Bench) -> None:
    _, found = await bench.ask("GET", "/api/v1/kill-switch", headers=READ)
    assert found == {"engaged": False, "state": None}
    status, entry = await bench.ask("POST", "/api/v1/kill-switch", headers=OPERATE, json=BODY)
    assert (status, entry["deleted"]) == (200, 3)
    _, found = await bench.ask("GET", "/api/v1/kill-switch", headers=READ)
    assert found["state"]["actor"] == "ann"
    status, entry = await bench.ask("DELETE", "/api/v1/kill-switch", headers=OPERATE, json=BODY)
    assert (status, entry["was_engaged"]) == (200, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("allow", {**BODY, "scope": "planet", "id": "x"}),
        ("allow", {**BODY, "scope": "account", "id": ""}),
        ("allow", {**BODY, "scope": "account", "id": "x" * 257}),
        ("allow", {**BODY, "scope": "account", "id": "a\nb"}),
        ("allow", {**BODY, "scope": "account", "id": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        ("allow", {**BODY, "scope": "account", "id": "x", "expires_at": "tomorrow"}),
        ("allow", {**BODY, "scope": "account", "id": "x", "expires_at": "2030-01-01T00:00:00"}),
        ("allow", {**BODY, "scope": "account", "id": "x", "surprise": 1}),
        ("feedback", {**BODY, "label": "true_positive"}),
        ("feedback", {**BODY, "label": "true_positive", "campaign_id": "c", "account_id": "a"}),
        ("feedback", {**BODY, "label": "maybe", "campaign_id": "c"}),
        ("kill-switch", {"actor": "ann"}),
        ("kill-switch", {"actor": "ann", "reason": " "}),
        ("kill-switch", {"actor": "ann", "reason": "x" * 2_001}),
        ("kill-switch", {"actor": "a\u202eb", "reason": "x"}),
        ("kill-switch", ["reason"]),
    ],
)
async def test_nonsense_is_refused_and_nothing_happens(bench: Bench, path: str, body: object) -> None:
    status, found = await bench.ask("POST", f"/api/v1/{path}", headers=OPERATE, json=body)
    assert status == 400
    assert found["error"]
    assert bench.operations.sender.sent == []
    assert bench.operations.switch.engaged is None


async def test_approving_what_is_not_held_is_refused(bench: Bench) -> None:
    status, found = await bench.ask("POST", "/api/v1/decisions/dec_1/approve", headers=OPERATE, json=BODY)
    assert (status, found["error"]) == (409, "decision dec_1 is active, not held")


async def test_bodies_are_small_and_json(bench: Bench) -> None:
    big = {**BODY, "reason": "x" * 60_000}
    assert (await bench.ask("POST", "/api/v1/kill-switch", headers=OPERATE, json=big))[0] == 413
    longest = json.dumps({"reason": "\U0001f600" * 2_000, **dict.fromkeys(("actor", "tenant"), "\U0001f600" * 256)})
    json_type = {"Content-Type": "application/json"}
    assert len(longest) > 30_000, "every character is escaped"
    assert (await bench.ask("POST", "/api/v1/kill-switch", headers=OPERATE | json_type, data=longest))[0] == 200
    assert (await bench.ask("POST", "/api/v1/kill-switch", headers=OPERATE, data={"reason": "form"}))[0] == 415
    assert (await bench.ask("GET", "/api/v1/audit?limit=many", headers=READ))[0] == 400
    assert (await bench.ask("GET", "/api/v1/audit?limit=1000000", headers=READ))[0] == 400


async def test_services_that_are_away_give_503(bench: Bench) -> None:
    bench.operations.sender.away = True
    path = "/api/v1/decisions/dec_2/approve"
    assert (await bench.ask("POST", path, headers=OPERATE, json=BODY))[0] == 503
    bench.operations.sender.away, bench.operations.registry.away = False, True
    status, found = await bench.ask("POST", path, headers=OPERATE, json=BODY)
    assert status == 503
    assert "is on its way" in found["error"]


async def test_without_tokens_this_machine_reads_and_nobody_acts(open_bench: Bench) -> None:
    assert (await open_bench.ask("GET", "/api/v1/decisions"))[0] == 200
    assert (await open_bench.ask("POST", "/api/v1/kill-switch", json=BODY))[0] == 403


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:6066"}, {"X-Forwarded-For": "203.0.113.9"}]
)
async def test_without_tokens_neither_rebinding_nor_a_proxy_gets_in(open_bench: Bench, headers: dict[str, str]) -> None:
    assert (await open_bench.ask("GET", "/api/v1/decisions", headers=headers))[0] == 403


@pytest.mark.parametrize("host", ["localhost:6066", "127.0.0.1", "[::1]:6066"])
async def test_without_tokens_names_of_this_machine_are_fine(open_bench: Bench, host: str) -> None:
    assert (await open_bench.ask("GET", "/api/v1/decisions", headers={"Host": host}))[0] == 200


def test_a_short_token_is_refused_and_no_token_is_shown() -> None:
    with pytest.raises(ConfigurationError, match="16"):
        AccessToken("x", "read", "short")
    assert "reader-reader" not in repr(TOKENS)


async def test_it_serves_until_cancelled_and_names_a_taken_port() -> None:
    application = make_web(HealthState(), Metrics(), FakeOperations())
    started: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(application, "127.0.0.1", 0, lambda host, port: started.set_result((host, port)))
    )
    host, port = await asyncio.wait_for(started, 5.0)
    other = make_web(HealthState(), Metrics(), FakeOperations())
    with pytest.raises(ServiceUnavailableError, match=str(port)):
        await serve(other, host, port)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
