"""`python -m tests.e2e`: from simulated traffic to a released campaign, on real parts; build/e2e.json says what works.

Exit code 1 when any step is false.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from stream_guard.cli.demo_traffic import make_traffic, send_traffic
from stream_guard.ports import Topic
from tests.e2e.page import Page
from tests.e2e.steps import Steps, until
from tests.e2e.world import TOKEN, World
from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.cli.demo_traffic import DemoTraffic

BUILD = ROOT / "build"
SEED, ACCOUNTS, SEND_SECONDS = 1, 400, 30.0
RELEASE_SECONDS = 2.0
HONEST = 150
QUIET_SECONDS = 10.0  # workers close an open epoch after seven seconds without events
STEPS = (
    "servers_run",
    "two_workers_share_the_partitions",
    "traffic_is_in_kafka",
    "one_campaign_one_alert_in_alertmanager",
    "held_so_envoy_slows_nobody",
    "campaign_page_in_chromium",
    "approved_in_the_page",
    "approved_decision_is_in_force",
    "envoy_slows_exactly_the_members",
    "own_refusals_are_no_evidence",
    "false_positive_in_the_page",
    "released_in_redis",
    "released_in_envoy",
    "resolved_in_alertmanager",
    "one_audit_trail",
    "stream_goes_on_at_the_other_worker",
)


class Story:
    """One run."""

    def __init__(self, world: World, steps: Steps, directory: Path) -> None:
        self.world, self.steps, self.directory = world, steps, directory
        self.campaign = self.decision = self.console = self.position = ""
        self.members: set[str] = set()
        self.refusals: dict[str, str] = {}

    def run(self) -> None:
        """All of it."""
        world, step = self.world, self.steps.step
        traffic = make_traffic(SEED, ACCOUNTS)
        with step("servers_run"):
            world.start_servers()
        with step("two_workers_share_the_partitions"):
            world.start_workers()
            until(world.ready, 90.0, "both workers ready with partitions")
            _, self.position = world.decisions_since("")
        with step("traffic_is_in_kafka"):
            send_traffic(traffic, world.cluster.settings, SEND_SECONDS, lambda _count, _due: None)
        with step("one_campaign_one_alert_in_alertmanager"):
            self.find_alert()
        with step("held_so_envoy_slows_nobody"):
            self.find_held(traffic)
        with Page(BUILD / "screenshots", self.directory / "chromium") as page:
            with step("campaign_page_in_chromium", needed=False):
                page.sign_in(self.console, "e2e", TOKEN)
                page.open(self.console, self.campaign, "e2e-campaign")
            self.act(
                "approved_in_the_page",
                lambda: page.press("approve", "seen in the page", "e2e-approved"),
                f"decisions/{self.decision}/approve",
                {"reason": "seen", "actor": "e2e"},
            )
            with step("approved_decision_is_in_force"):
                until(self.limited, 30.0, "limit keys in Redis")
            with step("envoy_slows_exactly_the_members"):
                self.slowed(traffic)
            with step("own_refusals_are_no_evidence"):
                self.report_refusals()
            if self.steps.shown["campaign_page_in_chromium"]:
                page.open(self.console, self.campaign, "e2e-in-force")
            self.act(
                "false_positive_in_the_page",
                lambda: page.press("false positive", "an honest course", "e2e-false-positive"),
                "feedback",
                {"label": "false_positive", "campaign_id": self.campaign, "reason": "a course", "actor": "e2e"},
            )
            with step("released_in_redis"):
                until(lambda: not self.limited(), 30.0, "no limit key in Redis")
                released = time.monotonic()
            with step("released_in_envoy"):
                self.released(released)
            with step("resolved_in_alertmanager", needed=False):
                until(lambda: not self.open(), 30.0, "the alert resolved")
            with step("one_audit_trail"):
                self.audited()
            with step("stream_goes_on_at_the_other_worker"):
                self.streamed()

    def act(self, name: str, press: Callable[[], None], path: str, body: dict[str, str]) -> None:
        """In the page; where that fails the step is false, and HTTP does it so that the rest can still be seen."""
        with self.steps.step(name, needed=False):
            press()
        if not self.steps.shown[name]:
            self.world.post(path, body)

    def find_alert(self) -> None:
        until(self.pages, 90.0, "an alert in Alertmanager")
        until(lambda: self.world.pager.bodies, 20.0, "a page to a person")
        (alert,) = self.pages()
        self.campaign = alert["labels"]["campaign_id"]
        self.console = alert["annotations"]["console_url"]
        self.steps.notes["one_campaign_one_alert_in_alertmanager"] = alert["annotations"]["summary"]

    def pages(self) -> list[dict[str, Any]]:
        """Alerts that wake a person; honest groups may be there as `info`."""
        return [one for one in self.world.alerts() if one["labels"]["severity"] == "page"]

    def open(self) -> list[dict[str, object]]:
        """Alerts about the campaign that Alertmanager still holds."""
        return [one for one in self.world.alerts() if one["labels"]["campaign_id"] == self.campaign]

    def find_held(self, traffic: DemoTraffic) -> None:
        until(self.held, 30.0, "a held decision")
        until(self.drained, 90.0, "all traffic worked off")
        (found,) = self.held()
        self.decision = found["decision_id"]
        campaign = self.world.get(f"campaigns/{self.campaign}")
        self.members = {member["account_id"] for member in campaign["members"] if member["left_at"] is None}
        assert self.members, "the campaign has no members"
        some = [*sorted(self.members)[:20], *sorted(traffic.honest)[:20]]
        assert [self.world.ask(account).status_code for account in some] == [200] * len(some)

    def held(self) -> list[dict[str, str]]:
        found = self.world.get("decisions")["decisions"]
        return [one for one in found if one["status"] == "held" and one["campaign_id"] == self.campaign]

    def drained(self) -> bool:
        """The campaign no longer changes: the same before and after silent workers have closed the open epoch."""
        before = self.world.get(f"campaigns/{self.campaign}")
        time.sleep(QUIET_SECONDS)
        return bool(before == self.world.get(f"campaigns/{self.campaign}"))

    def limited(self) -> set[str]:
        prefix = "sg:{default}:limit:account:"
        keys = self.world.cluster.redis.scan_iter(match=prefix.replace("{", "\\{") + "*", count=10_000)
        return {key.decode().removeprefix(prefix) for key in keys}

    def slowed(self, traffic: DemoTraffic) -> None:
        first = min(self.members)
        until(lambda: self.world.ask(first).status_code == 429, 10.0, "a member slowed")
        honest = sorted(traffic.honest - self.members)[:HONEST]
        answers = {account: self.world.ask(account) for account in [*sorted(self.members), *honest]}
        slowed = {account for account, answer in answers.items() if answer.status_code == 429}
        # One request a minute passes, whoever asks then.
        assert slowed <= self.members, f"honest accounts slowed: {sorted(slowed - self.members)[:5]}"
        assert len(self.members - slowed) <= 1, f"members not slowed: {sorted(self.members - slowed)[:5]}"
        self.refusals = {account: answers[account].headers["x-stream-guard-decision"] for account in slowed}
        assert set(self.refusals.values()) == {self.decision}
        self.steps.notes["envoy_slows_exactly_the_members"] = (
            f"{len(slowed)} of {len(self.members)} members, 0 of {len(honest)} honest"
        )

    def report_refusals(self) -> None:
        """Tell the detector about them, as the gateway's log does."""
        before = self.world.get(f"campaigns/{self.campaign}")["exchanges"]
        counted = self.world.metric("stream_guard_limited_events_total")
        now = int(time.time() * 1_000)
        records = [
            (
                account.encode(),
                json.dumps(
                    {
                        "event_id": uuid4().hex,
                        "ts": now,
                        "account_id": account,
                        "status": 429,
                        "limited_by": decision,
                    }
                ).encode(),
            )
            for account, decision in self.refusals.items()
        ]
        self.world.cluster.produce(records)
        wanted = counted + len(records)
        until(lambda: self.world.metric("stream_guard_limited_events_total") >= wanted, 30.0, "refusals counted")
        assert self.world.get(f"campaigns/{self.campaign}")["exchanges"] == before

    def released(self, at: float) -> None:
        members = sorted(self.members)
        until(lambda: self.world.ask(members[0]).status_code == 200, RELEASE_SECONDS, "a member passing again")
        took = time.monotonic() - at
        assert took <= RELEASE_SECONDS, f"{took:.1f} s"
        statuses = [self.world.ask(account).status_code for account in members]
        assert statuses == [200] * len(members)
        self.steps.notes["released_in_envoy"] = f"{took:.2f} s after the key went"

    def audited(self) -> None:
        """Both workers tell one story: taken, approved, judged, released."""
        trails = [self.world.get("audit", number)["audit"] for number in (0, 1)]
        assert trails[0] == trails[1]
        (BUILD / "e2e-audit.json").write_text(json.dumps(trails[0], indent=2) + "\n", encoding="utf-8")
        mine = [entry for entry in reversed(trails[0]) if self.decision in json.dumps(entry)]
        statuses = [entry["status"] for entry in mine if "status" in entry]
        assert statuses == ["held", "active", "released"], statuses
        text = json.dumps(trails[0])
        assert "approve" in text, "no approval"
        assert "false_positive" in text, "no judgement"

    def streamed(self) -> None:
        """From a position of one worker, the other tells all that happened, in order and once."""
        changes, _ = self.world.decisions_since(self.position, 1)
        mine = [change for change in changes if change["decision_id"] == self.decision]
        statuses = [status for status, _ in groupby(change["status"] for change in mine)]
        assert statuses == ["held", "active", "released"], statuses
        assert len({json.dumps(change) for change in mine}) == len(mine), "a change came twice"
        assert mine[-1] in self.world.get("decisions", 1)["decisions"]
        self.steps.notes["stream_goes_on_at_the_other_worker"] = f"{len(changes)} changes"


def _kept(world: World) -> None:
    """What the alerts topic and Alertmanager held in the end, for whoever looks for a reason."""
    found = [json.loads(value) for _, value in world.cluster.read_topic(Topic.ALERTS)]
    (BUILD / "e2e-alerts.json").write_text(
        json.dumps({"kafka": found, "alertmanager": world.alerts()}, indent=2) + "\n"
    )
    (BUILD / "e2e-workers.log").write_text(world.cluster.logs(), encoding="utf-8")


def main() -> int:
    """Run it; the exit code."""
    steps = Steps(BUILD / "e2e.json", STEPS)
    with tempfile.TemporaryDirectory(prefix="stream-guard-e2e-") as name, World(Path(name)) as world:
        try:
            Story(world, steps, Path(name)).run()
        except Exception as error:  # noqa: BLE001 # every step has said what it is; servers have to stop
            sys.stderr.write(f"ended early: {type(error).__name__}: {error}\n")
        if hasattr(world, "cluster"):
            _kept(world)
    steps.write()
    false = [name for name, shown in steps.shown.items() if not shown]
    sys.stdout.write(f"{len(steps.shown) - len(false)} of {len(steps.shown)} steps shown; build/e2e.json\n")
    return 1 if false else 0


if __name__ == "__main__":
    sys.exit(main())
