from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.decode import DeadLetterReason, Decoder
from stream_guard.decode.careful import UNREADABLE, read_record
from stream_guard.decode.fields import FEEDBACK, QUERY, RECORDS, QueryStruct
from stream_guard.decode.interning import event_hashes
from stream_guard.decode.times import parse_time, parse_times
from stream_guard.edge.prompts import MASK, mix
from stream_guard.errors import DecodeError

GOOD = {"event_id": "e", "ts": 1_763_996_400_000, "account_id": "a"}
NAMES = sorted({field.name for fields in RECORDS.values() for field in fields} | {"unknown"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["2025-11-24T15:00:00Z", "x" * 300, "banned", "reseller", "a\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
RECORD = st.tuples(
    st.sampled_from(
        [{}, GOOD, GOOD, GOOD | {"type": "account_status", "status": "banned"}, GOOD | {"type": "feedback"}]
    ),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
).map(lambda parts: json.dumps({**parts[0], **parts[1]}).encode())
CUT = st.tuples(RECORD, st.integers(0, 200)).map(lambda parts: parts[0][: parts[1]])
VALUES = st.lists(st.none() | st.binary(max_size=60) | RECORD | CUT, max_size=12)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_every_record_goes_to_exactly_one_place(values: list[bytes | None]) -> None:
    decoded = Decoder(max_record_bytes=500).decode(values, latest_ts=1_800_000_000.0)
    positions = decoded.batch_index.tolist()
    for part in (decoded.statuses, decoded.releases, decoded.feedback, decoded.refused):
        found = [position for position, _ in part]
        assert found == sorted(found)
        positions += found
    assert sorted(positions) == list(range(len(values)))
    assert all(error.reason in set(DeadLetterReason) for _, error in decoded.refused)
    assert len(decoded.batch) == len(decoded.batch.key) == len(decoded.batch.values) == len(decoded.batch_index)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_a_record_is_judged_the_same_alone_and_among_others(values: list[bytes | None]) -> None:
    together = Decoder().decode(values, latest_ts=1_800_000_000.0)
    reasons = {position: str(error) for position, error in together.refused}
    rows = {position: row for row, position in enumerate(together.batch_index.tolist())}
    for position, value in enumerate(values):
        alone = Decoder().decode([value], latest_ts=1_800_000_000.0)
        assert [str(error) for _, error in alone.refused] == ([reasons[position]] if position in reasons else [])
        if position in rows:
            assert alone.batch.values.tobytes() == together.batch.values[rows[position]].tobytes()
            assert alone.batch.sketch.tobytes() == together.batch.sketch[rows[position]].tobytes()
            assert alone.batch.event[0] == together.batch.event[rows[position]]


@settings(max_examples=600, deadline=None)
@given(RECORD | CUT)
def test_the_fast_and_the_careful_reader_agree(value: bytes) -> None:
    fast: Any = None
    with contextlib.suppress(*UNREADABLE):
        fast = msgspec.json.decode(value, type=QueryStruct)
    try:
        careful: Any = read_record(value, latest_ts=float("inf"))
    except DecodeError:
        decoded = Decoder().decode([value], latest_ts=float("inf"))
        assert len(decoded.batch) == 0
        assert len(decoded.refused) == 1
    else:
        if isinstance(careful, QueryStruct):
            assert careful == fast


@settings(max_examples=300)
@given(st.lists(st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()) | st.integers()
                | st.text(max_size=30)))  # fmt: skip
def test_times_alone_and_together(values: list[int | str]) -> None:
    repeated = values * 9  # enough of each form for the fast way
    for value, seconds in zip(repeated, parse_times(repeated).tolist(), strict=True):
        wanted = parse_time(value)
        assert seconds == wanted if wanted is not None else math.isnan(seconds)


@settings(max_examples=300)
@given(st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"), st.integers(0, 23),
       st.characters(codec="ascii"))  # fmt: skip
def test_a_changed_character_is_judged_alike(text: str, place: int, character: str) -> None:
    changed = text[:place] + character + text[place + 1 :]
    (seconds, *_) = parse_times([changed] * 9).tolist()
    wanted = parse_time(changed)
    assert seconds == wanted if wanted is not None else math.isnan(seconds)


@given(st.lists(st.text(min_size=1, max_size=30)))
def test_event_hashes_follow_their_definition(keys: list[str]) -> None:
    wanted = []
    for key in keys:
        total = 0
        for byte in reversed(key.encode()):
            total = (total * 0x9FB21C651E98DF25 + byte) & MASK
        wanted.append(mix(total))
    assert event_hashes(keys).tolist() == wanted


def test_tables_name_each_field_once() -> None:
    for fields in (QUERY, FEEDBACK):
        assert len({field.name for field in fields}) == len(fields)
