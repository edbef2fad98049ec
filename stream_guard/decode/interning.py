"""Text to the 32-bit numbers of `EventBatch.values`, remembered for the next event that shows the same text."""

from __future__ import annotations

import hashlib
import re
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

Names = dict[tuple[int, int], str]

COHORT_SECONDS: Final = 6 * 3600
_MAX_ENTRIES: Final = 1 << 15  # of one kind; then it starts afresh
_MAX_REMEMBERED: Final = 512  # characters; longer text is hashed every time
_NAME_CHARACTERS: Final = 64
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAPPED: Final = bytes(10) + b"\xff\xff"


def readable(text: str) -> str:
    """At most 64 characters for people; control and direction characters replaced."""
    return _UNPRINTABLE.sub("\ufffd", text[:_NAME_CHARACTERS])


def value_of(kind: Kind, text: str, hash_key: bytes = b"") -> int:
    """32-bit hash of what an event shows; 0 is kept for unknown."""
    data = bytes((kind,)) + text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=4, key=hash_key).digest(), "little") or 1


def address_prefix(text: str) -> str:
    """IPv4 /24, IPv6 /48 (IPv4-mapped: IPv4); anything else, such as an `iph:` hash, as it came."""
    try:
        if ":" not in text:
            packed = socket.inet_pton(socket.AF_INET, text)
        else:
            packed = socket.inet_pton(socket.AF_INET6, text)
            if packed[:12] != _MAPPED:
                return f"{socket.inet_ntop(socket.AF_INET6, packed[:6] + bytes(10))}/48"
            packed = packed[12:]
    except (OSError, ValueError):
        return text
    return f"{packed[0]}.{packed[1]}.{packed[2]}.0/24"


def cohort_name(number: int) -> str:
    """Start of a sign-up cohort."""
    return datetime.fromtimestamp(number * COHORT_SECONDS, UTC).strftime("%Y-%m-%dT%H:%MZ")


class Interner(dict["Hashable", int]):
    """Numbers of one kind by what stood in the record. Bounded; forgetting only costs time.

    `interner[shown]` never fails: None and the empty string are 0, anything new is hashed and named.
    """

    def __init__(self, kind: Kind, names: Names, hash_key: bytes, text_of: Callable[..., str] = str) -> None:
        super().__init__({None: 0, "": 0})
        self._kind = kind
        self._names = names
        self._hash_key = hash_key
        self._text_of = text_of
        self._name_of: Callable[[Hashable, str], str] = lambda _, text: text
        if kind is Kind.ASN:
            self._name_of = lambda _, text: f"AS{text}"
        if kind is Kind.COHORT:
            self._name_of = lambda number, _: cohort_name(number)  # type: ignore[arg-type]  # cohorts are numbers
            self[-1] = 0

    def __missing__(self, shown: Hashable) -> int:
        text = self._text_of(shown)
        value = value_of(self._kind, text, self._hash_key)
        self._names[int(self._kind), value] = readable(self._name_of(shown, text))
        if not isinstance(shown, str) or len(shown) <= _MAX_REMEMBERED:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
                self.update({None: 0, "": 0})
                if self._kind is Kind.COHORT:
                    self[-1] = 0
            self[shown] = value
        return value

    def column(self, shown: Sequence[Hashable]) -> NDArray[np.uint32]:
        """Numbers of a column."""
        return np.fromiter(map(self.__getitem__, shown), np.uint32, len(shown))


class RowInterner(dict[tuple["Hashable", ...], bytes]):
    """Numbers of several columns at once: one look-up for what usually comes together. Bounded."""

    def __init__(self, interners: Sequence[Interner]) -> None:
        super().__init__()
        self._interners = interners

    def __missing__(self, shown: tuple[Hashable, ...]) -> bytes:
        row = [interner[one] for interner, one in zip(self._interners, shown, strict=False)]
        row += [interner[shown] for interner in self._interners[len(shown) :]]
        packed = np.array(row, np.uint32).tobytes()
        if sum(len(one) for one in shown if isinstance(one, str)) <= _MAX_REMEMBERED:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
            self[shown] = packed
        return packed

    def columns(self, *shown: Sequence[Hashable]) -> NDArray[np.uint32]:
        """(n, interners) numbers; an interner without a column of its own is asked for the whole tuple."""
        packed = b"".join(map(self.__getitem__, zip(*shown, strict=True)))
        return np.frombuffer(packed, np.uint32).reshape(-1, len(self._interners))


class ClientInterner(Interner):
    """CLIENT: (TLS, header, user agent) texts together; 0 when all three are unknown."""

    def __init__(self, names: Names, hash_key: bytes) -> None:
        super().__init__(Kind.CLIENT, names, hash_key)

    def __missing__(self, shown: Hashable) -> int:
        parts = [part or "" for part in shown]  # type: ignore[attr-defined]  # always a triple
        if not any(parts):
            return 0
        tls, header, agent = (
            value_of(kind, part, self._hash_key) if part else 0
            for kind, part in zip((Kind.TLS, Kind.HEADER, Kind.USER_AGENT), parts, strict=True)
        )
        value = value_of(Kind.CLIENT, f"{tls:08x}{header:08x}{agent:08x}", self._hash_key)
        agent_name, *rest = parts[::-1]
        self._names[int(Kind.CLIENT), value] = readable(" / ".join(filter(None, (agent_name[:40], *rest))))
        if sum(map(len, parts)) <= _MAX_REMEMBERED:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
            self[shown] = value
        return value


_BASE: Final = 0x9FB21C651E98DF25
_MAX_KEY_BYTES: Final = 4 * 513  # tenant, separator, id; four bytes a character
_POWERS: Final = np.full(_MAX_KEY_BYTES, _BASE, np.uint64)
_POWERS[0] = 1
np.multiply.accumulate(_POWERS, out=_POWERS)


def event_hashes(keys: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit hashes of event keys, the same in every process: a polynomial modulo 2**64, finished as in MurmurHash3.

    Not secret: who chooses event ids can already repeat one, which is all that a collision gives. About 0.15
    microseconds a key.
    """
    if not keys:
        return np.zeros(0, np.uint64)
    joined = "".join(keys)
    if joined.isascii():
        lengths = np.fromiter(map(len, keys), np.int64, len(keys))
        data = np.frombuffer(joined.encode(), np.uint8)
    else:
        encoded = [key.encode("utf-8", "surrogatepass") for key in keys]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        data = np.frombuffer(b"".join(encoded), np.uint8)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(len(data)) - np.repeat(starts, lengths)
    values = np.add.reduceat(data * _POWERS[within], starts)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values ^= values >> np.uint64(33)
        values *= np.uint64(factor)
    return np.asarray(values ^ (values >> np.uint64(33)))
