"""Records made to hurt: each is refused or counted as what it is, quickly, and changes nothing about the others."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_guard.accounts.table import account_hash
from stream_guard.adapters.prometheus import Metrics
from stream_guard.app.logs import configure_logs
from stream_guard.clusters.signals import SIGNALS
from stream_guard.decode import DeadLetterReason, Decoder, decode_operation
from stream_guard.decode.careful import has_control
from stream_guard.decode.interning import event_hashes, readable
from stream_guard.decode.times import parse_time
from stream_guard.encode import encode_alert, encode_campaign, parse_alert
from stream_guard.errors import DecodeError
from stream_guard.policy import Policy
from stream_guard.ports import Output
from stream_guard.settings import Log
from stream_guard.sketch import sketch_texts
from stream_guard.sources import BUILT_IN, Bridge, load_mapping
from tests.support.events import NEVER, START, record, small_world
from tests.support.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1_048_576
PROTOTYPES = ("__proto__", "__class__", "constructor", "toString", "__dict__", "hasOwnProperty", "__init__", "None")
INJECTIONS = (
    'x"} 1\nevil_total{a="b',
    "x\\",
    "x\n# HELP evil evil",
    '{"level":"critical","event":"forged"}',
    "${jndi:ldap://evil}",
    "%s%n",
    "<script>alert(1)</script>",
    "'; DROP TABLE accounts; --",
    "\u202egnp.exe",
    "\u2028\u2029",
)


def refused(value: bytes) -> str | None:
    """Reason of the refusal of one record, None where it is taken."""
    decoded = Decoder().decode([value], latest_ts=NEVER)
    return decoded.refused[0][1].reason if decoded.refused else None


def seconds(action: Callable[[], object], times: int = 5) -> float:
    """The shortest of some runs."""
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return best


def outcome(records: list[tuple[str, bytes]]) -> Network:
    network = Network(Policy(), 2, 2)
    network.publish(records)
    network.finish(START + 3_600.0 + 120.0)
    return network


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x1b", "\x1f", "\n", "\r", "\x7f", "\x85"])
@pytest.mark.parametrize("field", ["account_id", "event_id", "tenant"])
def test_ids_with_control_characters_are_refused(field: str, character: str) -> None:
    value = json.dumps({"event_id": "e", "ts": 1_760_000_000_000, "account_id": "a", field: f"a{character}b"})
    assert refused(value.encode()) == DeadLetterReason.BAD_VALUE


def test_a_megabyte_of_user_agent_costs_no_more_state_than_a_short_one() -> None:
    sizes = {}
    for length in (20, MEBIBYTE - 1_000):
        network = outcome([("a", record("a", START, "1", user_agent="u" * length, header_fp="h" * 200))])
        sizes[length] = sum(len(state) for states in network.stored.values() for state in states.values())
        assert max(len(value or b"") for log in list(network.logs.values())[1:] for value in log) < 10_000
        assert network.counts["events"] == 1
    assert max(sizes.values()) - min(sizes.values()) < 200
    over = record("a", START, "1", user_agent="u" * MEBIBYTE)
    assert refused(over) == DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("name", PROTOTYPES)
def test_names_that_mean_something_to_a_language_are_names(name: str) -> None:
    fields = dict.fromkeys(("payment_fp", "capability", "model", "plan", "header_fp", "country", "email_class"), name)
    value = record(name, START, name, tenant=name, **fields)
    extra = json.dumps({**json.loads(value), "__proto__": {"admin": True}, "constructor": {"prototype": {}}})
    network = outcome([(name, extra.encode())])
    assert network.counts["events"] == 1
    (key,) = [key for name_ in network.names[:2] for key in network.stored.get(name_, {}) if key[:1] == b"a"]
    assert key == f"a{name}\x1f{name}".encode()
    assert not network.letters


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("where", ["whole", "unknown field", "known field"])
def test_deep_json_is_refused_or_skipped_at_once(opening: str, where: str) -> None:
    deep = opening * (900_000 // len(opening))
    value = {
        "whole": deep,
        "unknown field": f'{{"event_id":"e","ts":1760000000000,"account_id":"a","x":{deep}}}',
        "known field": f'{{"event_id":"e","ts":1760000000000,"account_id":"a","prompt":{deep}}}',
    }[where].encode()
    assert refused(value) in {DeadLetterReason.NOT_JSON, DeadLetterReason.NOT_AN_OBJECT, DeadLetterReason.WRONG_TYPE}
    assert seconds(lambda: refused(value)) < 0.1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e309", "123e400"])
@pytest.mark.parametrize("field", ["ts", "latency_ms", "input_tokens", "output_tokens", "quota_per_day", "asn"])
def test_nan_and_infinities_reach_no_model(field: str, number: str) -> None:
    value = f'{{"event_id":"e","ts":1760000000000,"account_id":"a","{field}":{number}}}'.encode()
    if field == "ts":
        value = f'{{"event_id":"e","account_id":"a","ts":{number}}}'.encode()
    decoded = Decoder().decode([value], latest_ts=NEVER)
    if decoded.refused:
        assert decoded.refused[0][1].reason in set(DeadLetterReason)
    else:
        network = outcome([("a", value)])
        rows = network.nodes["accounts:0"].stage.table.rows  # type: ignore[union-attr] # the first is an accounts node
        for name in ("events", "output_tokens", "rate_1h", "rate_1d", "gap_var"):
            assert np.isfinite(rows[name]).all()


def test_huge_numbers_leave_every_state_finite() -> None:
    records = [("a", record("a", START + number, f"e{number}", output_tokens=1 << 40)) for number in range(50)]
    network = outcome(records)
    assert network.counts["events"] == 50
    for value in (-1, 1 << 41, 1 << 70):
        assert refused(record("a", START, "e", output_tokens=value)) == DeadLetterReason.BAD_VALUE


def test_ten_megabytes_are_refused_unread() -> None:
    prompt = b'{"event_id":"e","ts":1760000000000,"account_id":"a","prompt":"' + b"a" * 10_000_000 + b'"}'
    assert refused(prompt) == DeadLetterReason.TOO_LARGE
    assert seconds(lambda: refused(prompt)) < 0.01


@pytest.mark.parametrize(
    "value",
    [b'{"action":"' + b"a" * 10_000_000 + b'"}', b"[" * 10_000_000, b"1" * 10_000_000],
    ids=["text", "deep", "digits"],
)
def test_ten_megabytes_are_refused_quickly_by_whatever_reads_records(value: bytes) -> None:
    def operation() -> None:
        with pytest.raises(DecodeError):
            decode_operation(value)

    def alert() -> None:
        with pytest.raises(DecodeError):
            parse_alert(value)

    assert seconds(operation, times=2) < 0.5
    assert seconds(alert, times=2) < 0.5
    for name in BUILT_IN:
        bridge = Bridge(load_mapping(name), b"a secret of the tests, long enough")
        assert bridge.map([value]).records == []
        assert seconds(partial(bridge.map, [value]), times=2) < 1.0


def hard_texts(length: int) -> dict[str, tuple[Callable[[str], object], str]]:
    """Functions that look at text with a regular expression or a loop, and a text that is bad for each."""
    return {
        "time, digits": (parse_time, "2026-01-01T00:00:00." + "1" * length),
        "time, almost": (parse_time, "2026-01-01T00:00:00" + "." * length),
        "control": (has_control, "a" * length),
        "readable": (readable, "\u202e" * length),
        "sketch, one word": (lambda text: sketch_texts([text]), "a" * length),
        "sketch, spaces": (lambda text: sketch_texts([text]), " " * length),
        "sketch, words": (lambda text: sketch_texts([text]), "ab " * (length // 3)),
        "sketch, digits": (lambda text: sketch_texts([text]), "1" * length),
        "record": (
            lambda text: refused(b'{"event_id":"e","ts":1,"account_id":"a","x":"' + text.encode() + b'"}'),
            '\\"' * (length // 2),
        ),
    }


@pytest.mark.parametrize("name", sorted(hard_texts(0)))
def test_time_grows_no_faster_than_the_text(name: str) -> None:
    short, long = 50_000, 400_000
    action, text = hard_texts(short)[name]
    again, longer = hard_texts(long)[name]
    ratio = seconds(lambda: again(longer)) / max(seconds(lambda: action(text)), 20e-6)
    assert ratio < 3.0 * long / short, "a quadratic one would take 64 times as long"


def collision(position: int = 0, order: int = 10) -> tuple[str, str]:
    """Two different texts with one polynomial hash modulo 2**64, whatever its base: Thue and Morse's sequence."""
    bits = "".join("ab"[number.bit_count() % 2] for number in range(1 << order))
    swapped = bits.translate(str.maketrans("ab", "ba"))
    return f"{position}{bits}", f"{position}{swapped}"


def test_event_ids_crafted_to_collide_can_only_be_too_long() -> None:
    """The known construction needs more characters than an id may have."""
    one, other = collision()
    assert event_hashes([one])[0] == event_hashes([other])[0]
    assert refused(record("a", START, one)) == DeadLetterReason.BAD_VALUE
    assert refused(record("a", START, "x" * 256)) is None


def test_account_ids_are_told_apart_by_their_whole_text_even_where_they_almost_agree() -> None:
    names = [f"acct{suffix}" for suffix in ("", " ", "\u00e9", "e\u0301", "\ufeff", "A", "\u0430")]
    assert len({account_hash(name) for name in names}) == len(names)
    network = outcome([(name, record(name, START + 1.0, f"e{number}")) for number, name in enumerate(names)])
    stored = {key for name in network.names[:2] for key in network.stored.get(name, {}) if key[:1] == b"a"}
    assert stored == {b"a" + name.encode() for name in names}


def test_poison_among_the_records_changes_no_alert_and_no_campaign_of_the_others() -> None:
    world = small_world(hours=1.0)
    plain = outcome(list(world.records))
    poison: list[tuple[str, bytes]] = []
    for number, (account, value) in enumerate(world.records):
        poison.append((account, value))
        if number % 3 == 0:
            bad = INJECTIONS[number % len(INJECTIONS)]
            poison.append((account, b"[" * 50_000))
            poison.append((account, json.dumps({"event_id": bad, "ts": "now", "account_id": bad}).encode()))
            poison.append((account, b'{"event_id":"e","ts":NaN,"account_id":"a"}'))
    hurt = outcome(poison)
    assert plain.campaigns()
    assert [encode_campaign(item) for item in hurt.campaigns()] == [encode_campaign(item) for item in plain.campaigns()]
    assert [encode_alert(item) for item in hurt.alerts] == [encode_alert(item) for item in plain.alerts]
    assert len(hurt.letters) == len(poison) - len(world.records)
    quoted = [letter for letter in hurt.letters for bad in INJECTIONS if bad in letter.detail]
    assert not quoted, "a dead letter quotes nothing"


def hostile_world() -> Network:
    """The small world's pool under names that try to break out of whatever prints them."""
    world = small_world(hours=1.0)
    renamed: list[tuple[str, bytes]] = []
    for account, value in world.records:
        fields: dict[str, Any] = json.loads(value)
        number = int(account.rpartition("-")[2])
        if account.startswith("pool"):
            bad = INJECTIONS[number % len(INJECTIONS)].replace("\n", " ")
            fields["account_id"] = f"{bad}-{number}"
            fields["payment_fp"] = fields["capability"] = fields["tls_fp"] = INJECTIONS[0]
        renamed.append((fields["account_id"], json.dumps(fields).encode()))
    network = outcome(renamed)
    assert network.alerts
    return network


def test_no_text_of_a_record_becomes_a_metric_or_a_label() -> None:
    network = hostile_world()
    metrics = Metrics(signals=[signal.name for signal in SIGNALS], reasons=list(DeadLetterReason))
    output = Output(
        counts=dict(network.counts),
        dead_letters=network.letters,
        alerts=network.alerts,
        decisions=network.decisions,
        campaigns=network.campaigns(),
        watermark=START,
    )
    metrics.observe_output("campaigns:0", output)
    text = metrics.render().decode()
    assert list(text_string_to_metric_families(text))
    assert not [bad for bad in ("evil", "jndi", "<script", "DROP", "pool-", "one-card") if bad in text]


@pytest.mark.parametrize("json_lines", [True, False])
def test_no_text_of_a_record_starts_a_line_of_the_log(capfd: pytest.CaptureFixture[str], *, json_lines: bool) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs(Log(json_lines=json_lines))
        logger = logging.getLogger("stream_guard.test")
        for bad in (*INJECTIONS, "\x1b[2J\x1b[31m", "a\r\nb", "\x85c", "\u2028d"):
            logger.warning("refused %s", bad)
        lines = capfd.readouterr().err.split("\n")[:-1]
    finally:
        logging.getLogger().handlers[:] = before[0]
        logging.getLogger().setLevel(before[1])
    assert len(lines) == len(INJECTIONS) + 4
    assert not [line for line in lines if any(character < " " for character in line) and json_lines]
    if json_lines:
        assert all(json.loads(line)["level"] == "warning" for line in lines)
    else:
        assert not [line for line in lines if "\x1b[2J" in line or "\r" in line]
