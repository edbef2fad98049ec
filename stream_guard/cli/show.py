"""Campaigns, decisions and the rest as tables for people. Text from outside can neither style nor steer a terminal."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stream_guard.app.decision_stream import Event
    from stream_guard.records import Json

MEMBERS_SHOWN: Final = 25
SHARED_SHOWN: Final = 5  # fingerprints of a kind
AUDIT_SHOWN: Final = 10
_PLAIN_WIDTH: Final = 200  # columns in a pipe
_STYLES: Final[Mapping[str, str]] = {"extraction_campaign": "bold red", "held": "bold yellow", "active": "bold"}


def show_json(data: object) -> None:
    """For machines: one JSON value, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def show_campaigns(campaigns: Sequence[Json]) -> None:
    """One line each, fastest first."""
    columns = ("campaign", "verdict", "exchanges/h", "exchanges", "members", "first seen", "last seen")
    rows = [
        (
            item["campaign_id"],
            f"merged into {item['merged_into']}" if item["merged_into"] else item["verdict"],
            f"{item['exchanges_per_hour'] or 0:,.0f}",
            f"{item['exchanges']:,}",
            f"{item['member_count']:,}",
            short_time(item["first_seen"]),
            short_time(item["last_seen"]),
        )
        for item in campaigns
    ]
    _table(columns, rows, "no campaigns", right=(2, 3, 4))


def show_campaign(campaign: Json) -> None:
    """All that is known: what it is and why, who is in it, what was decided and done."""
    present = [member for member in campaign["members"] if member["left_at"] is None]
    capabilities = ", ".join(f"{name} {count:,}" for name, count in campaign["exchanges_by_capability"].items())
    alert = campaign["alert"]
    _lines(
        [
            f"{campaign['campaign_id']}  {campaign['verdict']}  log-odds {campaign['log_odds'] or 0:+.2f}",
            campaign["state"] + (f": {alert['severity']}, alert {alert['alert_id']}" if alert else ""),
            f"{campaign['exchanges']:,} exchanges, {campaign['exchanges_per_hour'] or 0:,.0f} an hour now",
            f"{campaign['output_tokens']:,} output tokens",
            f"from {short_time(campaign['first_seen'])} to {short_time(campaign['last_seen'])}",
            *([f"merged into {campaign['merged_into']}"] if campaign["merged_into"] else []),
            *([f"split from {campaign['split_from']}"] if campaign["split_from"] else []),
            f"by capability: {capabilities or '-'}",
            *(
                f"shares {kind}: {', '.join(values[:SHARED_SHOWN])}{' …' if len(values) > SHARED_SHOWN else ''}"
                for kind, values in _shared(campaign)
            ),
            *(f"component {number}: {text}" for number, text in enumerate(_components(campaign), 1)),
            *(
                f"similar to {one['campaign_id']}  {one['verdict']}  {100 * one['similarity']:.0f}%"
                for one in campaign["similar"]
            ),
            "",
            "Evidence, in natural log-odds:",
            *(f"  {term['contribution']:+7.2f}  {term['text'] or term['signal']}" for term in campaign["evidence"]),
            "",
            f"Decisions{', in a dry run' if campaign['dry_run'] else ''}:",
        ]
    )
    show_decisions(campaign["decisions"])
    _lines(
        [
            *(
                f"  policy: {one['action']} from {one['min_confidence']:g}: {one['text']}"
                for one in campaign["would_decide"]
            ),
            *(
                f"  plan {one['plan'] or 'unknown'}, {one['members']:,} members: {'; '.join(one['rungs'])}"
                for one in campaign["by_plan"]
            ),
            "",
            f"{len(present):,} members now, {len(campaign['members']):,} ever:",
        ]
    )
    _show_members(campaign["members"])
    _lines(["", "Audit:"])
    show_audit(campaign["audit"][:AUDIT_SHOWN])


def _show_members(members: Sequence[Json]) -> None:
    first = sorted(members, key=lambda item: (item["left_at"] is not None, -(item["membership"] or 0.0)))
    rows = [
        (
            member["account_id"],
            f"{member['membership'] or 0:.2f}",
            f"{member['exchanges']:,}" if "exchanges" in member else "-",
            short_time(member["joined_at"]),
            short_time(member["left_at"]),
        )
        for member in first[:MEMBERS_SHOWN]
    ]
    _table(("account", "membership", "exchanges", "joined", "left"), rows, "none", right=(1, 2))
    if len(first) > MEMBERS_SHOWN:
        _lines([f"and {len(first) - MEMBERS_SHOWN:,} more: use --json for all of them"])


def _components(campaign: Json) -> list[str]:
    """What each customer of a campaign's pool asks with, in words; empty where only one is known."""
    found = campaign.get("components", ())
    if len(found) < 2:
        return []
    return [
        f"{one['share']:.0%} of the templated requests"
        + "".join(
            f"; {kind.replace('_', ' ')} " + ", ".join(f"{value} {share:.0%}" for value, share in values.items())
            for kind, values in one["asked_with"].items()
        )
        for one in found
    ]


def _shared(campaign: Json) -> list[tuple[str, list[str]]]:
    kinds: dict[str, list[str]] = {}
    for one in campaign.get("fingerprints", ()):
        kinds.setdefault(one["kind"], []).append(one["value"])
    return sorted(kinds.items())


def show_alerts(alerts: Sequence[Json]) -> None:
    """One line each, newest first."""
    columns = ("alert", "severity", "status", "verdict", "confidence", "about", "members", "exchanges", "at")
    rows = [
        (
            item["alert_id"],
            item["severity"],
            item["status"],
            item["verdict"],
            f"{item['confidence']:.3f}",
            f"{item['subject']['scope']} {item['subject']['id']}",
            f"{item['members']:,}",
            f"{item['exchanges']:,}",
            short_time(item["at"]),
        )
        for item in alerts
    ]
    _table(columns, rows, "no alerts", right=(4, 6, 7))


def show_audit(entries: Sequence[Json]) -> None:
    """One line each, newest first."""
    rows = [
        (
            short_time(item["at"]),
            item.get("tenant", "all"),
            item["actor"] + (f" ({item['via']})" if "via" in item else ""),
            item["action"] + (f", {item['status']}" if "status" in item else ""),
            f"{item['scope']} {item['id']}" if "id" in item else f"decision {item.get('decision_id', '-')}",
            item["reason"],
        )
        for item in entries
    ]
    _table(("at", "tenant", "actor", "action", "about", "reason"), rows, "nothing yet")


def show_event(event: Event) -> None:
    """One line of a stream of decisions."""
    data, where = event.data, f"  [{event.position}]" if event.position else ""
    if event.name == "decision":
        limit = f" to {data['limit']['requests_per_minute']:,.0f} requests/min" if data["limit"] else ""
        what = f"{data['action']}{limit} {data['subject']['scope']} {data['subject']['id']}"
        run = " (dry run)" if data["simulated"] else ""
        text = f"{short_time(data['at'])}  {data['decision_id']}  {data['status']}{run}  {what}  {data['reason']}"
    elif event.name == "kill_switch":
        text = "kill switch ON: no limit is in force" if data["engaged"] else "kill switch off: limits are in force"
    elif event.name == "synced":
        text = f"these {data['decisions']:,} stand; changes follow"
    else:
        text = f"all decisions that stand, for this is {data['reason']}"
    _lines([text + where])


def show_event_json(event: Event) -> None:
    """The same for machines, one object a line."""
    click.echo(msgspec.json.encode({"event": event.name, "position": event.position, "data": event.data}))


def show_decisions(decisions: Sequence[Json]) -> None:
    """One line each, newest first; what waits for a person is said so."""
    columns = ("decision", "status", "action", "requests/min", "about", "expires", "actor", "reason")
    rows = [
        (
            item["decision_id"],
            item["status"] + (" (dry run)" if item["simulated"] else ""),
            item["action"],
            f"{item['limit']['requests_per_minute']:,.0f}" if item["limit"] else "-",
            f"{item['subject']['scope']} {item['subject']['id']}",
            short_time(item["expires_at"]),
            item["actor"],
            item["reason"],
        )
        for item in decisions
    ]
    _table(columns, rows, "no decisions", right=(3,))


def show_allowed(entries: Sequence[Json]) -> None:
    """The allow-list."""
    rows = [
        (
            item["scope"],
            item["id"],
            short_time(item.get("expires_at")),
            item["actor"],
            short_time(item["at"]),
            item["reason"],
        )
        for item in entries
    ]
    _table(("scope", "id", "until", "actor", "since", "reason"), rows, "nothing is on the allow-list")


def short_time(text: str | None) -> str:
    """Minutes are enough for people; always UTC.

    >>> short_time("2026-01-02T03:04:05.678Z")
    '2026-01-02 03:04Z'
    """
    return f"{text[:10]} {text[11:16]}Z" if text else "-"


def harmless(text: str) -> str:
    """Control and format characters become visible."""
    return "".join(
        "\ufffd" if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character for character in text
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], nothing: str, right: Sequence[int] = ()) -> None:
    found = list(rows)
    if not found:
        _lines([nothing])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        # An id is worth nothing when it is cut.
        table.add_column(name, justify="right" if number in right else "left", no_wrap=number == 0)
    for row in found:
        table.add_row(*(Text(harmless(cell), style=_STYLES.get(cell, "")) for cell in row))
    _console().print(table)


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(harmless(line))


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else _PLAIN_WIDTH, highlight=False)
