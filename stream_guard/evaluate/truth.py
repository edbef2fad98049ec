"""What is true about simulated traffic, and when. The detector never sees any of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from stream_guard.records import Json

FEW: Final = 3


@dataclass(slots=True)
class Attack:
    """One campaign of the truth.

    Attributes:
        label: its name.
        accounts: every account that takes part.
        starts: first exchange, Unix seconds.
        exchanges: number of exchanges in the file.
        planned: number over the published window, where the truth knows it.
        facts: the truth as it came.
        second_pool: accounts that take over when the first pool is banned; empty where there is no such pool.
        times: when its accounts sent anything, from `starts` on; Unix seconds.
        second_times: the same of the second pool alone.
        seen: accounts in order of their first exchange, with its time.
    """

    label: str
    accounts: frozenset[str]
    starts: float
    exchanges: int
    planned: int | None
    facts: Json
    second_pool: frozenset[str] = frozenset()
    times: array[float] = field(default_factory=lambda: array("d"))
    second_times: array[float] = field(default_factory=lambda: array("d"))
    seen: dict[str, float] = field(default_factory=dict)

    def note(self, account: str, ts: float) -> None:
        """Take a record of one of its accounts in."""
        if ts >= self.starts:
            self.times.append(ts)
            self.seen.setdefault(account, ts)
            if account in self.second_pool:
                self.second_times.append(ts)

    @property
    def exact(self) -> bool:
        """Whether its accounts send nothing but the extraction, so that their records count it."""
        return len(self.times) == self.exchanges

    def leaked_before(self, ts: float) -> int:
        """Exchanges before a time.

        Counted from the records, or interpolated between the truth's marks (each stands for at most 1/399 of the
        exchanges) where the accounts also send other things.
        """
        if self.exact:
            return int(np.searchsorted(np.sort(np.frombuffer(self.times)), ts))
        marks = np.array(self.facts.get("progress") or [[self.starts * 1_000, 0]], dtype=np.float64)
        return round(float(np.interp(ts * 1_000, marks[:, 0], marks[:, 1], left=0.0)))

    def second_pool_seen_before(self, ts: float) -> int:
        """Accounts of the second pool that have sent something before a time."""
        return sum(self.seen.get(account, ts) < ts for account in self.second_pool)

    def seen_before(self, ts: float) -> int:
        """Accounts that have sent something before a time."""
        return sum(first < ts for first in self.seen.values())


@dataclass(frozen=True, slots=True)
class Truth:
    """Campaigns and honest groups of one file."""

    attacks: tuple[Attack, ...]
    groups: dict[str, frozenset[str]]
    hostile: frozenset[str]
    days: float


def read_truth(facts: Json) -> Truth:
    """Understand the truth that the simulator gives."""
    attacks = tuple(
        Attack(
            label=campaign["label"],
            accounts=frozenset(campaign["accounts"]),
            starts=campaign["starts"] / 1_000,
            exchanges=campaign["exchanges"],
            planned=campaign.get("exchanges_planned"),
            facts=campaign,
            second_pool=frozenset(campaign.get("pool_b", ())),
        )
        for campaign in facts["campaigns"]
    )
    return Truth(
        attacks=attacks,
        groups={group["label"]: frozenset(group["accounts"]) for group in facts["benign_groups"]},
        hostile=frozenset().union(*(attack.accounts for attack in attacks)),
        days=facts["days"],
    )


def same_group(found: Collection[str], real: frozenset[str]) -> bool:
    """Whether a found set of accounts is about a real one: it shares half of either, and no fewer than three."""
    shared = sum(account in real for account in found)
    return shared >= min(FEW, len(real)) and (2 * shared >= len(found) or 2 * shared >= len(real))
