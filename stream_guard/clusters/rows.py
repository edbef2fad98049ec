"""Current rows of the accounts that one clusters partition knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.records import DEFAULT_TENANT, ROW, DeltaBundle, put_rows, take_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

STATE_VERSION = 1


def tenant_of(key: str) -> str:
    """Tenant of an account key."""
    tenant, separator, _ = key.partition("\x1f")
    return tenant if separator else DEFAULT_TENANT


class RowStore:
    """Rows by account; the newer of two rows stays, so deltas may repeat and come late.

    Bounded by `max_rows`: past it the accounts that were silent longest go first, suspects last.
    """

    def __init__(self, max_rows: int) -> None:
        self.rows: NDArray[np.void] = np.zeros(1_024, ROW)
        self.keys: list[str] = []
        self.tenant: list[int] = []
        self.tenants: list[str] = []
        self.dirty: set[int] = set()
        self.suspect: NDArray[np.bool_] = np.zeros(1_024, np.bool_)
        self._slots: dict[int, int] = {}
        self._max_rows = max_rows

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def live(self) -> NDArray[np.void]:
        """All rows, by slot."""
        return self.rows[: len(self.keys)]

    def merge(self, delta: DeltaBundle) -> None:
        """Take a delta in: each row replaces an older one of its account."""
        if not len(delta.rows):
            return
        accounts = delta.rows["account"].tolist()
        get = self._slots.get
        slots = np.fromiter((get(account, -1) for account in accounts), np.int64, len(accounts))
        for position in np.flatnonzero(slots < 0).tolist():
            slots[position] = self._slot(accounts[position], delta.keys[position])
        events, status_at = self.rows["events"][slots], self.rows["status_at"][slots]
        later = np.nan_to_num(delta.rows["status_at"], nan=-np.inf) >= np.nan_to_num(status_at, nan=-np.inf)
        newer = (delta.rows["events"] > events) | ((delta.rows["events"] == events) & later)
        slots = slots[newer]
        put_rows(self.rows, slots, take_rows(delta.rows, newer))
        self.dirty.update(slots.tolist())

    def shrink(self) -> list[int]:
        """Forget the least valuable accounts above the bound; returns the accounts that went."""
        excess = len(self.keys) - self._max_rows
        if excess <= 0:
            return []
        order = np.lexsort((self.live["last_ts"], self.suspect[: len(self.keys)]))
        return self._forget(np.sort(order[: excess + self._max_rows // 10]))

    def forget_silent(self, since: float) -> list[int]:
        """Forget who was last seen by `since`, once that is a tenth of all; whoever returns brings a complete row.

        At most a tenth of the bound at a time, because each is a key to delete in the next checkpoint.
        """
        gone = np.flatnonzero(self.live["last_ts"] <= since)
        return self._forget(gone[: self._max_rows // 10]) if len(gone) > max(1_000, len(self) // 10) else []

    def _forget(self, gone: NDArray[np.int64]) -> list[int]:
        accounts: list[int] = self.live["account"][gone].tolist()
        keep = np.ones(len(self.keys), np.bool_)
        keep[gone] = False
        kept = np.flatnonzero(keep)
        moved = {old: new for new, old in enumerate(kept.tolist())}
        capacity = max(1_024, 2 * len(kept))  # memory is given back
        rows, suspect = np.zeros(capacity, ROW), np.zeros(capacity, np.bool_)
        rows[: len(kept)], suspect[: len(kept)] = take_rows(self.rows, kept), self.suspect[kept]
        self.rows, self.suspect = rows, suspect
        self.keys = [self.keys[slot] for slot in kept.tolist()]
        self.tenant = [self.tenant[slot] for slot in kept.tolist()]
        self._slots = {account: slot for slot, account in enumerate(self.live["account"].tolist())}
        self.dirty = {moved[slot] for slot in self.dirty if slot in moved}
        return accounts

    def dump(self, slots: Iterable[int]) -> dict[bytes, bytes]:
        """Stored form of some rows: msgpack `[version, account key, row]`."""
        encode, listed, size = msgspec.msgpack.Encoder().encode, list(slots), ROW.itemsize
        rows = take_rows(self.rows, np.array(listed, np.int64))
        data, accounts = rows.tobytes(), rows["account"].tolist()
        return {
            row_key(account): encode((STATE_VERSION, self.keys[slot], data[place * size : (place + 1) * size]))
            for place, (slot, account) in enumerate(zip(listed, accounts, strict=True))
        }

    def load(self, states: Iterable[bytes]) -> int:
        """Take stored rows in; how many were of another version, or no rows."""
        decode, size, unreadable = _DECODER.decode, ROW.itemsize, 0
        keys: list[str] = []
        parts: list[bytes] = []
        for state in states:
            try:
                version, key, data = decode(state)
            except (msgspec.DecodeError, ValueError):
                unreadable += 1
                continue
            if version != STATE_VERSION or len(data) != size:
                unreadable += 1
                continue
            keys.append(key)
            parts.append(data)
        rows = np.frombuffer(b"".join(parts), ROW)
        slots = [self._slot(account, key) for account, key in zip(rows["account"].tolist(), keys, strict=True)]
        put_rows(self.rows, np.array(slots, np.int64), rows)
        return unreadable

    def _slot(self, account: int, key: str) -> int:
        known = self._slots.get(account)
        if known is not None:
            return known
        slot = len(self.keys)
        if slot == len(self.rows):
            self.rows = np.concatenate((self.rows, np.zeros(slot, ROW)))
            self.suspect = np.concatenate((self.suspect, np.zeros(slot, np.bool_)))
        self._slots[account] = slot
        self.keys.append(key)
        tenant = tenant_of(key)
        if tenant not in self.tenants:
            self.tenants.append(tenant)
        self.tenant.append(self.tenants.index(tenant))
        return slot


_DECODER = msgspec.msgpack.Decoder(tuple[int, str, bytes])


def row_key(account: int) -> bytes:
    """Key under which a row is stored inside its partition."""
    return b"r%016x" % account
