"""One accounts partition: events wait until their epoch closes, then change their accounts all at once.

An epoch is a fixed piece of event time. It closes when the partition's event time has passed its end by the allowed
lateness; its events are then taken in the order of account and time, however they arrived and however they were
batched. So a replay and a worker give the same bits. An event whose epoch has closed counts in the next one that
closes: late events are counted, never lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_guard.accounts.features import count_events, fade, learn_behaviour, learn_prompts
from stream_guard.accounts.segments import Segments
from stream_guard.accounts.table import AccountTable, state_key
from stream_guard.records import AccountStatus, AccountStatusValue, DeltaBundle, EventBatch, put_rows, take_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from stream_guard.policy import Epochs

SILENT_SECONDS = 86_400.0  # then an account waits in Redis: memory is for those who come within a day


@dataclass(frozen=True, slots=True)
class Closed:
    """One closed epoch: the delta, and what was counted."""

    delta: DeltaBundle
    events: int
    duplicates: int
    limited: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Events of one batch that wait for their epoch, with their slots and log offsets."""

    batch: EventBatch
    slots: NDArray[np.int64]
    offsets: NDArray[np.int64]


class AccountsStage:
    """State and open epochs of one partition. Pure: no I/O, no clock."""

    def __init__(self, partition: int, epochs: Epochs) -> None:
        self.partition = partition
        self.table = AccountTable()
        self.dirty: set[int] = set()
        self.watermark = float("-inf")
        self.closed_epoch = -1
        self.late = 0
        self._epochs = epochs
        self._waiting: dict[int, list[_Waiting]] = {}
        self._statuses: list[tuple[int, AccountStatus]] = []
        self._names: dict[tuple[int, int], str] = {}
        self._recent: set[int] = set()
        self._recent_epochs: deque[tuple[int, list[int]]] = deque()
        self._zones: list[tuple[int, int]] = []
        self._late_waiting: set[int] = set()
        self._evicted_epoch = -1

    def unknown(self, keys: Sequence[str]) -> list[bytes]:
        """Stored states that must be loaded before these accounts are added."""
        missing = set(keys).difference(self.table.slots)
        return [state_key(key) for key in dict.fromkeys(keys) if key in missing] if missing else []

    def load(self, states: Mapping[bytes, bytes]) -> int:
        """Take stored accounts in; how many of them could not be read."""
        return self.table.load(states)

    def evict(self, most: int) -> int:
        """Forget who was silent for a day; where too many stay, the longest silent above `most` and a tenth more.

        Only what is stored as it stands may go: call when nothing is dirty. Accounts with events or statuses that wait
        stay. Whoever comes back is loaded again, bit for bit.

        Returns:
            How many went.
        """
        excess = len(self.table) - most
        if excess <= 0 and self._evicted_epoch == self.closed_epoch:
            return 0
        self._evicted_epoch = self.closed_epoch
        candidate = np.zeros(len(self.table.rows), np.bool_)
        candidate[np.fromiter(self.table.slots.values(), np.int64, len(self.table))] = True
        for parts in self._waiting.values():
            for part in parts:
                candidate[part.slots] = False
        for _, status in self._statuses:
            if status.key in self.table.slots:
                candidate[self.table.slots[status.key]] = False
        candidate[list(self.dirty)] = False
        slots = np.flatnonzero(candidate)
        last_ts = self.table.rows["last_ts"][slots]
        gone = slots[last_ts < self.watermark - SILENT_SECONDS]
        if len(gone) < excess:
            gone = slots[np.argsort(last_ts, kind="stable")[: excess + most // 10]]
        self.table.forget(gone)
        self._shrink()
        return len(gone)

    def _shrink(self) -> None:
        """Let the table give memory back, and follow the slots that it moves."""
        moved = self.table.shrink()
        if moved is None:
            return
        self.dirty = set(moved[list(self.dirty)].tolist())
        for number, parts in self._waiting.items():
            self._waiting[number] = [replace(part, slots=moved[part.slots]) for part in parts]

    def add(self, batch: EventBatch, offsets: NDArray[np.int64]) -> None:
        """Let events wait for their epoch; event time moves on."""
        if not len(batch):
            return
        self._names.update(batch.names)
        slots = self.table.slots_of(batch.key)
        epoch = np.floor_divide(batch.ts, self._epochs.epoch_seconds).astype(np.int64)
        # What was closed when each event came, had the events come one by one: batches must make no difference.
        reached = np.maximum(np.maximum.accumulate(batch.ts), self.watermark)
        closed = np.maximum(self._due(reached).astype(np.int64), self.closed_epoch)
        late = epoch <= closed
        if self._zones and offsets[0] < self._zones[-1][0]:
            counted, again = self._read_before(offsets, epoch)
            kept = np.flatnonzero(~counted)
            if not len(kept):
                return
            late = (late & ~again)[kept]
            batch, slots, offsets, epoch = take(batch, kept), slots[kept], offsets[kept], epoch[kept]
            closed = closed[kept]
        self.late += int(late.sum())
        np.maximum(epoch, closed + 1, out=epoch)
        for number in np.unique(epoch).tolist():
            mine = epoch == number
            part = _Waiting(batch, slots, offsets) if mine.all() else _take_waiting(batch, slots, offsets, mine)
            self._waiting.setdefault(number, []).append(part)
        self.watermark = max(self.watermark, float(batch.ts.max()))

    def add_status(self, statuses: Iterable[tuple[int, AccountStatus]]) -> None:
        """Statuses, with their log offsets, take effect when the epoch of their time closes."""
        self._statuses.extend(statuses)

    def close_due(self) -> list[Closed]:
        """Close every epoch that event time has passed, oldest first."""
        if self.watermark == float("-inf"):
            return []
        return self.close_through(int(self._due(np.float64(self.watermark))))

    def _due(self, watermark: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
        """The last epoch that event time has passed."""
        return np.floor_divide(watermark - self._epochs.allowed_lateness_seconds, self._epochs.epoch_seconds) - 1

    def close_idle(self, watermark: float) -> list[Closed]:
        """Nothing arrives here while event time elsewhere is at `watermark`: close every epoch that ends by then."""
        if watermark == float("-inf"):
            return []
        return self.close_through(int(watermark // self._epochs.epoch_seconds) - 1)

    def close_through(self, through: int) -> list[Closed]:
        """Close every epoch up to `through`; the last one is reported even when nothing happened in it."""
        if through <= self.closed_epoch:
            return []
        wanted = sorted(number for number in self._waiting if number <= through)
        if not wanted or wanted[-1] != through:
            wanted.append(through)
        return [self._close(number) for number in wanted]

    @property
    def first_waiting_offset(self) -> int | None:
        """The lowest log offset that is not yet part of any state; None when nothing waits."""
        return min((int(part.offsets.min()) for parts in self._waiting.values() for part in parts), default=None)

    @property
    def first_waiting_status_offset(self) -> int | None:
        """The lowest log offset of a status that has not taken effect; None when nothing waits."""
        return min((offset for offset, _ in self._statuses), default=None)

    def late_waiting(self, read_until: int) -> list[int]:
        """Log offsets of the events that wait for a later epoch than their own."""
        seconds = self._epochs.epoch_seconds
        offsets = {offset for offset in self._late_waiting if offset >= read_until}
        for number, parts in self._waiting.items():
            for part in parts:
                offsets.update(part.offsets[part.batch.ts // seconds < number].tolist())
        return sorted(offsets)

    def zones(self, read_until: int) -> list[tuple[int, int]]:
        """Up to which log offset the events were read while which epoch was the last one closed, ascending."""
        read = [(read_until, self.closed_epoch)] if read_until else []
        return read + [zone for zone in self._zones if zone[0] > read_until]

    def resume(self, closed_epoch: int, zones: Sequence[tuple[int, int]], late_waiting: Iterable[int]) -> None:
        """Start after a checkpoint: what was read before it is read again from the first event that waited.

        Of those events the ones in closed epochs are in the states already, unless they came late and waited.
        """
        self.closed_epoch = closed_epoch
        self._zones, self._late_waiting = list(zones), set(late_waiting)

    def _read_before(
        self, offsets: NDArray[np.int64], epoch: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which events are in the states of a checkpoint, and which were read before it."""
        zone = np.searchsorted([until for until, _ in self._zones], offsets, side="right")
        closed = np.array([*(closed for _, closed in self._zones), -1])[zone]
        waiting = np.isin(offsets, np.fromiter(self._late_waiting, np.int64, len(self._late_waiting)))
        return (epoch <= closed) & ~waiting, zone < len(self._zones)

    def recent_events(self) -> list[tuple[int, list[int]]]:
        """Event hashes inside the duplicate window, by the epoch that counted them."""
        return list(self._recent_epochs)

    def restore_recent(self, epochs: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Put the duplicate window back."""
        for number, events in sorted(epochs):
            self._recent_epochs.append((number, list(events)))
            self._recent.update(events)

    def _close(self, number: int) -> Closed:
        parts = self._waiting.pop(number, [])
        self.closed_epoch = number
        touched: NDArray[np.int64] = np.zeros(0, np.int64)
        events = duplicates = limited = 0
        if parts:
            batch = _concatenate([part.batch for part in parts])
            slots = np.concatenate([part.slots for part in parts])
            fresh = self._fresh(number, batch.event)
            duplicates = len(batch) - int(fresh.sum())
            order = np.lexsort((batch.event, batch.ts, slots))
            order = order[fresh[order]]
            if len(order):
                batch, slots = take(batch, order), slots[order]
                touched = self._learn(batch, slots)
            events, limited = len(batch) if len(order) else 0, int(batch.limited.sum()) if len(order) else 0
        touched = np.union1d(touched, self._apply_statuses(number))
        self.dirty.update(touched.tolist())
        names, self._names = self._names, {}
        rows = take_rows(self.table.rows, touched)
        keys = [self.table.keys[slot] for slot in touched.tolist()]
        return Closed(DeltaBundle(self.partition, number, rows, keys, names), events, duplicates, limited)

    def _learn(self, batch: EventBatch, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        segments = Segments.from_sorted(slots)
        touched = slots[segments.start]
        rows, private = take_rows(self.table.rows, touched), take_rows(self.table.private, touched)
        end = fade(rows, segments, batch)
        evidence = np.flatnonzero(~batch.limited)
        if len(evidence) == len(batch):
            learn_behaviour(rows, private, segments, batch, end)
            learn_prompts(rows, private, segments.of, batch)
        elif len(evidence):
            of = segments.of[evidence]
            where = np.unique(of)
            some, own, kept = take_rows(rows, where), take_rows(private, where), take(batch, evidence)
            position = np.searchsorted(where, of)
            learn_behaviour(some, own, Segments.from_sorted(position), kept, end[where])
            learn_prompts(some, own, position, kept)
            put_rows(rows, where, some)
            put_rows(private, where, own)
        count_events(rows, segments, batch)
        put_rows(self.table.rows, touched, rows)
        put_rows(self.table.private, touched, private)
        return touched

    def _fresh(self, number: int, events: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Mark events that were not counted before, and remember them inside the bounded window."""
        unique, first = np.unique(events, return_index=True)
        listed = unique.tolist()
        again = self._recent.intersection(listed)
        fresh = np.zeros(len(events), np.bool_)
        fresh[first] = True
        if again:
            fresh &= ~np.isin(events, np.fromiter(again, np.uint64, len(again)))
            listed = [event for event in listed if event not in again]
        self._recent.update(listed)
        self._recent_epochs.append((number, listed))
        oldest = number - self._epochs.duplicate_window_seconds / self._epochs.epoch_seconds
        while len(self._recent_epochs) > 1 and (
            self._recent_epochs[0][0] < oldest or len(self._recent) > self._epochs.duplicate_window_events
        ):
            self._recent.difference_update(self._recent_epochs.popleft()[1])
        return fresh

    def _apply_statuses(self, number: int) -> NDArray[np.int64]:
        end = (number + 1) * self._epochs.epoch_seconds
        due = sorted((item for item in self._statuses if item[1].ts < end), key=lambda item: (item[1].ts, item[0]))
        self._statuses = [item for item in self._statuses if item[1].ts >= end]
        touched = []
        for _, status in due:
            slot = self.table.slot(status.key)
            row = self.table.rows[slot : slot + 1]
            if not row["status_at"][0] > status.ts:
                row["status_at"] = status.ts
                row["status"] = AccountStatusValue(status.status)
                touched.append(slot)
        return np.asarray(touched, np.int64)


_COLUMNS = tuple(field.name for field in fields(EventBatch) if field.name not in {"key", "names"})


def take(batch: EventBatch, index: NDArray[np.int64]) -> EventBatch:
    """Some events of a batch, in the order of `index`; account keys are no longer needed and are left out."""
    return EventBatch(key=(), **{name: getattr(batch, name)[index] for name in _COLUMNS})


def _take_waiting(
    batch: EventBatch, slots: NDArray[np.int64], offsets: NDArray[np.int64], mine: NDArray[np.bool_]
) -> _Waiting:
    index = np.flatnonzero(mine)
    return _Waiting(take(batch, index), slots[index], offsets[index])


def _concatenate(batches: Sequence[EventBatch]) -> EventBatch:
    if len(batches) == 1:
        return batches[0]
    columns: dict[str, Any] = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in _COLUMNS}
    return EventBatch(key=(), **columns)
