from __future__ import annotations

import json

import pytest

from stream_guard.decode import Decoder

NOW = 1_764_000_000.0  # 2025-11-24T16:00:00Z
BASE: dict[str, object] = {"event_id": "e1", "ts": "2025-11-24T15:00:00.250Z", "account_id": "acc"}


def encode(record: object) -> bytes:
    return json.dumps(record).encode()


def reason(value: object) -> str:
    data = value if value is None or isinstance(value, bytes) else encode(value)
    good = encode(BASE)
    decoded = Decoder(max_record_bytes=2000).decode([good, data, good], latest_ts=NOW)
    assert decoded.batch_index.tolist() == [0, 2]
    ((position, error),) = decoded.refused
    assert position == 1
    return str(error.reason)


def missing(name: str) -> dict[str, object]:
    return {key: value for key, value in BASE.items() if key != name}


STATUS = {"type": "account_status", "account_id": "a", "ts": 1_763_996_400_000}
FEEDBACK = {"type": "feedback", "label": "reseller", "ts": 1_763_996_400_000}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "tombstone"),
        (b"x" * 2001, "too_large"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", ""),
        (b'{"event_id":"a","ts":NaN,"account_id":"b"}', "not_json"),
        (encode(BASE)[:-1] + b',"latency_ms":Infinity}', "not_json"),
        (encode(BASE)[:-1] + b',"plan":"\\ud800"}', "not_json"),
        (encode(BASE)[:-1] + b',"plan":"\xff"}', "not_json"),
        (encode(BASE)[:-1] + b',"latency_ms":1e999}', "bad_value"),
        (encode(BASE)[:-1] + b',"input_tokens":' + b"9" * 1000 + b"}", "bad_value"),
        (encode(BASE)[:-1] + b',"asn":' + b"9" * 20 + b"}", "bad_value"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (BASE | {"type": "mystery"}, "unknown_type"),
        (BASE | {"type": 3}, "wrong_type"),
        (missing("event_id"), "missing_field"),
        (missing("ts"), "missing_field"),
        (missing("account_id"), "missing_field"),
        (BASE | {"account_id": None}, "missing_field"),
        (BASE | {"account_id": ""}, "bad_value"),
        (BASE | {"event_id": ""}, "bad_value"),
        (BASE | {"event_id": "x" * 257}, "bad_value"),
        (BASE | {"session_id": "x" * 257}, "bad_value"),
        (BASE | {"account_id": "a\x00"}, "bad_value"),
        (BASE | {"tenant": "a\x1fb"}, "bad_value"),
        (BASE | {"event_id": 7}, "wrong_type"),
        (BASE | {"input_tokens": True}, "wrong_type"),
        (BASE | {"input_tokens": 1.0}, "wrong_type"),
        (BASE | {"input_tokens": "1"}, "wrong_type"),
        (BASE | {"output_tokens": -1}, "bad_value"),
        (BASE | {"status": 70_000}, "bad_value"),
        (BASE | {"latency_ms": "fast"}, "wrong_type"),
        (BASE | {"flags": "refusal"}, "wrong_type"),
        (BASE | {"flags": [1]}, "wrong_type"),
        (BASE | {"prompt": ["x"]}, "wrong_type"),
        (BASE | {"prompt_sketch": "zz"}, "bad_value"),
        (BASE | {"ts": True}, "wrong_type"),
        (BASE | {"ts": 1.5}, "wrong_type"),
        (BASE | {"ts": "2025-11-24T15:00:00"}, "bad_time"),
        (BASE | {"ts": 10**30}, "bad_time"),
        (BASE | {"ts": "1999-12-31T23:59:59Z"}, "bad_time"),
        (BASE | {"account_created_at": "long ago"}, "bad_time"),
        (BASE | {"ts": "2025-11-24T16:00:00.001Z"}, "future_time"),
        (STATUS, "missing_field"),
        (STATUS | {"status": "happy"}, "bad_value"),
        (STATUS | {"status": "none"}, "bad_value"),
        (STATUS | {"status": "banned", "ts": 1_764_000_000_001}, "future_time"),
        (FEEDBACK, "missing_field"),
        (FEEDBACK | {"campaign_id": "c", "account_id": "a"}, "bad_value"),
        (FEEDBACK | {"campaign_id": "c", "label": "meh"}, "bad_value"),
        ({"type": "model_release", "at": 1_763_996_400_000}, "missing_field"),
    ],
)
def test_reasons(value: object, wanted: str) -> None:
    if wanted:
        assert reason(value) == wanted
    else:
        assert reason(value) in {"not_json", "missing_field"}


def test_very_deep_json_is_refused() -> None:
    deep = encode(BASE)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    decoded = Decoder().decode([deep, encode(BASE)], latest_ts=NOW)
    assert [str(error) for _, error in decoded.refused] == ["not_json: nested too deep"]
    assert len(decoded.batch) == 1
