"""Records of a run: the simulator's, with duplicates, disorder, lateness and rubbish put in by the seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from stream_guard.accounts.table import account_hash
from stream_guard.simulate import simulate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

DAYS = 0.75  # the campaign of the demo starts after fifteen hours
MANY, FEW = (1_500, 14_000), (500, 7_600)  # honest accounts, and about how many records these have by their scale
FIXED = 9_800  # records that there are besides
BURST = 400  # records that one fault of the stream touches
LATENESS_MS = 4_000  # below the policy's allowed lateness: order must not matter
LATE_BY = 3_000  # records of one world by which a late one is late: far beyond the allowed lateness
WORLD_EVENTS = 350_000  # more are several worlds side by side, each a tenant: more campaigns and alerts

Pair = tuple[str, bytes]
"""Account and record."""


@dataclass(frozen=True, slots=True)
class Item:
    """One record on its way to a partition of the queries."""

    partition: int
    key: bytes
    value: bytes


MALFORMED: Sequence[bytes] = (
    b"{",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b'{"event_id":"x","ts":1760000000000}',
    b'{"event_id":7,"ts":1760000000000,"account_id":"x"}',
    b'{"event_id":"x","ts":1760000000000,"account_id":"x\\u0001"}',
    b'{"event_id":"x","ts":"yesterday","account_id":"x"}',
    b'{"type":"rumour","event_id":"x","ts":1760000000000,"account_id":"x"}',
    b'{"event_id":"x","ts":1760000000000,"account_id":"x","prompt":' + b"[" * 2_000 + b"}",
)


def duplicate(pairs: list[Pair], start: int, generator: random.Random) -> None:
    """Send some records again, soon after the first time."""
    stop = min(start + BURST, len(pairs))
    for at in sorted(generator.sample(range(start, stop), (stop - start) // 4), reverse=True):
        pairs.insert(min(len(pairs), at + generator.randrange(1, 50)), pairs[at])


def late(pairs: list[Pair], start: int, generator: random.Random) -> None:
    """Hold some records back until their epoch has closed."""
    stop = min(start + BURST, len(pairs))
    chosen = sorted(generator.sample(range(start, stop), (stop - start) // 8), reverse=True)
    held = [pairs.pop(at) for at in chosen]
    there = min(start + _late_by(pairs), len(pairs))
    pairs[there:there] = held


def reorder(pairs: list[Pair], start: int, generator: random.Random) -> None:
    """Shuffle what happened within the allowed lateness."""
    times = [_time(value) for _, value in pairs[start : start + BURST]]
    jittered = [(ts + generator.randrange(LATENESS_MS), at) for at, ts in enumerate(times)]
    pairs[start : start + BURST] = [pairs[start + at] for _, at in sorted(jittered)]


def malform(pairs: list[Pair], start: int, generator: random.Random) -> None:
    """Put rubbish between the records."""
    for _ in range(40):
        at = min(len(pairs) - 1, start + generator.randrange(BURST))
        pairs.insert(at, (pairs[at][0], generator.choice(MALFORMED)))


STREAM_FAULTS: dict[str, Callable[[list[Pair], int, random.Random], None]] = {
    "records_duplicate": duplicate,
    "records_late": late,
    "records_malformed": malform,
    "records_reordered": reorder,
}


def simulated(events: int, seed: int) -> list[Pair]:
    """At least so many records of the demo's scenario: honest accounts, and one campaign of 200 in each world."""
    worlds = _worlds(events)
    if worlds == 1:
        return _world(events, seed, MANY if events >= MANY[1] + FIXED else FEW, {})
    found: list[tuple[int, Pair]] = []
    for number in range(worlds):
        pairs = _world(-(-events // worlds), seed * worlds + number, FEW, {"tenant": f"t{number}"})
        found += [(_time(pair[1]), pair) for pair in pairs]
    return [pair for _, pair in sorted(found, key=itemgetter(0))]


def _world(events: int, seed: int, size: tuple[int, int], more: dict[str, Any]) -> list[Pair]:
    accounts, per_scale = size
    scale = max(1.0, (events - FIXED) / per_scale)
    encode = msgspec.json.Encoder().encode
    while True:
        rows = simulate("demo", seed=seed, days=DAYS, background_accounts=accounts, background_scale=scale).records
        queries: list[dict[str, Any]] = [row for row in rows if row.get("type", "query") == "query"]
        if len(queries) >= events:
            return [(str(row["account_id"]), encode(row | more)) for row in queries]
        scale *= 1.05 * events / len(queries)


def disturbed(pairs: list[Pair], faults: Sequence[str], generator: random.Random) -> list[str]:
    """Apply faults of the stream; where each one is, for the log."""
    told = []
    for number, kind in enumerate(faults):
        share = (number + generator.random()) / len(faults)
        start = int(share * max(1, len(pairs) - _late_by(pairs) - 2 * BURST))
        STREAM_FAULTS[kind](pairs, start, generator)
        told.append(f"{kind} from record {start:,}")
    return told


def addressed(pairs: Sequence[Pair], partitions: int) -> list[Item]:
    """Each record with its partition, which is its account's."""
    return [Item(account_hash(account) % partitions, account.encode(), value) for account, value in pairs]


def _worlds(events: int) -> int:
    return max(1, round(events / WORLD_EVENTS))


def _late_by(pairs: Sequence[Pair]) -> int:
    return LATE_BY * _worlds(len(pairs))


def _time(value: bytes) -> int:
    try:
        return int(json.loads(value)["ts"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
