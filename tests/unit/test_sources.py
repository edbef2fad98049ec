"""Each source's sample records, and what a mapping may say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stream_guard.edge import fingerprint, header_fingerprint, ip_fingerprint, sketch_prompt
from stream_guard.errors import ConfigurationError
from stream_guard.sources import BUILT_IN, Bridge, Mapped, load_mapping, parse_mapping

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests" / "samples"
KEY = b"a secret of the tests, long enough"
MINIMAL = '[fields]\nevent_id = "/id"\nts = "/ts"\naccount_id = "/who"\n'
SECRETS = (
    "203.0.113", "2001:db8", "198.51.100", "192.0.2", "10.1.2.3", "6.6.6.6", "4111", "sk-secret", "customer.example",
    "clouds", "weather", "rivers", "lawyer", "liability", "harmful", "French", "brief", "not an address",
)  # fmt: skip


def mapped(source: str, sample: str) -> tuple[list[dict[str, Any]], Mapped]:
    found = Bridge(load_mapping(source), KEY).map((SAMPLES / sample).read_bytes().split(b"\n"))
    return [json.loads(value) for _, value in found.records], found


def mapped_line(mapping: str, *lines: object) -> Mapped:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return Bridge(parse_mapping(mapping, "test"), KEY).map(texts)


def test_otel_spans_become_records() -> None:
    (first, second), found = mapped("otel", "otel-spans.jsonl")
    assert first == {
        "event_id": f"{1:032x}-{1:016x}",
        "ts": 1_764_082_803_346,
        "account_id": "acct_otel_1",
        "tenant": "emea",
        "session_id": "conv_7",
        "plan": "pro",
        "ip": ip_fingerprint(KEY, "203.0.113.57"),
        "country": "SG",
        "header_fp": "hdr_" + "a" * 32,
        "user_agent": "atlas-python/2.4",
        "model": "atlas-large",
        "prompt_sketch": sketch_prompt("Explain step by step how clouds form over warm seas"),
        "system_prompt_fp": fingerprint(KEY, "system_prompt", "You are a patient teacher of weather."),
        "input_tokens": 412,
        "output_tokens": 873,
        "max_tokens": 1024,
        "tools": 2,
        "status": 200,
        "latency_ms": 2345.678901,
    }
    assert second["account_id"] == "acct_otel_2"
    assert second["ip"] == ip_fingerprint(KEY, "2001:db8:7::")
    assert (second["status"], second["limited_by"], second["flags"]) == (429, "dec_9", ["refusal"])
    assert (found.skipped, found.refused) == (1, [])  # a tool's span


def test_otel_logs_become_records_with_the_id_that_their_span_has() -> None:
    (record,), found = mapped("otel", "otel-logs.jsonl")
    assert record == {
        "event_id": f"{9:032x}-{9:016x}",
        "ts": 1_764_082_805_000,
        "account_id": "acct_otel_3",
        "model": "atlas-small",
        "prompt_sketch": sketch_prompt("Name three rivers of Peru"),
        "input_tokens": 31,
        "output_tokens": 55,
    }
    assert found.skipped == 1


def test_litellm_payloads_become_records_alone_and_in_lists() -> None:
    (first, second, third, refused), found = mapped("litellm", "litellm.jsonl")
    assert first == {
        "event_id": "chatcmpl-1-1764082801.25",
        "ts": 1_764_082_804_750,
        "account_id": "acct_lite_1",
        "tenant": "emea",
        "org_id": "org_5",
        "api_key_id": "f0e1d2",
        "session_id": "sess-1",
        "plan": "team",
        "access_path": "api",
        "ip": ip_fingerprint(KEY, "198.51.100.23"),
        "user_agent": "atlas-node/1.9",
        "model": "atlas-large",
        "prompt_sketch": sketch_prompt("Summarise the clause on liability in plain words"),
        "system_prompt_fp": fingerprint(KEY, "system_prompt", "Answer as a lawyer would."),
        "input_tokens": 100,
        "output_tokens": 200,
        "max_tokens": 512,
        "tools": 1,
        "status": 200,
        "latency_ms": 3500.0,
    }
    assert second["account_id"] == second["api_key_id"] == "f0e1d2"  # as the hook does for keys without a user
    assert second["status"] == 400
    assert second["ip"] == ip_fingerprint(KEY, "192.0.2.44")
    assert "prompt_sketch" not in second  # redacted by LiteLLM
    assert third["flags"] == ["refusal"]
    assert (refused["status"], refused["limited_by"]) == (429, "dec_0123456789abcdef")  # by our own hook
    assert (found.skipped, found.refused, found.left_out) == (0, [], {})


def test_envoy_lines_become_records_and_those_without_account_are_skipped() -> None:
    (first, second), found = mapped("envoy", "envoy.jsonl")
    assert first == {
        "event_id": "6f1f3a0a-1f8e-4a64-9f5b-0a6f6f1d2b11",
        "ts": "2025-11-25T15:00:00.250Z",
        "account_id": "acct_envoy_1",
        "ip": ip_fingerprint(KEY, "192.0.2.0"),
        "tls_fp": "t13d1516h2_8daaf6152771_02713d6af862",
        "user_agent": "curl/8.5",
        "model": "atlas-large",
        "input_tokens": 55,
        "output_tokens": 144,
        "status": 200,
        "latency_ms": 812.0,
    }
    assert (second["tenant"], second["status"], second["limited_by"]) == ("emea", 429, "dec_3")
    assert found.skipped == 1


def test_a_mapping_of_ones_own_says_where_everything_is() -> None:
    (first, second), found = mapped(str(SAMPLES / "generic.toml"), "generic.jsonl")
    assert first == {
        "event_id": "r1-1",
        "ts": 1_764_082_800_500,
        "account_id": fingerprint(KEY, "account", "Jane Doe <jane@customer.example>"),
        "tenant": "emea",
        "api_key_id": fingerprint(KEY, "api_key", "sk-secret-key"),
        "plan": "pro",
        "payment_fp": fingerprint(KEY, "payment", "4111 1111 1111 1111"),
        "ip": ip_fingerprint(KEY, "203.0.113.9"),
        "header_fp": header_fingerprint(KEY, ["host", "user-agent", "accept"]),
        "model": "atlas-large",
        "capability": "coding",
        "prompt_sketch": sketch_prompt("Translate this secret sentence into French please"),
        "system_prompt_fp": fingerprint(KEY, "system_prompt", "Be brief"),
        "input_tokens": 17,
        "tools": 0,
        "flags": ["cot_elicitation"],
        "status": 200,
        "latency_ms": 1.5,
    }
    assert second["plan"] == "enterprise"
    assert found.skipped == 1
    assert found.left_out == {"ip": 1, "input_tokens": 1}


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.jsonl")))
def test_no_prompt_address_card_or_key_goes_on(sample: str) -> None:
    source = str(SAMPLES / "generic.toml") if sample.startswith("generic") else re.split("[.-]", sample)[0]
    _, found = mapped(source, sample)
    sent = b"\n".join(key + value for key, value in found.records).decode()
    assert found.records
    assert [secret for secret in SECRETS if secret in sent] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_documents_table_has_every_field_and_where_it_comes_from(name: str) -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows: dict[str, set[str]] = {}
    for left, right in re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.MULTILINE):
        for field in re.findall(r"`([a-z_]+)`", left):
            rows[field] = {
                part.rpartition(".")[2] if name == "litellm" else part for part in re.findall(r"`(.+?)`", right)
            }
            rows[field] |= {field} if "of the same name" in right else set()
    mapping = load_mapping(name)
    assert set(rows) == {field.name for field in mapping.rules}
    for field, rules in mapping.rules.items():
        for rule in rules:
            for pointer in (*rule.paths, *rule.join, *([rule.minus] if rule.minus else [])):
                assert pointer[-1] in rows[field.name], (field.name, pointer)


def test_one_bad_record_of_a_line_leaves_the_others() -> None:
    good = {"id": "e", "ts": 1_764_082_800_000, "who": "a"}
    found = mapped_line(
        MINIMAL, good, b"{", [good, {"id": "f"}, 3, good | {"id": "g"}], b"", b"\xff", good | {"ts": "x"}
    )
    assert [json.loads(value)["event_id"] for _, value in found.records] == ["e", "e", "g"]
    assert [(refused.line, refused.record, str(refused.error)) for refused in found.refused] == [
        (2, 1, "not_json"),
        (3, 2, "missing_field: ts"),
        (3, 3, "not_an_object"),
        (5, 1, "not_json"),
        (6, 1, "bad_time: ts"),
    ]


def test_a_sketch_that_is_none_is_left_out_so_that_no_text_takes_its_place() -> None:
    mapping = MINIMAL + 'prompt_sketch = "/sketch"\n'
    good = {"id": "e", "ts": 1_764_082_800_000, "who": "a"}
    found = mapped_line(mapping, good | {"sketch": "my prompt"}, good | {"sketch": sketch_prompt("fine words")})
    first, second = (json.loads(value) for _, value in found.records)
    assert "prompt_sketch" not in first
    assert second["prompt_sketch"] == sketch_prompt("fine words")
    assert found.left_out == {"prompt_sketch": 1}


def test_a_digest_is_the_same_for_the_same_line_only() -> None:
    mapping = '[fields]\nevent_id = { digest = true }\nts = "/ts"\naccount_id = "/who"\n'
    line = {"ts": 1_764_082_800_000, "who": "a"}
    found = mapped_line(mapping, line, line, line | {"who": "b"}, [line, line])
    ids = [json.loads(value)["event_id"] for _, value in found.records]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fields\n", "not TOML"),
        ('[feilds]\nx = "/y"\n', "[feilds] is unknown"),
        ('[fields]\nts = "/ts"\nevent_id = "/id"\n', "lacks account_id"),
        (MINIMAL + 'nonsense = "/x"\n', "'nonsense' is no field"),
        (MINIMAL + 'plan = "x"\n', "no JSON pointer"),
        (MINIMAL + 'plan = { path = "/x", value = "y" }\n', "plan: one of path, join, value and digest"),
        (MINIMAL + 'plan = { path = "/x", hsah = "ip" }\n', "plan: Object contains unknown field `hsah`"),
        (MINIMAL + 'plan = { path = "/x", unit = "s" }\n', "plan: a text has no unit"),
        (MINIMAL + 'latency_ms = { path = "/x", unit = "h" }\n', "latency_ms: Invalid enum value 'h'"),
        (MINIMAL + 'plan = { path = "/x", default = "free" }\n', "plan: default needs map"),
        (MINIMAL + 'plan = { path = "/x", pattern = "(" }\n', "plan: '(' is no regular expression"),
        (MINIMAL + 'plan = { path = "/x", pattern = "x" }\n', "plan: the pattern needs one group"),
        (MINIMAL + "plan = []\n", "plan: no rule"),
        ('[source]\nskip_without = ["who"]\n' + MINIMAL, "'who' is no field"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        parse_mapping(text, "test")


def test_unknown_sources_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one of otel, litellm, envoy, or a file"):
        load_mapping("splunk")
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read"):
        load_mapping(str(tmp_path / "none.toml"))


def test_a_short_key_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Bridge(load_mapping("otel"), b"short")
