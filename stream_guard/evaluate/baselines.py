"""Three simple detectors on the same records, to show what the product adds.

* `half_space_trees`: River's HalfSpaceTrees over one row of features an account and hour; every account stands alone.
  One forest serves all accounts, since a forest for each would see a few dozen rows and learn nothing.
* `rate_limit`: one static limit of requests an account and clock hour.
* `shared_value`: any TLS fingerprint or address block (IPv4 /24) that accounts share is one cluster; large ones count.

Each gives every account one number. Its threshold is chosen with the truth in hand, as low as it may be while no more
honest accounts are flagged than the product acted on in the same trial; that favours the baselines. Beside it stands
what they would reach if they might flag one honest account in a thousand. An account's exchanges count as leaked until
the account itself is flagged.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from river.anomaly import HalfSpaceTrees

from stream_guard.evaluate.scoring import rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_guard.evaluate.truth import Truth
    from stream_guard.records import Json

    Risen = list[tuple[float, float]]  # (number, from when on), both rising

HOUR: Final = 3_600
_FEATURES: Final = ("requests", "minutes", "tokens_in", "tokens_out", "tools", "errors")
_GENEROUS: Final = 1_000  # honest accounts for each that may be flagged
_WINDOW_ROWS: Final = 1_000
_STEPS: Final = sorted({int(1.1**power) for power in range(1, 150)})  # sizes at which a cluster's growth is timed


@dataclass(slots=True)
class _Hour:
    """One account in one clock hour."""

    requests: int = 0
    minutes: set[int] = field(default_factory=set)
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    tools: int = 0
    errors: int = 0

    def features(self) -> dict[str, float]:
        """Six numbers in [0, 1]; ten is about the logarithm of the largest there is."""
        count = self.requests
        values = (
            math.log1p(count) / 10,
            len(self.minutes) / 60,
            self.tokens_in / count / 10,
            self.tokens_out / count / 10,
            self.tools / count,
            self.errors / count,
        )
        return {name: min(value, 1.0) for name, value in zip(_FEATURES, values, strict=True)}


class Baselines:
    """Takes records in, in the order of their time.

    Args:
        truth: decides which accounts are honest when thresholds are set, nothing else.
    """

    def __init__(self, truth: Truth) -> None:
        self._hostile = truth.hostile
        self._hour = -1
        self._open: dict[str, _Hour] = {}
        self._forest = HalfSpaceTrees(n_trees=10, height=8, window_size=_WINDOW_ROWS, seed=0)
        self._rows = 0
        self._trees: dict[str, Risen] = defaultdict(list)
        self._rates: dict[str, Risen] = defaultdict(list)
        self._sharers: dict[str, dict[str, float]] = defaultdict(dict)
        self._times: dict[str, list[float]] = defaultdict(list)
        self._accounts: set[str] = set()

    def add(self, account: str, ts: float, record: Json) -> None:
        """Take one query in."""
        hour = int(ts // HOUR)
        if hour != self._hour:
            self._close()
            self._hour = hour
        self._accounts.add(account)
        if account in self._hostile:
            self._times[account].append(ts)
        row = self._open.get(account)
        if row is None:
            row = self._open[account] = _Hour()
        row.requests += 1
        row.minutes.add(int(ts // 60))
        row.tokens_in += math.log1p(record.get("input_tokens") or 0)
        row.tokens_out += math.log1p(record.get("output_tokens") or 0)
        row.tools += bool(record.get("tools"))
        row.errors += record.get("status", 200) >= 400
        self._rise(self._rates, account, row.requests, ts)
        for value in (record.get("tls_fp"), _block(record.get("ip"))):
            if value:
                self._sharers[value].setdefault(account, ts)

    def score(self, budget: int) -> Json:
        """Set thresholds and score.

        Args:
            budget: honest accounts that each baseline may flag.

        Returns:
            A JSON object by baseline.
        """
        self._close()
        found = {"half_space_trees": self._trees, "rate_limit": self._rates, "shared_value": self._shared()}
        generous = len(self._accounts - self._hostile) // _GENEROUS
        return {"honest_budget": budget} | {
            name: self._score(levels, budget) | {"one_in_a_thousand": self._score(levels, generous)}
            for name, levels in found.items()
        }

    def _close(self) -> None:
        """An hour is over: score each of its rows, then learn it."""
        end = float((self._hour + 1) * HOUR)
        for account, row in self._open.items():
            features = row.features()
            if self._rows >= _WINDOW_ROWS:
                level = self._forest.score_one(features)  # type: ignore[no-untyped-call]  # River's is untyped
                self._rise(self._trees, account, level, end)
            self._forest.learn_one(features)  # type: ignore[no-untyped-call]  # likewise
            self._rows += 1
        self._open.clear()

    def _rise(self, levels: dict[str, Risen], account: str, level: float, ts: float) -> None:
        risen = levels[account]
        if risen and level <= risen[-1][0]:
            return
        if account not in self._hostile:
            risen.clear()  # when an honest account rose does not matter
        risen.append((float(level), ts))

    def _shared(self) -> dict[str, Risen]:
        """How large the largest cluster of each account grew, and when."""
        levels: dict[str, Risen] = defaultdict(list)
        for sharers in self._sharers.values():
            joined = list(sharers.values())  # in order of time
            for account, since in sharers.items():
                sizes = _STEPS[: bisect_right(_STEPS, len(joined))] if account in self._hostile else ()
                levels[account] += [(float(size), max(joined[size - 1], since)) for size in (*sizes, len(joined))]
        return levels

    def _score(self, levels: Mapping[str, Risen], budget: int) -> Json:
        honest = self._accounts - self._hostile
        tops = sorted(max((level for level, _ in levels.get(account, ())), default=0.0) for account in honest)
        limit = tops[-budget - 1] if budget < len(tops) else 0.0  # flagged are those above it
        flagged = {
            account: min(times)
            for account in self._accounts
            if (times := [since for level, since in levels.get(account, ()) if level > limit])
        }
        hostile = self._times.keys()
        total = sum(len(times) for times in self._times.values())
        leaked = sum(
            int(np.searchsorted(np.array(times), flagged.get(account, math.inf)))
            for account, times in self._times.items()
        )
        return {
            "threshold": rounded(limit),
            "honest_flagged": len(flagged.keys() - self._hostile),
            "hostile_flagged": len(flagged.keys() & self._hostile),
            "recall": rounded(len(flagged.keys() & hostile) / len(hostile)) if hostile else None,
            "leaked": leaked,
            "leaked_share": rounded(leaked / total) if total else None,
        }


def _block(address: str | None) -> str | None:
    if not address or address.count(".") != 3:
        return address
    return address.rpartition(".")[0]
