"""What the demo says at its end: the alert, its evidence, who was found, what would be done, where to look next."""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.cli.show import harmless, short_time
from stream_guard.encode import time_seconds, time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stream_guard.cli.demo_traffic import DemoTraffic
    from stream_guard.records import Json

WIDTH: Final = 100
_EXONERATING: Final = {"prior", "institution", "one_organisation"}  # their sentences say so themselves
_TEXT: Final = WIDTH - 29
_NEXT: Final = (
    ("stream-guard campaigns {campaign}", "the campaign with its evidence and members"),
    ("stream-guard decisions list", "what is limited, held or simulated"),
    (
        "stream-guard feedback --campaign {campaign} --label false_positive --reason 'a class of ours'",
        "say that it was wrong; its limits are lifted",
    ),
    ("stream-guard allow add account {account} --reason 'a customer we know'", "leave an account alone"),
    ("stream-guard kill-switch on --reason 'limits hit the wrong people'", "lift every limit at once"),
    ("stream-guard kill-switch off --reason 'all is well'", "let limits return"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the worker knows at the end, and when it first said so."""

    alert: Json
    campaign: Json
    decisions: Sequence[Json]
    first_alert_at: str


@dataclass(frozen=True, slots=True)
class Scores:
    """The campaign's present members against the truth."""

    members: int
    right: int
    hostile: int

    @property
    def precision(self) -> float:
        """Share of the members that belong to the campaign."""
        return self.right / self.members if self.members else 0.0

    @property
    def recall(self) -> float:
        """Share of the campaign's accounts that are members."""
        return self.right / self.hostile if self.hostile else 0.0


def score_members(campaign: Json, traffic: DemoTraffic) -> Scores:
    """Compare."""
    members = {member["account_id"] for member in campaign["members"] if member["left_at"] is None}
    return Scores(len(members), len(members & traffic.hostile), len(traffic.hostile))


def report_lines(found: Found, traffic: DemoTraffic, urls: Mapping[str, str]) -> Iterator[str]:
    """The report, line by line."""
    yield from _alert(found.alert)
    yield from _evidence(found.alert)
    yield from _members(found, traffic)
    yield from _decision(found.decisions)
    yield from _next(found.campaign, urls)


def _alert(alert: Json) -> Iterator[str]:
    yield _heading("The alert")
    yield f"{alert['severity']}: {alert['verdict'].replace('_', ' ')}, confidence {alert['confidence']:.3f}"
    subject = alert["subject"]
    yield f"{subject['scope']} {harmless(subject['id'])}, alert {alert['alert_id']}, {alert['status']}"
    yield (
        f"{alert['members']:,} accounts, {alert['exchanges']:,} exchanges, {alert['output_tokens']:,} output tokens, "
        f"first seen {short_time(alert['first_seen'])}"
    )


def _evidence(alert: Json) -> Iterator[str]:
    yield _heading("Why: each line adds to the log-odds")
    for term in alert["evidence"]:
        text = harmless(term["text"] or term["signal"])
        if term["contribution"] < 0.0 and term["signal"] not in _EXONERATING:
            text = f"speaks against it, for this is not so: {text}"
        wrapped = textwrap.wrap(text, _TEXT) or [""]
        yield f"{term['contribution']:+8.2f}  {term['signal']:<18} {wrapped[0]}"
        yield from (" " * 29 + line for line in wrapped[1:])
    total = sum(term["contribution"] for term in alert["evidence"])
    yield f"{total:+8.2f}  sum; the alert says {alert['log_odds']:+.2f}, which is confidence {alert['confidence']:.3f}"


def _members(found: Found, traffic: DemoTraffic) -> Iterator[str]:
    scores = score_members(found.campaign, traffic)
    first = time_seconds(found.first_alert_at)
    leaked, total = traffic.leaked_before(first), traffic.exchanges
    yield _heading("Found against the truth, which the detector never saw")
    yield f"members    {scores.members} found, {scores.right} of them right, {scores.hostile} in the campaign"
    yield f"precision  {scores.precision:.3f}"
    yield f"recall     {scores.recall:.3f}"
    yield (
        f"time       {(first - traffic.campaign_starts) / 60:.0f} minutes of event time from the campaign's start "
        f"({short_time(time_text(traffic.campaign_starts))}) to the first alert"
    )
    yield f"leaked     {leaked:,} of {total:,} exchanges before the first alert"
    yield f"honest     {len(traffic.honest):,} accounts, {scores.members - scores.right} of them among the members"


def _decision(decisions: Sequence[Json]) -> Iterator[str]:
    yield _heading("The decision")
    if not decisions:
        yield "none"
    for decision in decisions[:3]:
        limit = decision["limit"]
        rate = f" to {limit['requests_per_minute']:,.0f} requests a minute, shared by all members" if limit else ""
        dry = ", simulated: a dry run limits nobody" if decision["simulated"] else ""
        yield f"{decision['action']} {decision['subject']['scope']} {harmless(decision['subject']['id'])}{rate}"
        yield f"{decision['status']}{dry}, until {short_time(decision['expires_at'])}"
        yield from textwrap.wrap(f"because {harmless(decision['reason'])}", WIDTH)


def _next(campaign: Json, urls: Mapping[str, str]) -> Iterator[str]:
    yield _heading("Where to look next")
    if urls:
        yield "This demo still runs. In another terminal:"
        yield from (f"  {name:<12} {url}" for name, url in urls.items())
    else:
        yield "`stream-guard demo --keep` leaves everything running. Then, in another terminal:"
    account = next((member["account_id"] for member in campaign["members"]), "ID")
    names = {"campaign": shlex.quote(harmless(campaign["campaign_id"])), "account": shlex.quote(harmless(account))}
    yield from (f"  {command.format(**names)}\n      {text}" for command, text in _NEXT)


def _heading(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}"
