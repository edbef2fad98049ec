"""The console in a real Chromium, over a real Redis: accessible, at every size, alive, and used by keyboard.

Screenshots go to build/screenshots.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from stream_guard.adapters.kafka_records import KafkaRecords
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.app.health import HealthState
from stream_guard.app.operations import Operations
from stream_guard.app.web import AccessToken, make_web, serve
from stream_guard.ports import Output
from stream_guard.records import Alert, Campaign, Decision, DecisionStatus, Evidence, Member, Verdict
from stream_guard.settings import Kafka, RedisServer, Settings
from tests.e2e.page import Page
from tests.support.made import AT, EVIDENCE, alert, campaign, decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.integration

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
TOKEN = "console-operator-token"  # noqa: S105 # of this test only
SIZES = {"desktop": (1_280, 900), "phone": (390, 844)}
HOSTILE = "<img src=x onerror=alert(1)>"
MEMBERS = tuple(
    Member(f"acct_{number:04}", AT - 3_000.0 + 30.0 * number, AT if number % 20 == 0 else None, 1.0 - number / 400)
    for number in range(1, 81)
)


class Site:
    """The web server on this loop, and what it shows."""

    def __init__(self, registry: RedisRegistry, url: str) -> None:
        self.registry, self.url, self.tenant = registry, url, f"t-{uuid4().hex[:8]}"
        self.campaigns = f"{url}/console?tenant={self.tenant}"
        self.campaign = f"{url}/console/campaigns/{self.tenant}/cmp_b39cf7ae"

    async def show(self, **changes: int) -> None:
        made = campaign(tenant=self.tenant, campaign_id="cmp_b39cf7ae", members=MEMBERS, **changes)
        past = campaign(
            tenant=self.tenant, campaign_id="cmp_77aa0914", exchanges_per_hour=3.0, merged_into="cmp_b39cf7ae"
        )
        pool = campaign(
            tenant=self.tenant, campaign_id="cmp_02c1d8e5", verdict=Verdict.RESELLER_POOL, exchanges_per_hour=88.0,
            evidence=(Evidence("growth", -1.0, 0.0, 0.0, HOSTILE), *EVIDENCE[2:]), log_odds=-4.0,
        )  # fmt: skip
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
                page.whole(f"{name}-{size}-{scheme}")
                found += [f"{name} {size} {scheme}: {line}" for line in page.violations()]
                if page.run("return document.documentElement.scrollWidth > innerWidth"):
                    found.append(f"{name} {size}: wider than the screen")
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
