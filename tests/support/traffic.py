"""Cheap events: the runtime's tests count them, nothing looks at what they mean."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TS = 1_760_000_000.0


def plain_events(count: int, accounts: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) pairs; a few accounts send most, event time advances 10 ms an event."""
    generator = random.Random(seed)
    for number in range(count):
        account = f"acct-{int(accounts * generator.random() ** 2)}"
        ts = START_TS + number * 0.01
        yield account.encode(), b'{"event_id":"e%d","ts":%.2f,"account_id":"%s"}' % (number, ts, account.encode())


def totals(records: Iterator[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """What the counting stage must store."""
    return {key: b"%d" % count for key, count in Counter(key for key, _ in records).items()}
