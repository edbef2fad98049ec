"""What to read when more comes than can be read: whole accounts, all suspects, and a word about the rest.

Off unless a bound is set. A partition whose lag passes the bound leaves out the queries of most accounts, always the
same ones, until the lag has fallen to half of it. Accounts that are read are read whole, so what is known of them is
right; members of live campaigns are always read. Counts of campaigns that form meanwhile are of what was read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog

from stream_guard.accounts.table import account_hash
from stream_guard.errors import StateUnavailableError
from stream_guard.pausing import pause
from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 10.0
_SCALE = 1 << 64


class Suspects(Protocol):
    """Where the members of live campaigns are written."""

    async def members(self) -> frozenset[str]:
        """Their account keys.

        Raises:
            StateUnavailableError: Redis does not answer.
        """
        ...


class Shedder:
    """Chooses accounts of partitions that are too far behind.

    Args:
        lag_records: queries that may wait in a partition.
        keep_share: of the accounts that nobody suspects, in [0, 1].
        suspects: who is always read.
        monotonic: seconds.
    """

    def __init__(
        self,
        lag_records: int,
        keep_share: float,
        suspects: Suspects,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lag_records, self._below = lag_records, int(keep_share * _SCALE)
        self._source, self._monotonic = suspects, monotonic
        self._suspects: frozenset[str] = frozenset()
        self._since: dict[int, float] = {}
        self._skipped: dict[int, int] = {}

    async def run(self) -> None:
        """Keep the suspects fresh; the last known ones count while Redis is away."""
        while True:
            try:
                self._suspects = await self._source.members()
            except StateUnavailableError as error:
                log.warning("suspects unknown for now, the last known ones are read", error=str(error))
            await pause(REFRESH_SECONDS)

    def observe_lag(self, topic: str, partition: int, records: int) -> None:
        """Begin or end with a partition."""
        if topic != Topic.QUERIES:
            return
        if records > self._lag_records and partition not in self._since:
            self._since[partition], self._skipped[partition] = self._monotonic(), 0
            log.warning("too far behind: reading some accounts only", partition=partition, lag=records)
        elif records <= self._lag_records // 2 and partition in self._since:
            seconds = self._monotonic() - self._since.pop(partition)
            skipped = self._skipped.pop(partition)
            log.warning("caught up: reading all accounts", partition=partition, skipped=skipped, seconds=round(seconds))

    def keep(self, partition: int, keys: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which of these queries to read, by account; None = all."""
        if partition not in self._since:
            return None
        chosen = {key: key in self._suspects or account_hash(key) < self._below for key in set(keys)}
        kept = np.fromiter(map(chosen.__getitem__, keys), np.bool_, len(keys))
        self._skipped[partition] += len(keys) - int(kept.sum())
        return kept
