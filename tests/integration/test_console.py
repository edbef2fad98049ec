"""The console in a real Chromium, over a real Redis: accessible, at every size, alive, and used by keyboard.

Screenshots go to build/screenshots.
"""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import requests

from stream_guard.adapters.kafka_records import KafkaRecords
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.app.access import AccessToken
from stream_guard.app.health import HealthState
from stream_guard.app.operations import Operations
from stream_guard.app.web import make_web, serve
from stream_guard.ports import Output
from stream_guard.records import (
    Alert,
    Campaign,
    Component,
    Decision,
    DecisionStatus,
    Evidence,
    Fingerprint,
    Member,
    Verdict,
)
from stream_guard.settings import Kafka, RedisServer, Settings
from tests.e2e.page import Page
from tests.support.made import AT, EVIDENCE, alert, campaign, decision
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.integration

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
TOKEN = "console-operator-token"  # noqa: S105 # of this test only
SIZES = {"desktop": (1_280, 900), "phone": (390, 844)}
HOSTILE = "<img src=x onerror=alert(1)>"
SHOWN = tuple(
    Evidence(signal, contribution, 0.0, 0.0, text)
    for signal, contribution, text in (
        ("prior", -6.0, "before any evidence: campaigns are rare"),
        (
            "shared_template",
            2.42,
            "88% of the prompts are different questions in the same template, at most 20% elsewhere",
        ),
        (
            "even_counts",
            1.95,
            "members are used too evenly: squared variation of their counts 0.15, 0.42 or more elsewhere",
        ),
        ("agreement", 1.5, "suspicious groups of 6 independent kinds agree: billing, client, content, network"),
        ("binding", 1.25, "members share 3.6 independent kinds of fingerprint beyond chance, up to 2.1 elsewhere"),
        ("billing_reuse", 0.98, "96% of the members pay with a card that other members use, at most 48% elsewhere"),
        ("regular_gaps", -0.37, "speaks against it, for this is not so: queries come like clockwork"),
    )
)
FINGERPRINTS = tuple(
    Fingerprint(kind, f"{number:08x}", AT)
    for kind, number in (("address", 77), ("client", 12), ("payment", 1_234_567), ("payment", 89), ("template", 4_711))
)
HANDS = (
    Component(0.6, ("0000000a",), {"language": {"en": 1.0}}),
    Component(0.4, ("0000000b",), {"language": {"zh": 0.7, HOSTILE: 0.3}}),
)
MEMBERS = tuple(
    Member(
        f"acct_{number:04}",
        AT - 3_000.0 + 30.0 * number,
        AT if number % 20 == 0 else None,
        1.0 - number / 400,
        number,
        AT,
        ("free", "pro", "team")[number % 3],
        AT - 200 * 86_400.0 if number % 7 == 0 else AT - 86_400.0,
        ("payment", "template"),
        {"groups": 0.0, "billing": 1.84, "absent": -0.02, "behaviour": 2.1},
    )
    for number in range(1, 81)
)


class Site:
    """The web server on this loop, and what it shows."""

    def __init__(self, registry: RedisRegistry, url: str) -> None:
        self.registry, self.url, self.tenant = registry, url, f"t-{uuid4().hex[:8]}"
        self.campaigns = f"{url}/console?tenant={self.tenant}"
        self.campaign = f"{url}/console/campaigns/{self.tenant}/cmp_b39cf7ae"

    async def show(self, **changes: int) -> None:
        sum_ = math.fsum(term.contribution for term in SHOWN)
        made = campaign(
            tenant=self.tenant,
            campaign_id="cmp_b39cf7ae",
            members=MEMBERS,
            evidence=SHOWN,
            log_odds=sum_,
            fingerprints=FINGERPRINTS,
            components=HANDS,
            **changes,
        )
        for minutes in range(60):
            earlier = replace(made, last_seen=AT - 3_600.0 + 60.0 * minutes, exchanges=3 * minutes * minutes)
            await self.registry.publish(Output(campaigns=[earlier]))
        past = campaign(
            tenant=self.tenant, campaign_id="cmp_77aa0914", exchanges_per_hour=3.0, evidence=SHOWN[:-1],
            merged_into="cmp_b39cf7ae",
        )  # fmt: skip
        pool = campaign(
            tenant=self.tenant, campaign_id="cmp_02c1d8e5", verdict=Verdict.RESELLER_POOL, exchanges_per_hour=88.0,
            evidence=(Evidence("growth", -1.0, 0.0, 0.0, HOSTILE), *EVIDENCE[2:]), log_odds=-4.0,
        )  # fmt: skip
        entry = {"scope": "account", "id": "acct_partner", "actor": "ann", "reason": "partner benchmark"}
        await self.registry.allow(self.tenant, entry)
        await self.registry.publish(Output(campaigns=[made, past, pool], alerts=[_alert(made)], decisions=_some(made)))


def _alert(about: Campaign) -> Alert:
    return alert(
        tenant=about.tenant, campaign_id=about.campaign_id, subject_id=about.campaign_id, alert_id=f"a-{about.tenant}"
    )


def _some(about: Campaign) -> list[Decision]:
    names: dict[str, Any] = {"tenant": about.tenant, "campaign_id": about.campaign_id, "subject_id": about.campaign_id}
    return [
        decision(**names, decision_id="dec_1", status=DecisionStatus.HELD, reason="blast radius: 8% of traffic"),
        decision(**names, decision_id="dec_2", simulated=True),
    ]


@pytest.fixture
async def site(redis_url: str) -> AsyncIterator[Site]:
    settings = Settings(kafka=Kafka(bootstrap="127.0.0.1:1"), redis=RedisServer(url=redis_url))
    client = connect(settings.redis)
    registry, records = RedisRegistry(client), KafkaRecords(settings)
    operations = Operations(registry, KillSwitch(client), records, time.time)
    application = make_web(HealthState(), Metrics(), operations, (AccessToken("desk", "operate", TOKEN),))
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(application, "127.0.0.1", 0, lambda _, port: started.set_result(port)))
    made = Site(registry, f"http://127.0.0.1:{await started}")
    await made.show()
    yield made
    await KillSwitch(client).disengage()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await records.aclose()
    await client.aclose()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with Page(SCREENSHOTS, tmp_path / "chromium") as made:
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible_at_every_size_and_pictured(site: Site, page: Page, scheme: str) -> None:
    def look() -> list[str]:
        found, signed_in = [], False
        for size, (width, height) in SIZES.items():
            page.shape(width, height, scheme)
            if not signed_in:
                page.open(f"{site.url}/console", "Token", f"login-{size}-{scheme}")
                found += page.violations()
                page.sign_in(site.campaigns, "ann", TOKEN)
                signed_in = True
            for name, url in (
                ("campaigns", site.campaigns),
                ("campaign", site.campaign),
                ("reseller", f"{site.url}/console/campaigns/{site.tenant}/cmp_02c1d8e5"),
                ("error", f"{site.url}/console/campaigns/{site.tenant}/cmp_none"),
            ):
                page.open(url, "cmp_" if name != "error" else "there is no campaign", f"{name}-{size}-{scheme}")
                page.whole(f"{name}-{size}-{scheme}-whole")
                found += [f"{name} {size} {scheme}: {line}" for line in page.violations()]
                if page.run("return document.documentElement.scrollWidth > innerWidth"):
                    found.append(f"{name} {size}: wider than the screen")
        page.shape(1_100, 1_430, scheme)
        page.open(site.campaign, "cmp_", f"campaign-tall-{scheme}")
        complaints = [line for line in page.errors() if "404" not in line]
        return found + complaints

    assert await asyncio.to_thread(look) == []


async def test_the_page_follows_what_happens_and_hostile_text_does_not_run(site: Site, page: Page) -> None:
    def come() -> None:
        page.sign_in(site.campaign, "ann", TOKEN)
        page.wait_for("12,345 exchanges")

    await asyncio.to_thread(come)
    await site.show(exchanges=23_456)
    await asyncio.to_thread(page.wait_for, "23,456 exchanges")

    def look() -> str:
        page.open(f"{site.url}/console/campaigns/{site.tenant}/cmp_02c1d8e5", HOSTILE, "hostile")
        return str(page.run("return document.querySelectorAll('img').length"))

    assert await asyncio.to_thread(look) == "0"


async def test_a_member_says_what_speaks_for_it_and_each_plan_what_would_be_done(site: Site, page: Page) -> None:
    def look() -> None:
        page.sign_in(site.campaign, "ann", TOKEN)
        page.wait_for("slow 21, ask 4 to verify")
        page.run("document.querySelector('#members ~ form summary').focus()")
        page.key("\ue007")  # enter opens what is folded
        page.wait_for("+2.10 behaves like the core, not like everyone else")
        page.wait_for("Shares with suspicious groups: payment, template.")

    await asyncio.to_thread(look)


async def test_several_customers_of_a_pool_are_listed_with_what_they_ask_in(site: Site, page: Page) -> None:
    def look() -> None:
        page.sign_in(site.campaign, "ann", TOKEN)
        page.wait_for("Several customers seem to use this pool")
        page.wait_for("60%; language en 100%; templates 0000000a")
        page.wait_for(f"40%; language zh 70%, {HOSTILE} 30%; templates 0000000b")

    await asyncio.to_thread(look)


async def test_the_keyboard_is_enough_to_stop_every_limit(site: Site, page: Page) -> None:
    def act() -> bool:
        page.sign_in(site.campaigns, "ann", TOKEN)
        page.wait_for("Kill switch")
        page.key("\ue004")  # tab
        skips = page.run("return document.activeElement.className") == "skip"
        page.key("\ue007")  # enter
        page.run("document.querySelector('#switch-reason').focus()")
        page.key("hits the wrong people", "\ue004", "\ue007")
        page.wait_for("engaged by ann: hits the wrong people")
        return bool(skips)

    assert await asyncio.to_thread(act)
    (entry, *_) = await site.registry.audited(1)
    assert (entry["action"], entry["actor"], entry["via"]) == ("engage", "ann", "console:desk")


async def test_it_runs_without_a_worker(redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "REDIS_URL": redis_url, "STREAM_GUARD_WEB__PORT": str(port)}
    command = [sys.executable, "-m", "stream_guard.cli", "console"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: ASYNC220 # ends below

    def ask() -> str:
        for _ in range(100):
            with suppress(requests.ConnectionError):
                return requests.get(f"http://127.0.0.1:{port}/console", timeout=5.0).text
            time.sleep(0.1)
        raise AssertionError((tmp_path / "log").read_text())

    try:
        assert "<h1>Campaigns</h1>" in await asyncio.to_thread(ask)
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10.0) == 0
