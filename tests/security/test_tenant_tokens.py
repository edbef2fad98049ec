"""A token that is bound to a tenant sees and changes that tenant alone: every route of the API, every page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.app.access import AccessToken, access_tokens
from stream_guard.app.api.routes import ROUTES
from stream_guard.app.api.stream import stream_decisions  # which has its test in test_decision_stream.py
from stream_guard.app.health import HealthState
from stream_guard.app.operations import Operations
from stream_guard.app.web import make_web
from stream_guard.decode import decode_operation
from stream_guard.errors import ConfigurationError
from stream_guard.ports import Output, Topic
from stream_guard.records import DecisionStatus
from stream_guard.settings import RedisServer, load_settings
from tests.support.made import AT, alert, campaign, decision
from tests.support.operators import FakeSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from stream_guard.app.api.glue import Route

BOUND = "bound-bound-bound-bound"
EXTRA: dict[str, dict[str, str]] = {
    "/allow": {"scope": "account", "id": "acc_1"},
    "/feedback": {"label": "true_positive", "campaign_id": "cmp_1"},
}
READS = [route for route in ROUTES if route.method == "GET" and route.handler is not stream_decisions]
ACTS = [route for route in ROUTES if route.method != "GET"]
OF_ALL = "/kill-switch"


@dataclass
class Bench:
    """Two tenants with the same ids; what belongs to the other one says `secret`."""

    client: TestClient[web.Request, web.Application]
    sender: FakeSender
    switch: KillSwitch
    ours: str
    theirs: str

    async def ask(self, route: Route, tenant: str | None = None, name: str = "") -> tuple[int, str]:
        given = name or {"decisions": "dec_1", "accounts": "acc_1"}.get(route.path.split("/")[1], "cmp_1")
        path = "/api/v1" + route.path.replace("{id}", given)
        chosen = {} if tenant is None else {"tenant": tenant}
        options: dict[str, Any] = {"params": chosen}
        if route.method != "GET":
            options = {"json": {"reason": "partner", **EXTRA.get(route.path, {}), **chosen}}
        answer = await self.client.request(route.method, path, headers={"Authorization": f"Bearer {BOUND}"}, **options)
        return answer.status, await answer.text()

    def tenants_of_what_was_sent(self) -> set[str]:
        return {
            json.loads(value)["tenant"] if topic is Topic.FEEDBACK else decode_operation(value).tenant
            for topic, _, value in self.sender.sent
        }


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    client = connect(RedisServer(url=redis_url))
    registry, switch, sender = RedisRegistry(client), KillSwitch(client), FakeSender()
    ours, theirs = (f"t-{uuid4().hex[:8]}" for _ in range(2))
    for tenant, reason in ((ours, "known"), (theirs, "secret")):
        changes = {"tenant": tenant}
        held = decision(**changes, reason=reason, status=DecisionStatus.HELD)
        await registry.publish(
            Output(
                campaigns=[campaign(**changes), campaign(**changes, campaign_id=f"cmp_{reason}")],
                alerts=[alert(**changes, alert_id=f"alr_{reason}")],
                decisions=[held, decision(**changes, decision_id=f"dec_{reason}", status=DecisionStatus.HELD)],
            )
        )
        await registry.allow(tenant, {"scope": "account", "id": f"acc_{reason}", "at": "", "actor": "", "reason": ""})
    await switch.engage("secret", "secret", "")
    operations = Operations(registry, switch, sender, lambda: AT)
    tokens = (AccessToken("acme", "operate", BOUND, ours),)
    application = make_web(HealthState(), Metrics(), operations, tokens)
    async with TestClient(TestServer(application), cookie_jar=CookieJar(unsafe=True)) as http:
        yield Bench(http, sender, switch, ours, theirs)
    await switch.disengage()
    await client.aclose()


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", READS, ids=named)
async def test_it_reads_its_own_tenant_without_naming_it_and_no_other(bench: Bench, route: Route) -> None:
    status, text = await bench.ask(route)
    assert status == 200, text
    assert "secret" not in text
    assert bench.theirs not in text
    assert bench.ours in text or route.path in {OF_ALL, "/allow"}
    if route.path != OF_ALL:
        assert await bench.ask(route, bench.ours) == (status, text)
        assert (await bench.ask(route, bench.theirs))[0] == 403
        assert (await bench.ask(route, "default"))[0] == 403


@pytest.mark.parametrize("route", [route for route in READS if "{id}" in route.path], ids=named)
async def test_ids_of_another_tenant_lead_nowhere(bench: Bench, route: Route) -> None:
    assert (await bench.ask(route, name="cmp_secret"))[0] == 404
    assert (await bench.ask(route, name="cmp_known"))[0] == 200


@pytest.mark.parametrize("route", ACTS, ids=named)
async def test_it_changes_its_own_tenant_without_naming_it_and_no_other(bench: Bench, route: Route) -> None:
    assert (await bench.ask(route, bench.theirs))[0] == 403
    assert bench.sender.sent == []
    if route.path == OF_ALL:  # everybody's
        assert (await bench.ask(route))[0] == 403
        assert await bench.switch.state() is not None
        return
    status, text = await bench.ask(route)
    assert status == 202, text
    assert bench.tenants_of_what_was_sent() == {bench.ours}
    if "{id}" in route.path and "accounts" not in route.path:
        foreign = "dec_secret" if "decisions" in route.path else "cmp_secret"
        assert (await bench.ask(route, name=foreign))[0] == 404


async def test_the_console_shows_and_changes_its_own_tenant_alone(bench: Bench) -> None:
    await bench.client.post("/console/login", data={"actor": "ann", "token": BOUND})
    front = await bench.client.get("/console")
    text = await front.text()
    assert (front.status, "cmp_known" in text, "secret" in text, "engaged" in text) == (200, True, False, True)
    assert "/console/kill-switch" not in text
    for path in (f"/console?tenant={bench.theirs}", f"/console/campaigns/{bench.theirs}/cmp_1"):
        assert (await bench.client.get(path)).status == 403
    page = await (await bench.client.get(f"/console/campaigns/{bench.ours}/cmp_1")).text()
    assert "secret" not in page
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    fields = {"csrf": csrf, "reason": "looked at it"}
    own, foreign = (f"/console/campaigns/{tenant}/cmp_1" for tenant in (bench.ours, bench.theirs))
    for action in ("false_positive", "release_campaign", "allow_campaign", "snooze"):
        assert (await bench.client.post(foreign, data={**fields, "action": action})).status == 403
    for path in (own, "/console/kill-switch", f"/console/allowed/{bench.ours}"):
        assert (await bench.client.post(path, data={**fields, "action": "disengage"})).status == 403
    taken = {**fields, "action": "disallow", "scope": "account", "id": "acc_1"}
    assert (await bench.client.post(f"/console/allowed/{bench.theirs}", data=taken)).status == 403
    assert (bench.sender.sent, await bench.switch.state() is not None) == ([], True)
    assert (await bench.client.post(own, data={**fields, "action": "release_campaign"})).status == 200
    assert bench.tenants_of_what_was_sent() == {bench.ours}


TOKENS = """
[[token]]
name = "acme"
role = "operate"
tenant = "acme-corp"
secret = "acme-acme-acme-acme"

[[token]]
name = "auditor"
role = "read"
secret = "auditor-auditor-auditor"
"""


def test_tokens_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokens.toml").write_text(TOKENS)
    monkeypatch.setenv("STREAM_GUARD_WEB__TOKENS_FILE", str(tmp_path / "tokens.toml"))
    monkeypatch.setenv("STREAM_GUARD_WEB__READ_TOKEN", "dashboard-dashboard")
    settings = load_settings()
    found = access_tokens(settings.web)
    assert [(one.name, one.role, one.tenant) for one in found] == [
        ("read", "read", None),
        ("acme", "operate", "acme-corp"),
        ("auditor", "read", None),
    ]
    assert "acme-acme" not in repr(settings) + repr(found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[token", "TOKENS"),
        ("", "missing required field `token`"),
        (TOKENS.replace("operate", "admin"), "admin"),
        (TOKENS.replace("acme-acme-acme-acme", "hush-hush"), "web token acme: at least 16"),
        (TOKENS.replace('"acme-corp"', '""'), "the tenant has no name"),
        (TOKENS.replace("auditor-auditor-auditor", "acme-acme-acme-acme"), "same secret"),
        (TOKENS.replace('"auditor"', '"acme"'), "same name"),
        (TOKENS.replace("tenant", "tennant"), "tennant"),
    ],
)
def test_tokens_that_cannot_be_used_are_named_and_no_secret_is(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        access_tokens(load_settings(web={"tokens": text}).web)
    assert "acme-acme" not in str(caught.value)
    assert "hush" not in str(caught.value)
