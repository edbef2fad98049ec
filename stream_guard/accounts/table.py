"""Account state as arrays indexed by slot, and its stored form."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from itertools import compress
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.accounts.packing import PRIVATE, pack, unpack
from stream_guard.errors import StateError
from stream_guard.records import ROW, take_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

STATE_VERSION = 1
_LEAST_CAPACITY = 1_024


def account_hash(key: str) -> int:
    """64-bit hash of an account key; the same in every process."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class AccountTable:
    """Slots of one accounts partition. Only `shrink` moves them; a slot whose account has left is used again."""

    def __init__(self, capacity: int = _LEAST_CAPACITY) -> None:
        self.slots: dict[str, int] = {}
        self.keys: list[str] = []
        self.rows: NDArray[np.void] = np.zeros(capacity, ROW)
        self.private: NDArray[np.void] = np.zeros(capacity, PRIVATE)
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.slots)

    def slot(self, key: str) -> int:
        """Slot of `key`; an unknown account gets a fresh one."""
        if key not in self.slots:
            self._add([key])
        return self.slots[key]

    def slots_of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Slots of many keys, creating what is new; one dictionary look-up an event."""
        fresh = set(keys).difference(self.slots)
        if fresh:
            self._add([key for key in dict.fromkeys(keys) if key in fresh])
        return np.fromiter(map(self.slots.__getitem__, keys), np.int64, len(keys))

    def _add(self, keys: Sequence[str]) -> None:
        """Give unknown accounts fresh slots."""
        used = len(self.keys)
        again = [self._free.pop() for _ in range(min(len(self._free), len(keys)))]
        slots = again + list(range(used, used + len(keys) - len(again)))
        for slot, key in zip(again, keys, strict=False):
            self.keys[slot] = key
        self.keys += keys[len(again) :]
        if len(self.keys) > len(self.rows):
            more = max(len(self.rows), len(self.keys) - len(self.rows))
            self.rows = np.concatenate((self.rows, np.zeros(more, ROW)))
            self.private = np.concatenate((self.private, np.zeros(more, PRIVATE)))
        self.slots.update(zip(keys, slots, strict=True))
        self.rows["account"][slots] = np.fromiter(map(account_hash, keys), np.uint64, len(keys))
        for name in ("created_at", "quota", "status_at"):
            self.rows[name][slots] = np.nan

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Make the slots of some accounts free."""
        for slot in slots.tolist():
            del self.slots[self.keys[slot]]
            self.keys[slot] = ""
        self.rows[slots], self.private[slots] = np.zeros(1, ROW), np.zeros(1, PRIVATE)
        self._free.extend(slots.tolist())

    def shrink(self) -> NDArray[np.int64] | None:
        """Give memory back where three of four slots are free: the new slot of each old one, None where all stay."""
        if len(self.rows) <= max(_LEAST_CAPACITY, 4 * len(self.slots)):
            return None
        kept = np.sort(np.fromiter(self.slots.values(), np.int64, len(self.slots)))
        moved = np.full(len(self.rows), -1)
        moved[kept] = np.arange(len(kept))
        capacity = max(_LEAST_CAPACITY, 2 * len(kept))
        rows, private = np.zeros(capacity, ROW), np.zeros(capacity, PRIVATE)
        rows[: len(kept)], private[: len(kept)] = take_rows(self.rows, kept), take_rows(self.private, kept)
        self.rows, self.private, self._free = rows, private, []
        self.keys = [self.keys[slot] for slot in kept.tolist()]
        self.slots = {key: slot for slot, key in enumerate(self.keys)}
        return moved

    def dump(self, slots: Iterable[int]) -> dict[bytes, bytes]:
        """Stored form of some accounts: msgpack `[version, packed]`, keyed by `state_key`."""
        encode, listed = msgspec.msgpack.Encoder().encode, list(slots)
        keys = [self.keys[slot] for slot in listed]
        places = np.array(listed, np.int64)
        packed = pack(take_rows(self.rows, places), take_rows(self.private, places))
        return {state_key(key): encode((STATE_VERSION, data)) for key, data in zip(keys, packed, strict=True)}

    def load(self, states: Mapping[bytes, bytes]) -> int:
        """Take stored accounts in, as `dump` gave them; how many could not be read."""
        keys, packed = [], []
        for key, state in states.items():
            with suppress(StateError, ValueError):  # not text
                account, data = account_of(key), _packed(state)
                keys.append(account)
                packed.append(data)
        if keys:
            rows, private, good = unpack(packed)
            if not good.all():
                keys, rows, private = list(compress(keys, good.tolist())), rows[good], private[good]
            slots = self.slots_of(keys)
            rows["account"] = self.rows["account"][slots]
            self.rows[slots], self.private[slots] = rows, private
        return len(states) - len(keys)


def _packed(state: bytes) -> bytes:
    """What `pack` gave.

    Raises:
        StateError: another version, or not a state at all.
    """
    try:
        version, packed = _DECODER.decode(state)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError("account state: not readable") from error
    if version != STATE_VERSION:
        raise StateError(f"account state: version {version} is not {STATE_VERSION}")
    return packed


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
_DECODER = msgspec.msgpack.Decoder(tuple[int, bytes])


def state_key(key: str) -> bytes:
    """Key under which an account is stored inside its partition."""
    return b"a" + key.encode("utf-8", "surrogatepass")


def account_of(state_key: bytes) -> str:
    """The account whose `state_key` this is.

    Raises:
        ValueError: not text.
    """
    return state_key[1:].decode("utf-8", "surrogatepass")
