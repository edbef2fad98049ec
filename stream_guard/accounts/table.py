"""Account state as arrays indexed by slot, and its stored form."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.errors import StateError
from stream_guard.records import ROW, TEMPLATE_SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

STATE_VERSION = 1
BLOOM_BYTES = 64

PRIVATE = np.dtype(
    [
        ("evidence_ts", "<f8"),  # newest query that is evidence
        ("own_mean", "<f4"),  # of ln(1 + queries an hour), once an epoch
        ("own_var", "<f4"),
        ("own_count", "<u4"),
        ("gaps", "<u4"),  # how many values each statistic has seen, as far as it matters
        ("outs", "<u4"),
        ("ins", "<u4"),
        ("template_counts", "<u4", TEMPLATE_SLOTS),  # aligned with ROW.templates
        ("bloom_keys", "<u4"),  # keys put into the filter since it was emptied
        ("bloom", "u1", BLOOM_BYTES),  # template keys seen once
    ]
)
"""What an account keeps to itself; `ROW` is what it shows to the clusters."""


def account_hash(key: str) -> int:
    """64-bit hash of an account key; the same in every process."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class AccountTable:
    """Slots of one accounts partition. A slot is never moved while its account is in memory."""

    def __init__(self, capacity: int = 1_024) -> None:
        self.slots: dict[str, int] = {}
        self.keys: list[str] = []
        self.rows: NDArray[np.void] = np.zeros(capacity, ROW)
        self.private: NDArray[np.void] = np.zeros(capacity, PRIVATE)

    def __len__(self) -> int:
        return len(self.keys)

    def slot(self, key: str) -> int:
        """Slot of `key`; an unknown account gets a fresh one."""
        known = self.slots.get(key)
        if known is not None:
            return known
        slot = len(self.keys)
        if slot == len(self.rows):
            self.rows = np.concatenate((self.rows, np.zeros(slot, ROW)))
            self.private = np.concatenate((self.private, np.zeros(slot, PRIVATE)))
        self.slots[key] = slot
        self.keys.append(key)
        row = self.rows[slot : slot + 1]
        row["account"] = account_hash(key)
        row["created_at"] = row["quota"] = row["status_at"] = np.nan
        return slot

    def slots_of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Slots of many keys, creating what is new; one dictionary look-up an event."""
        fresh = set(keys).difference(self.slots)
        if fresh:
            for key in keys:
                if key in fresh:
                    self.slot(key)
        return np.fromiter(map(self.slots.__getitem__, keys), np.int64, len(keys))

    def dump(self, slots: Iterable[int]) -> dict[bytes, bytes]:
        """Stored form of some accounts: msgpack `[version, key, row, private]`, keyed by `state_key`."""
        encode = msgspec.msgpack.Encoder().encode
        return {
            state_key(self.keys[slot]): encode(
                (STATE_VERSION, self.keys[slot], self.rows[slot].tobytes(), self.private[slot].tobytes())
            )
            for slot in slots
        }

    def load(self, state: bytes) -> str:
        """Take one stored account in and return its key.

        Raises:
            StateError: another version, or not a state at all.
        """
        try:
            version, key, row, private = _DECODER.decode(state)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError("account state: not readable") from error
        if version != STATE_VERSION or len(row) != ROW.itemsize or len(private) != PRIVATE.itemsize:
            raise StateError(f"account state: version {version} is not {STATE_VERSION}")
        slot = self.slot(key)
        self.rows[slot] = np.frombuffer(row, ROW)[0]
        self.private[slot] = np.frombuffer(private, PRIVATE)[0]
        return key


def dump_events(events: Sequence[int]) -> bytes:
    """Stored form of the event hashes that one epoch counted: msgpack `[version, 8 bytes each]`."""
    return msgspec.msgpack.encode((STATE_VERSION, np.asarray(events, "<u8").tobytes()))


def load_events(state: bytes) -> list[int]:
    """What `dump_events` wrote.

    Raises:
        StateError: another version, or not event hashes at all.
    """
    try:
        version, data = _EVENTS_DECODER.decode(state)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError("counted events: not readable") from error
    if version != STATE_VERSION or len(data) % 8:
        raise StateError(f"counted events: version {version} is not {STATE_VERSION}")
    events: list[int] = np.frombuffer(data, "<u8").tolist()
    return events


_EVENTS_DECODER = msgspec.msgpack.Decoder(tuple[int, bytes])
_DECODER = msgspec.msgpack.Decoder(tuple[int, str, bytes, bytes])


def state_key(key: str) -> bytes:
    """Key under which an account is stored inside its partition."""
    return b"a" + key.encode("utf-8", "surrogatepass")
