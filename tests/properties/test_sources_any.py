"""Whatever a line holds, a bridge gives records that our decoder takes, or says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_guard.decode import DeadLetterReason, Decoder
from stream_guard.sources import BUILT_IN, Bridge, load_mapping

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
KEY = b"a secret of the tests, long enough"
BRIDGES = [Bridge(load_mapping(name), KEY) for name in (*BUILT_IN, str(SAMPLES / "generic.toml"))]
GOOD = [json.loads(line) for path in sorted(SAMPLES.glob("*.jsonl")) for line in path.read_text().splitlines()]
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["\ud800", "x" * 300, "a\x00", "1e99", "-", "203.0.113.9:1", "[{", "1.5"])
)  # fmt: skip
NAMES = st.text(max_size=3) | st.sampled_from(["role", "content", "parts", "type", "text", "values", "stringValue"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A good record in which some values are replaced, or any JSON, or any bytes, or cut off."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=60))
    value = draw(JSON) if kind == 1 else spoiled(draw, draw(st.sampled_from(GOOD)))
    text = json.dumps(value).encode()
    return text[: draw(st.integers(0, len(text)))] if kind == 2 else text


def spoiled(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    if draw(st.integers(0, 11)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        return {name: spoiled(draw, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [spoiled(draw, inner) for inner in value]
    return value


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BRIDGES), st.lists(lines(), max_size=3))
def test_any_line_gives_records_that_decode_or_a_reason(bridge: Bridge, given_lines: list[bytes]) -> None:
    mapped = bridge.map(given_lines)
    decoded = Decoder().decode([value for _, value in mapped.records], latest_ts=1e12)
    assert decoded.refused == []
    assert len(decoded.batch) == len(mapped.records)
    for key, value in mapped.records:
        record = json.loads(value)
        assert record["account_id"].encode() == key
        assert "prompt" not in record
        assert record.get("ip", "iph:").startswith("iph:")
    for refused in mapped.refused:
        assert refused.error.reason in set(DeadLetterReason)
        assert given_lines[refused.line - 1] == refused.raw


def test_nesting_without_end_is_refused() -> None:
    deep = b'{"resourceSpans":' + b'[{"scopeSpans":' * 100_000
    mixed = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    for bridge in BRIDGES:
        mapped = bridge.map([deep, mixed])
        assert [refused.line for refused in mapped.refused] == [1, 2]
        assert mapped.records == []
