from __future__ import annotations

import hashlib
import json

import pytest

from stream_guard.decode import (
    DeadLetterReason,
    Decoder,
    dead_letter,
    decode_operation,
    encode_dead_letter,
    encode_operation,
)
from stream_guard.errors import DecodeError
from stream_guard.records import Operation


def test_a_dead_letter_says_where_and_why_and_quotes_nothing() -> None:
    value = b'{"event_id":"e","ts":"2025-11-24T15:00:00Z","account_id":"a","input_tokens":"secret"}'
    ((_, error),) = Decoder().decode([value], latest_ts=2e9).refused
    data = encode_dead_letter(dead_letter("queries", 3, 44, error, value))
    assert json.loads(data) == {
        "topic": "queries",
        "partition": 3,
        "offset": 44,
        "reason": "wrong_type",
        "detail": "input_tokens must be an integer",
        "sha256": hashlib.sha256(value).hexdigest(),
    }
    assert encode_dead_letter(dead_letter("queries", 3, 44, error, value)) == data


def test_a_tombstone_has_a_letter_too() -> None:
    letter = dead_letter("queries", 0, 1, DecodeError(DeadLetterReason.TOMBSTONE), None)
    assert (letter.reason, letter.detail) == ("tombstone", "")
    assert letter.sha256 == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("expires_at", [None, 1_764_003_600.123457])
def test_operations_survive_the_way(expires_at: float | None) -> None:
    operation = Operation("o1", "snooze", "default", "campaign", "c1", "ann", "known", 1_764_000_000.5, expires_at)
    assert decode_operation(encode_operation(operation)) == operation


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "tombstone"),
        (b"[]", "not_an_object"),
        (b"{}", "missing_field"),
        (b'{"operation_id":7}', "wrong_type"),
    ],
)
def test_bad_operations(value: bytes | None, wanted: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_operation(value)
    assert caught.value.reason == wanted
