"""How a page shows a campaign: bars, lines and lists from the contract's objects. Pure: no I/O, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.encode import time_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stream_guard.records import Json

MEMBERS_A_PAGE: Final = 50
BAR_WIDTH: Final = 300.0  # units of the drawing
WIDTH, HEIGHT, _MARGIN = 640.0, 160.0, 8.0
_LABEL_WIDTH: Final = 16.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One term of the sum as a bar from the middle line."""

    signal: str
    contribution: float
    text: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on the timeline."""

    x: float
    at: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Members and exchanges over time as lines, each on its own scale, and what happened, as marks."""

    members: str
    exchanges: str
    most: int
    starts: str
    ends: str
    marks: Sequence[Mark]


def bars(evidence: Sequence[Json]) -> list[Bar]:
    """Bars on one scale; towards the right speaks for a campaign."""
    most = max((abs(term["contribution"]) for term in evidence), default=0.0) or 1.0
    half = BAR_WIDTH / 2.0
    found = []
    for term in evidence:
        size = half * abs(term["contribution"]) / most
        x = half if term["contribution"] >= 0.0 else half - size
        found.append(Bar(term["signal"], term["contribution"], term["text"], round(x, 1), round(size, 1)))
    return found


def total(evidence: Iterable[Json]) -> float:
    """The sum, which is the log-odds."""
    return math.fsum(term["contribution"] for term in evidence)


def members(campaign: Json, page: int) -> tuple[list[Json], int]:
    """One page of members, the surest first and those who left last, and how many pages there are."""
    ordered = sorted(
        campaign["members"],
        key=lambda one: (one["left_at"] is not None, -(one["membership"] or 0.0), one["account_id"]),
    )
    pages = max(1, -(-len(ordered) // MEMBERS_A_PAGE))
    first = (min(page, pages) - 1) * MEMBERS_A_PAGE
    return ordered[first : first + MEMBERS_A_PAGE], pages


TERMS: Final = {
    "groups": "the suspicious groups it is in",
    "absent": "groups that the core is in and it is not",
    "behaviour": "behaves like the core, not like everyone else",
}
"""What a member's own evidence says; any other term is a family of kinds that it shows like the core, or not."""


def _term(name: str, contribution: float) -> str:
    return TERMS.get(name, f"{name} {'like' if contribution >= 0.0 else 'unlike'} the core's")


def member_terms(member: Json) -> list[tuple[str, float]]:
    """What speaks for and against one member, in words, strongest first."""
    terms = sorted(member.get("evidence", {}).items(), key=lambda term: (-abs(term[1]), term[0]))
    return [(_term(name, contribution), contribution) for name, contribution in terms]


def shared(campaign: Json) -> list[tuple[str, list[Json]]]:
    """Fingerprints by kind, the kind with most values first."""
    kinds: dict[str, list[Json]] = {}
    for one in campaign.get("fingerprints", ()):
        kinds.setdefault(one["kind"], []).append(one)
    return sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))


def timeline(
    campaign: Json,
    history: Sequence[tuple[float, int, int]],
    decisions: Iterable[Json],
    entries: Iterable[Json],
    alert: Json | None,
) -> Timeline:
    """How the campaign grew, and when it was noticed, decided on and judged."""
    steps = [(time_seconds(one["joined_at"]), 1) for one in campaign["members"]]
    steps += [(time_seconds(one["left_at"]), -1) for one in campaign["members"] if one["left_at"] is not None]
    moments = [(campaign["first_seen"], "first seen")]
    if alert is not None:
        moments.append((alert["at"], f"alert {alert['status']}"))
    moments += [(one["at"], f"decision: {one['action']}, {one['status']}") for one in decisions]
    moments += [(one["at"], f"{one['actor']}: {one['action']}") for one in entries if one.get("kind") == "operation"]
    times = [at for at, _ in steps] + [time_seconds(campaign[name]) for name in ("first_seen", "last_seen")]
    times += [time_seconds(at) for at, _ in moments] + [at for at, _, _ in history]
    start, end = min(times), max(times)
    span = max(end - start, 1.0)

    def across(at: float) -> float:
        return round(_MARGIN + (at - start) / span * (WIDTH - 2 * _MARGIN), 1)

    def line(points: Sequence[tuple[float, int]], most: int) -> str:
        rise = HEIGHT - 3 * _MARGIN
        return " ".join(f"{across(at)},{round(HEIGHT - _MARGIN - number / most * rise, 1)}" for at, number in points)

    counts, count = [(start, 0)], 0
    for at, change in sorted(steps):
        counts.append((at, count))
        count += change
        counts.append((at, count))
    counts.append((end, count))
    most = max(number for _, number in counts) or 1
    grown = [(at, exchanges) for at, exchanges, _ in history]
    exchanges = line(grown, max((number for _, number in grown), default=0) or 1)
    marks: list[Mark] = []
    named = -_LABEL_WIDTH
    for number, (at, text) in enumerate(sorted(moments), 1):
        x = across(time_seconds(at))
        apart = x - named >= _LABEL_WIDTH  # or numbers would cover each other
        marks.append(Mark(x, at, text, str(number) if apart else ""))
        named = x if apart else named
    return Timeline(line(counts, most), exchanges, most, campaign["first_seen"], campaign["last_seen"], marks)
