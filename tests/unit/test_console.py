"""The console's pages and buttons, on the real operations with fakes behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream_guard.adapters.prometheus import Metrics
from stream_guard.app.access import AccessToken
from stream_guard.app.console.session import SESSION_SECONDS, Sessions, Throttle
from stream_guard.app.health import HealthState
from stream_guard.app.web import make_web
from stream_guard.decode import decode_operation
from stream_guard.encode import campaign_object
from stream_guard.records import Evidence, Member
from tests.support.made import AT, EVIDENCE, campaign
from tests.support.operators import FakeOperations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

READER, OPERATOR = "reader-reader-reader", "operator-operator"
TOKENS = (AccessToken("dashboard", "read", READER), AccessToken("desk", "operate", OPERATOR))
PAGE = "/console/campaigns/default/cmp_1"
HOSTILE = "<script>alert(1)</script>\"'"


@dataclass
class Bench:
    client: TestClient[web.Request, web.Application]
    operations: FakeOperations

    async def log_in(self, token: str = OPERATOR) -> None:
        answer = await self.client.post("/console/login", data={"actor": "ann", "token": token, "next": PAGE})
        assert str(answer.url.path) == PAGE

    async def page(self, path: str = PAGE) -> str:
        answer = await self.client.get(path)
        assert answer.status == 200, await answer.text()
        return await answer.text()

    async def press(self, path: str = PAGE, **fields: str) -> tuple[int, str]:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', await self.page(path))
        fields = {"csrf": found[1] if found else "", "reason": "looked at it", **fields}
        answer = await self.client.post(path, data=fields)
        return answer.status, await answer.text()


async def bench_with(tokens: tuple[AccessToken, ...]) -> AsyncIterator[Bench]:
    operations = FakeOperations()
    async with TestClient(TestServer(make_web(HealthState(), Metrics(), operations, tokens))) as client:
        yield Bench(client, operations)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async for made in bench_with(TOKENS):
        yield made


@pytest.fixture
async def open_bench() -> AsyncIterator[Bench]:
    async for made in bench_with(()):
        yield made


async def test_a_link_leads_through_the_log_in_and_back(bench: Bench) -> None:
    answer = await bench.client.get(PAGE)
    assert answer.url.path == "/console/login"
    assert f'name="next" value="{PAGE}"' in await answer.text()
    await bench.log_in()
    assert "cmp_1" in await bench.page()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/console", "/\\evil", "/consolelike", "/"])
async def test_the_log_in_leads_nowhere_else(bench: Bench, target: str) -> None:
    answer = await bench.client.post(
        "/console/login", data={"actor": "ann", "token": READER, "next": target}, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/console")


async def test_a_link_from_another_site_is_followed_once_more_with_the_cookie(bench: Bench) -> None:
    answer = await bench.client.get(PAGE, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.url.path == PAGE
    assert "data-again" in await answer.text()


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(bench: Bench) -> None:
    data = {"actor": "ann", "token": OPERATOR}
    answer = await bench.client.post("/console/login", data=data, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/console" in cookie
    assert OPERATOR not in cookie


async def test_wrong_tokens_are_refused_and_soon_slowed(bench: Bench) -> None:
    data = {"actor": "ann", "token": "wrong-wrong-wrong-wrong"}
    statuses = [(await bench.client.post("/console/login", data=data)).status for _ in range(6)]
    assert statuses == [401, 401, 401, 401, 401, 429]
    right = await bench.client.post("/console/login", data={"actor": "ann", "token": OPERATOR})
    assert (right.status, "Retry-After" in right.headers) == (429, True)


def test_the_throttle_forgets_and_is_per_address() -> None:
    throttle = Throttle()
    for _ in range(5):
        throttle.failed("192.0.2.1", 0.0)
    assert throttle.wait_seconds("192.0.2.1", 1.0) == 59.0
    assert throttle.wait_seconds("192.0.2.2", 1.0) == 0.0
    assert throttle.wait_seconds("192.0.2.1", 60.0) == 0.0


def test_a_session_ends_with_its_time_its_token_or_a_changed_letter() -> None:
    sessions = Sessions(TOKENS)
    cookie = sessions.log_in(OPERATOR, "ann", AT) or ""
    found = sessions.read(cookie, AT + 1.0)
    assert found is not None
    assert (found.actor, found.caller.name, found.can_operate) == ("ann", "desk", True)
    assert sessions.read(cookie, AT + SESSION_SECONDS) is None
    assert Sessions((AccessToken("desk", "operate", "another-another-another"),)).read(cookie, AT) is None
    for broken in (cookie[:-1] + "x", "x" + cookie, "", ".", "é.é", "a" * 5_000):
        assert sessions.read(broken, AT) is None


async def test_the_page_says_what_why_who_and_what_was_decided(bench: Bench) -> None:
    await bench.log_in()
    text = await bench.page()
    for wanted in ("12,345 exchanges", "97 % of prompts follow one template", "acc_1", "acc_2", "limit", "Sum"):
        assert wanted in text
    assert f"{sum(term.contribution for term in EVIDENCE):+.2f}" in text.replace("&#43;", "+")


async def test_hostile_names_are_shown_and_never_run(bench: Bench) -> None:
    made = campaign(
        campaign_id=HOSTILE,
        members=(Member(HOSTILE, AT, None, 1.0),),
        evidence=(Evidence(HOSTILE, 1.0, 0.0, 0.0, HOSTILE),),
        exchanges_by_capability={HOSTILE: 1},
    )
    bench.operations.registry._campaigns[HOSTILE] = campaign_object(made)
    await bench.log_in()
    quoted = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27"
    for path in (f"/console/campaigns/default/{quoted}", "/console", f"/console?q={quoted}&tenant={quoted}"):
        text = await bench.page(path)
        assert text.count("<script") == 1  # ours
        assert "&lt;script&gt;alert" in text


async def test_every_page_forbids_scripts_of_others_and_framing(bench: Bench) -> None:
    for path in ("/console/login", "/console/campaigns/default/cmp_9", "/console", "/console/static/console.js"):
        await bench.log_in()
        headers = (await bench.client.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
        assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}
        text = await (await bench.client.get(path)).text()
        assert " style=" not in text
        assert " onclick=" not in text


@pytest.mark.parametrize(
    ("fields", "action", "scope", "subject"),
    [
        ({"action": "approve", "decision": "dec_2"}, "approve", "decision", "dec_2"),
        ({"action": "release_decision", "decision": "dec_1"}, "release", "decision", "dec_1"),
        ({"action": "release_campaign"}, "release", "campaign", "cmp_1"),
        ({"action": "release_member", "account": "acc_1"}, "release", "account", "acc_1"),
        ({"action": "allow_campaign", "hours": "24"}, "allow", "campaign", "cmp_1"),
        ({"action": "allow_member", "account": "acc_1", "hours": "1"}, "allow", "account", "acc_1"),
        ({"action": "snooze", "hours": "8"}, "snooze", "campaign", "cmp_1"),
    ],
)
async def test_a_button_is_an_operation_with_who_and_why(
    bench: Bench, fields: dict[str, str], action: str, scope: str, subject: str
) -> None:
    await bench.log_in()
    status, text = await bench.press(**fields)
    assert status == 200, text
    operation = decode_operation(bench.operations.sender.sent[-1][2])
    assert (operation.action, operation.scope, operation.subject_id) == (action, scope, subject)
    assert (operation.actor, operation.reason) == ("ann", "looked at it")
    (entry,) = bench.operations.registry.entries
    assert entry["via"] == "console:desk"
    assert 'role="status"' in text
    assert "looked at it" in await bench.page()  # the audit


async def test_who_is_left_alone_is_listed_and_can_be_taken_off(bench: Bench) -> None:
    await bench.log_in()
    await bench.press(action="allow_member", account="acc_1", hours="24")
    text = await bench.page("/console")
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    assert "account acc_1" in text
    assert found is not None
    data = {"csrf": found[1], "reason": "left us", "action": "disallow", "scope": "account", "id": "acc_1"}
    answer = await bench.client.post("/console/allowed/default", data=data)
    assert "account acc_1" not in await answer.text()
    assert decode_operation(bench.operations.sender.sent[-1][2]).action == "disallow"


@pytest.mark.parametrize("label", ["true_positive", "false_positive", "organisation", "reseller"])
async def test_judging_sends_feedback(bench: Bench, label: str) -> None:
    await bench.log_in()
    assert (await bench.press(action=label))[0] == 200
    assert bench.operations.registry.entries[0]["action"] == f"feedback:{label}"


async def test_the_kill_switch_is_a_button_and_every_page_says_so(bench: Bench) -> None:
    await bench.log_in()
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', await bench.page("/console"))
    assert found is not None
    data = {"csrf": found[1], "reason": "hits the wrong people", "action": "engage"}
    assert (await bench.client.post("/console/kill-switch", data=data)).status == 200
    assert bench.operations.switch.engaged is not None
    for path in ("/console", PAGE):
        assert "hits the wrong people" in await bench.page(path)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        ({}, {"Origin": "https://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
async def test_forms_of_others_are_refused(bench: Bench, fields: dict[str, str], headers: dict[str, str]) -> None:
    await bench.log_in()
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', await bench.page())
    assert found is not None
    data = {"csrf": found[1], "reason": "x", "action": "release_campaign", **fields}
    assert (await bench.client.post(PAGE, data=data, headers=headers)).status == 403
    assert bench.operations.sender.sent == []


async def test_a_reader_sees_no_buttons_and_cannot_post(bench: Bench) -> None:
    await bench.log_in(READER)
    text = await bench.page()
    assert 'name="action"' not in text
    assert (await bench.press(action="release_campaign"))[0] == 403
    assert bench.operations.sender.sent == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"action": "approve", "decision": "dec_1"}, 409),
        ({"action": "approve", "decision": "dec_9"}, 404),
        ({"action": "destroy"}, 400),
        ({"action": "snooze", "hours": "-1"}, 400),
        ({"action": "release_campaign", "reason": " "}, 400),
        ({"action": "release_member"}, 400),
    ],
)
async def test_nonsense_is_refused_in_one_sentence(bench: Bench, fields: dict[str, str], status: int) -> None:
    await bench.log_in()
    found, text = await bench.press(**fields)
    assert (found, 'role="alert"' in text) == (status, True)
    assert bench.operations.sender.sent == []


async def test_a_service_that_is_away_is_a_page_that_says_so(bench: Bench) -> None:
    await bench.log_in()
    bench.operations.sender.away = True
    status, text = await bench.press(action="release_campaign")
    assert (status, "did not take the record" in text) == (503, True)


async def test_logging_out_ends_the_session(bench: Bench) -> None:
    await bench.log_in()
    await bench.client.post("/console/logout")
    assert (await bench.client.get(PAGE)).url.path == "/console/login"


async def test_without_tokens_this_machine_reads_and_nobody_acts(open_bench: Bench) -> None:
    assert 'name="action"' not in await open_bench.page()
    assert (await open_bench.client.post(PAGE, data={"action": "release_campaign"})).status == 403
    answer = await open_bench.client.get(PAGE, headers={"Host": "evil.example"})
    assert answer.status == 403


async def test_the_list_is_searched_and_filtered(bench: Bench) -> None:
    await bench.log_in()
    assert "cmp_1" in await bench.page("/console?q=mp_1&verdict=extraction_campaign")
    for query in ("q=nothing", "verdict=organisation", "tenant=other"):
        assert "cmp_1" not in await bench.page(f"/console?{query}")
