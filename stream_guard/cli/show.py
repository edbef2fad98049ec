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

    from stream_guard.records import Json

MEMBERS_SHOWN: Final = 25
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
    """What it is, why we think so, and who is in it."""
    present = [member for member in campaign["members"] if member["left_at"] is None]
    capabilities = ", ".join(f"{name} {count:,}" for name, count in campaign["exchanges_by_capability"].items())
    _lines(
        [
            f"{campaign['campaign_id']}  {campaign['verdict']}  log-odds {campaign['log_odds'] or 0:+.2f}",
            f"{campaign['exchanges']:,} exchanges, {campaign['exchanges_per_hour'] or 0:,.0f} an hour now",
            f"{campaign['output_tokens']:,} output tokens",
            f"from {short_time(campaign['first_seen'])} to {short_time(campaign['last_seen'])}",
            *([f"merged into {campaign['merged_into']}"] if campaign["merged_into"] else []),
            *([f"split from {campaign['split_from']}"] if campaign["split_from"] else []),
            f"by capability: {capabilities or '-'}",
            "",
            "Evidence, in natural log-odds:",
            *(f"  {term['contribution']:+7.2f}  {term['text'] or term['signal']}" for term in campaign["evidence"]),
            "",
            f"{len(present):,} members now, {len(campaign['members']):,} ever:",
        ]
    )
    first = sorted(campaign["members"], key=lambda item: (item["left_at"] is not None, -(item["membership"] or 0.0)))
    rows = [
        (
            member["account_id"],
            f"{member['membership'] or 0:.2f}",
            short_time(member["joined_at"]),
            short_time(member["left_at"]),
        )
        for member in first[:MEMBERS_SHOWN]
    ]
    _table(("account", "membership", "joined", "left"), rows, "none", right=(1,))
    if len(first) > MEMBERS_SHOWN:
        _lines([f"and {len(first) - MEMBERS_SHOWN:,} more: use --json for all of them"])


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
