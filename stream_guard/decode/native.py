"""Bytes of the contract's JSON records to columns: the hot path.

Good queries are decoded into structs by msgspec, turned into columns and judged column by column. Whatever does not
fit goes through `careful`, which reads the other record types and finds the reason of a refusal.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from stream_guard.decode.careful import UNREADABLE, account_key, has_control, read_record
from stream_guard.decode.columns import BAD_TIME, ColumnMaker, CreatedAt
from stream_guard.decode.fields import QUERY, QueryStruct
from stream_guard.decode.reasons import DeadLetterReason
from stream_guard.decode.times import parse_times
from stream_guard.errors import DecodeError
from stream_guard.records import DEFAULT_TENANT, SKETCH, AccountStatus, EventBatch, Feedback, ModelRelease
from stream_guard.sketch import parse_sketch, parse_sketches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NAMES: Final = tuple(field.name for field in QUERY)
_IDENTITIES: Final = tuple(field.name for field in QUERY if field.identity)
_QUERY_TYPES: Final = frozenset((None, "", "query"))
_DEFAULT_TENANTS: Final = frozenset((None, "", DEFAULT_TENANT))


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a list of records held. Positions are places in that list, ascending.

    Attributes:
        batch: the good queries.
        batch_index: position of each row of `batch`.
        statuses: account statuses.
        releases: model releases.
        feedback: judgements.
        refused: records that go to the dead letters; `reason` is a `DeadLetterReason`, messages quote nothing.
    """

    batch: EventBatch
    batch_index: NDArray[np.int64]
    statuses: list[tuple[int, AccountStatus]]
    releases: list[tuple[int, ModelRelease]]
    feedback: list[tuple[int, Feedback]]
    refused: list[tuple[int, DecodeError]]


@dataclass(slots=True)
class _Sorted:
    """Records sorted by what becomes of them."""

    rows: list[msgspec.Struct]
    index: list[int]
    statuses: list[tuple[int, AccountStatus]]
    releases: list[tuple[int, ModelRelease]]
    feedback: list[tuple[int, Feedback]]
    refused: list[tuple[int, DecodeError]]

    def refuse(self, position: int, reason: DeadLetterReason, detail: str = "") -> None:
        self.refused.append((position, DecodeError(reason, detail)))


class Decoder:
    """Bytes of any of the four record types to columns. Remembers texts (bounded); one per partition.

    Cost: 5 microseconds a query in batches of 500, 9 while most texts are new; a prompt adds its sketch.
    """

    def __init__(self, *, max_record_bytes: int = 1_048_576, hash_key: bytes = b"") -> None:
        """Make a decoder.

        Args:
            max_record_bytes: longer records are refused unread.
            hash_key: secret of at most 64 bytes that goes into every hash of a value; every worker needs the same.

        Raises:
            ValueError: the key is too long.
        """
        if len(hash_key) > 64:
            raise ValueError("hash_key has at most 64 bytes")
        self._max_record_bytes = max_record_bytes
        self._maker = ColumnMaker(hash_key)
        self._created_at = CreatedAt()
        self._decode = msgspec.json.Decoder(QueryStruct).decode

    def decode(self, values: Sequence[bytes | None], *, latest_ts: float) -> Decoded:
        """Decode records in order.

        Args:
            values: one JSON object each; None for a tombstone.
            latest_ts: Unix seconds; records with a later `ts` are refused.

        Returns:
            Everything that the records hold. Never raises, whatever the bytes.
        """
        found = self._read(values, latest_ts)
        columns: dict[str, Sequence[Any]] = dict.fromkeys(_NAMES, ())
        if found.rows:
            columns = dict(zip(_NAMES, zip(*map(msgspec.structs.astuple, found.rows), strict=True), strict=True))
        found.rows.clear()
        times = parse_times(columns["ts"]), self._created(columns["account_created_at"])
        sketched, sketches, reasons = _sketches(columns)
        reasons |= _problems(columns, times, latest_ts)
        if reasons:
            keep = np.ones(len(found.index), np.bool_)
            keep[list(reasons)] = False
            for place, (reason, detail) in reasons.items():
                found.refuse(found.index[place], reason, detail)
            columns = {name: list(compress(column, keep)) for name, column in columns.items()}
            found.index = list(compress(found.index, keep))
            times = times[0][keep], times[1][keep]
            moved, kept = np.cumsum(keep) - 1, keep[sketched]
            sketched, sketches = moved[sketched[kept]], sketches[kept]
        batch = self._maker.batch(columns, _keys(columns), times, (sketched, sketches))
        found.refused.sort(key=_position)
        return Decoded(
            batch,
            np.array(found.index, np.int64),
            found.statuses,
            found.releases,
            found.feedback,
            found.refused,
        )

    def _read(self, values: Sequence[bytes | None], latest_ts: float) -> _Sorted:
        decode, limit = self._decode, self._max_record_bytes
        found = _Sorted([], [], [], [], [], [])
        good = [value for value in values if value is not None and len(value) <= limit]
        if len(good) == len(values):
            with suppress(*UNREADABLE):  # found and named one by one below
                rows = list(map(decode, good))
                if _QUERY_TYPES.issuperset([row.type for row in rows]):
                    found.rows, found.index = rows, list(range(len(rows)))
                    return found
        for position, value in enumerate(values):
            if value is None:
                found.refuse(position, DeadLetterReason.TOMBSTONE)
            elif len(value) > limit:
                found.refuse(position, DeadLetterReason.TOO_LARGE, f"more than {limit} bytes")
            else:
                try:
                    row = decode(value)
                except UNREADABLE:
                    _read_carefully(found, position, value, latest_ts)
                else:
                    if row.type in _QUERY_TYPES:
                        found.rows.append(row)
                        found.index.append(position)
                    else:
                        _read_carefully(found, position, value, latest_ts)
        return found

    def _created(self, column: Sequence[int | str | None]) -> NDArray[np.float64]:
        return np.fromiter(map(self._created_at.__getitem__, column), np.float64, len(column))


def _position(item: tuple[int, DecodeError]) -> int:
    return item[0]


def _read_carefully(found: _Sorted, position: int, value: bytes, latest_ts: float) -> None:
    try:
        record = read_record(value, latest_ts=latest_ts)
    except DecodeError as error:
        found.refuse(position, DeadLetterReason(error.reason), str(error)[len(error.reason) :].removeprefix(": "))
        return
    match record:
        case AccountStatus():
            found.statuses.append((position, record))
        case ModelRelease():
            found.releases.append((position, record))
        case Feedback():
            found.feedback.append((position, record))
        case _:
            found.rows.append(record)
            found.index.append(position)


def _problems(
    columns: dict[str, Sequence[Any]], times: tuple[NDArray[np.float64], NDArray[np.float64]], latest_ts: float
) -> dict[int, tuple[DeadLetterReason, str]]:
    """Reasons that only the values show, by place; `ts` first."""
    ts, created_at = times
    reasons: dict[int, tuple[DeadLetterReason, str]] = {}
    for name in _IDENTITIES:
        if not "".join(filter(None, columns[name])).isprintable():
            for place, text in enumerate(columns[name]):
                if text and has_control(text):
                    reasons[place] = DeadLetterReason.BAD_VALUE, f"{name} has control characters"
    for place in np.flatnonzero(created_at == BAD_TIME).tolist():
        reasons[place] = DeadLetterReason.BAD_TIME, "account_created_at"
    for place in np.flatnonzero(ts > latest_ts).tolist():
        reasons[place] = DeadLetterReason.FUTURE_TIME, "ts"
    for place in np.flatnonzero(np.isnan(ts)).tolist():
        reasons[place] = DeadLetterReason.BAD_TIME, "ts"
    return reasons


def _sketches(
    columns: dict[str, Sequence[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.void], dict[int, tuple[DeadLetterReason, str]]]:
    """Where sketches came in place of prompts, the sketches, and the places of bad ones."""
    texts = columns["prompt_sketch"]
    places = [place for place, prompt in enumerate(columns["prompt"]) if prompt is None and texts[place]]
    chosen = texts if len(places) == len(texts) else [texts[place] for place in places]
    rows = parse_sketches(chosen)
    if rows is not None:
        return np.array(places, np.int64), rows, {}
    sketches: dict[int, bytes] = {}
    reasons: dict[int, tuple[DeadLetterReason, str]] = {}
    for place, text in zip(places, chosen, strict=True):
        try:
            sketches[place] = parse_sketch(text)
        except ValueError as error:
            reasons[place] = DeadLetterReason.BAD_VALUE, f"prompt_sketch: {error}"
    return np.array(list(sketches), np.int64), np.frombuffer(b"".join(sketches.values()), SKETCH), reasons


def _keys(columns: dict[str, Sequence[Any]]) -> tuple[Sequence[str], Sequence[str]]:
    """Keys of accounts and events."""
    accounts, events, tenants = columns["account_id"], columns["event_id"], columns["tenant"]
    if _DEFAULT_TENANTS.issuperset(tenants):
        return accounts, events
    return list(map(account_key, accounts, tenants)), list(map(account_key, events, tenants))
