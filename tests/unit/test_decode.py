from __future__ import annotations

import gc
import json
import math

import numpy as np
import pytest

from stream_guard.decode import Decoded, Decoder
from stream_guard.decode.interning import Interner, cohort_name, value_of
from stream_guard.records import (
    KINDS,
    AccountStatus,
    AccountStatusValue,
    Capability,
    Feedback,
    FeedbackLabel,
    Flag,
    Kind,
    ModelRelease,
)
from stream_guard.sketch import sketch_prompt, sketch_prompts

NOW = 1_764_000_000.0  # 2025-11-24T16:00:00Z
BASE: dict[str, object] = {"event_id": "e1", "ts": "2025-11-24T15:00:00.250Z", "account_id": "acc"}
FULL = BASE | {
    "type": "query",
    "org_id": "org",
    "plan": "pro",
    "quota_per_day": 1000,
    "account_created_at": "2025-06-01T07:00:00Z",
    "credit_program": "edu",
    "payment_fp": "pay",
    "email_class": "corporate",
    "access_path": "api",
    "ip": "203.0.113.77",
    "asn": 64500,
    "asn_class": "residential",
    "country": "de",
    "tls_fp": "ja4",
    "header_fp": "hdr",
    "user_agent": "sdk/1.0",
    "model": "m1",
    "capability": "Coding",
    "language": "EN",
    "system_prompt_fp": "sys",
    "input_tokens": 12,
    "output_tokens": 34,
    "max_tokens": 100,
    "tools": 2,
    "flags": ["refusal", "unheard_of", "edited_context"],
    "status": 429,
    "limited_by": "dec_1",
    "latency_ms": 12.5,
    "something_new": {"a": [1]},
}


def encode(record: object) -> bytes:
    return json.dumps(record).encode()


def decode(*records: object, hash_key: bytes = b"") -> Decoded:
    return Decoder(hash_key=hash_key).decode([encode(record) for record in records], latest_ts=NOW)


def test_every_column_of_a_full_query() -> None:
    batch = decode(FULL).batch
    assert list(batch.key) == ["acc"]
    assert batch.ts.tolist() == [1_763_996_400.25]
    assert batch.created_at.tolist() == [1_748_761_200.0]
    assert (batch.quota[0], batch.input_tokens[0], batch.output_tokens[0], batch.status[0]) == (1000, 12, 34, 429)
    assert batch.limited.tolist() == [True]
    assert batch.flags.tolist() == [1 << Flag.REFUSAL | 1 << Flag.EDITED_CONTEXT]
    assert batch.capability.tolist() == [Capability.CODING]
    wanted = {
        Kind.PAYMENT: "pay",
        Kind.ADDRESS: "203.0.113.0/24",
        Kind.ASN: "64500",
        Kind.ASN_CLASS: "residential",
        Kind.COUNTRY: "DE",
        Kind.TLS: "ja4",
        Kind.HEADER: "hdr",
        Kind.USER_AGENT: "sdk/1.0",
        Kind.SYSTEM_PROMPT: "sys",
        Kind.ORG: "org",
        Kind.EMAIL_CLASS: "corporate",
        Kind.CREDIT: "edu",
        Kind.PLAN: "pro",
        Kind.ACCESS_PATH: "api",
        Kind.LANGUAGE: "en",
        Kind.MODEL: "m1",
    }
    for kind, text in wanted.items():
        assert batch.values[0, kind] == value_of(kind, text), kind
        assert batch.names[kind, value_of(kind, text)] == ("AS64500" if kind is Kind.ASN else text)
    assert batch.values[0, Kind.TEMPLATE] == batch.values[0, Kind.ACCOUNT] == 0
    assert batch.names[Kind.CLIENT, int(batch.values[0, Kind.CLIENT])] == "sdk/1.0 / hdr / ja4"
    assert batch.names[Kind.COHORT, int(batch.values[0, Kind.COHORT])] == "2025-06-01T06:00Z"


def test_what_is_unknown() -> None:
    batch = decode(BASE, BASE | {"quota_per_day": 0, "plan": "", "limited_by": None, "flags": [], "type": None}).batch
    assert len(batch) == 2
    assert batch.values.shape == (2, KINDS)
    assert not batch.values.any()
    assert batch.names == {}
    for column in (batch.created_at, batch.quota, batch.input_tokens, batch.output_tokens):
        assert np.isnan(column).all()
    assert not batch.status.any()
    assert not batch.limited.any()
    assert not batch.flags.any()
    assert batch.capability.tolist() == [Capability.UNTAGGED] * 2
    assert not batch.sketch["exact"].any()


def test_nothing_at_all() -> None:
    decoded = Decoder().decode([], latest_ts=NOW)
    assert len(decoded.batch) == 0
    assert decoded.batch.values.shape == (0, KINDS)
    assert decoded.batch_index.shape == decoded.batch.event.shape == (0,)


def test_names_come_once() -> None:
    decoder = Decoder()
    assert decoder.decode([encode(FULL)], latest_ts=NOW).batch.names
    assert decoder.decode([encode(FULL)], latest_ts=NOW).batch.names == {}


def test_tenants_are_apart() -> None:
    default, named, other = BASE, BASE | {"tenant": "default"}, BASE | {"tenant": "t2"}
    batch = decode(default, named, other).batch
    assert list(batch.key) == ["acc", "acc", "t2\x1facc"]
    first, second, third = batch.event.tolist()
    assert first == second != third


def test_event_hashes_are_stable_and_differ() -> None:
    batch = decode(*(BASE | {"event_id": f"evt_{number:05d}"} for number in range(5000))).batch
    assert len(set(batch.event.tolist())) == 5000
    assert decode(BASE).batch.event.tolist() == [4516721631702434093]


def test_hash_key_changes_values_and_nothing_else() -> None:
    plain, keyed = decode(FULL).batch, decode(FULL, hash_key=b"secret").batch
    known = plain.values != 0
    assert (plain.values[known] != keyed.values[known]).all()
    assert plain.event.tolist() == keyed.event.tolist()
    with pytest.raises(ValueError, match="64 bytes"):
        Decoder(hash_key=bytes(65))


@pytest.mark.parametrize(
    ("ip", "shown"),
    [
        ("198.51.100.9", "198.51.100.0/24"),
        ("2001:db8:1:2::9", "2001:db8:1::/48"),
        ("::ffff:198.51.100.9", "198.51.100.0/24"),
        ("iph:77aa", "iph:77aa"),
        ("not an address", "not an address"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("1.2.3.4\x00", "1.2.3.4\ufffd"),
    ],
)
def test_addresses(ip: str, shown: str) -> None:
    batch = decode(BASE | {"ip": ip}).batch
    assert batch.names[Kind.ADDRESS, int(batch.values[0, Kind.ADDRESS])] == shown


def test_client_needs_one_part_and_sees_all() -> None:
    records = [BASE | extra for extra in ({"tls_fp": "a"}, {"header_fp": "a"}, {"user_agent": "a"}, {"tls_fp": ""})]
    clients = decode(*records).batch.values[:, Kind.CLIENT].tolist()
    assert len(set(clients)) == 4
    assert clients[3] == 0


@pytest.mark.parametrize(("tag", "value"), [("tool_use", 5), ("VISION", 6), ("poetry", 7), ("", 0), (None, 0)])
def test_capabilities(tag: str | None, value: int) -> None:
    assert decode(BASE | {"capability": tag}).batch.capability.tolist() == [value]


def test_prompts_and_sketches() -> None:
    prompt = "explain in ten short steps how rain forms above the sea"
    wanted = sketch_prompts([prompt])[0]
    rows = decode(
        BASE,
        BASE | {"prompt": prompt},
        BASE | {"prompt_sketch": sketch_prompt(prompt)},
        BASE | {"prompt": prompt, "prompt_sketch": "rubbish"},
        BASE | {"prompt": None, "prompt_sketch": None},
    ).batch.sketch
    assert rows[0].tobytes() == rows[4].tobytes() == bytes(rows.dtype.itemsize)
    assert all(rows[place] == wanted for place in (1, 2, 3))


def test_sketches_stay_with_their_rows_when_others_are_refused() -> None:
    sketch = sketch_prompt("some words that came already sketched")
    batch = decode(BASE | {"ts": "never"}, BASE, BASE | {"prompt_sketch": sketch}).batch
    assert batch.sketch["exact"].astype(bool).tolist() == [False, True]


def test_other_record_types() -> None:
    ts = {"ts": "2025-11-24T15:00:00Z"}
    decoded = decode(
        {"type": "account_status", "account_id": "a", "status": "banned"} | ts,
        BASE,
        {"type": "account_status", "account_id": "a", "tenant": "t", "status": "verified", **BASE},
        {"type": "model_release", "model": "m2", "at": "2026-01-01T00:00:00Z"},
        {"type": "feedback", "campaign_id": "c", "label": "reseller", "actor": "ann", "reason": "checked"} | ts,
        {"type": "feedback", "account_id": "a", "label": "true_positive"} | ts,
    )
    at = 1_763_996_400.0
    assert not decoded.refused
    assert decoded.batch_index.tolist() == [1]
    assert decoded.statuses[0] == (0, AccountStatus("a", AccountStatusValue.BANNED, at))
    assert decoded.statuses[1] == (2, AccountStatus("t\x1facc", AccountStatusValue.VERIFIED, at + 0.25))
    assert decoded.releases == [(3, ModelRelease("m2", 1_767_225_600.0))]
    assert decoded.feedback == [
        (4, Feedback(FeedbackLabel.RESELLER, "ann", "checked", at, campaign_id="c")),
        (5, Feedback(FeedbackLabel.TRUE_POSITIVE, "", "", at, account_id="a")),
    ]


def test_of_a_duplicate_field_the_last_counts() -> None:
    data = b'{"event_id":"a","account_id":"x","account_id":"y","ts":1763996400000,"status":"bad","status":200}'
    decoded = Decoder().decode([data], latest_ts=NOW)
    assert list(decoded.batch.key) in ([], ["y"])
    assert len(decoded.batch) + len(decoded.refused) == 1


def test_prompt_text_survives_nowhere() -> None:
    mark = "unmistakable quetzalcoatl phrase"
    records = [
        BASE | {"prompt": f"{mark} one two three four five"},
        BASE | {"prompt": f"{mark} again", "ts": "never"},
        BASE | {"prompt": f"{mark} again", "input_tokens": -1},
        BASE | {"prompt": [mark]},
        {"prompt": mark},
        BASE | {"prompt_sketch": mark},
    ]
    values = [encode(record) for record in records] + [f'{{"prompt":"{mark}'.encode()]
    decoder = Decoder()
    decoded = decoder.decode(values, latest_ts=NOW)
    assert len(decoded.refused) == 6
    given = {id(value) for value in values}
    seen: set[int] = set()
    stack: list[object] = [decoded, decoder]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, type) or callable(item):
            continue
        seen.add(id(item))
        assert id(item) not in given
        if isinstance(item, str | bytes | np.ndarray):
            data = item if isinstance(item, bytes) else item.encode() if isinstance(item, str) else item.tobytes()
            assert b"quetzalcoatl" not in data
        stack.extend(gc.get_referents(item))
    for _, error in decoded.refused:
        assert "quetzalcoatl" not in f"{error!r} {error.__dict__} {error.__context__!r} {error.__cause__!r}"
        assert error.__traceback__ is None


def test_memory_of_texts_is_bounded_and_forgetting_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_guard.decode.interning._MAX_ENTRIES", 10)
    interner = Interner(Kind.PLAN, {}, b"")
    first = interner.column([str(number) for number in range(50)]).tolist()
    assert len(interner) <= 10
    assert interner.column([str(number) for number in range(50)]).tolist() == first
    interner.column(["x" * 10_000])
    assert "x" * 10_000 not in interner


def test_cohorts_are_six_hours() -> None:
    times: list[str | None] = ["2025-06-01T06:00:00Z", "2025-06-01T11:59:59.999Z", "2025-06-01T12:00:00Z", None]
    batch = decode(*(BASE | {"account_created_at": time} for time in times)).batch
    cohorts = batch.values[:, Kind.COHORT].tolist()
    assert cohorts[0] == cohorts[1] != cohorts[2]
    assert cohorts[3] == 0
    assert math.isnan(batch.created_at[3])
    assert cohort_name(0) == "1970-01-01T00:00Z"
