"""Bundles on the wire, and what happens to those that are none."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import zstandard

from stream_guard.errors import StateError
from stream_guard.nodes import wire
from stream_guard.nodes.align import Aligner
from stream_guard.nodes.wire import decode_deltas, decode_part, decode_suspicions, encode_deltas, encode_suspicions
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.records import DeltaBundle
from tests.support.events import START, bundle, delta, honest_rows, record, suspicion
from tests.support.network import Network


def joined(messages: list[bytes]) -> tuple[int, int, bytes]:
    aligner = Aligner(1)
    for offset, message in enumerate(messages):
        aligner.offer(offset, decode_part(message, 1))
    ((epoch, (found,)),) = aligner.ready()
    return found.source, epoch, found.data


@pytest.mark.parametrize("count", [0, 1, 50])
def test_deltas_come_back(count: int) -> None:
    sent = delta(7, honest_rows(count, 1))
    found = decode_deltas(*joined(encode_deltas(sent)))
    assert found.rows.tobytes() == sent.rows.tobytes()
    assert (found.source, found.epoch, list(found.keys), found.names) == (0, 7, list(sent.keys), sent.names)


def test_a_large_bundle_travels_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_PART_BYTES", 1_000)
    sent = delta(7, honest_rows(300, 2))
    messages = encode_deltas(sent)
    assert len(messages) > 10
    assert max(map(len, messages)) < 1_100
    assert decode_deltas(*joined(messages)).rows.tobytes() == sent.rows.tobytes()
    assert decode_deltas(*joined(messages[:5] + messages)).rows.tobytes() == sent.rows.tobytes()


def test_an_empty_bundle_is_one_message() -> None:
    assert len(encode_deltas(delta(1, honest_rows(0, 1)))) == 1
    assert decode_suspicions(*joined(encode_suspicions(bundle(1)))).suspicions == []


def test_suspicions_come_back() -> None:
    sent = bundle(3, suspicion(1, ["a", "b"]), suspicion(2, ["c", "acme\x1fd"], tenant="acme"))
    found = decode_suspicions(*joined(encode_suspicions(sent)))
    assert found.traffic == sent.traffic
    for first, second in zip(found.suspicions, sent.suspicions, strict=True):
        assert first.rows.tobytes() == second.rows.tobytes()
        for name in ("cluster", "tenant", "kind", "value", "log_odds", "evidence", "anchors", "names"):
            assert getattr(first, name) == getattr(second, name)
        assert list(first.keys) == list(second.keys)


@pytest.mark.parametrize(
    "numbers",
    [
        (2, 0, 1, 0, 1),
        (1, -1, 1, 0, 1),
        (1, 1, 1, 0, 1),
        (1, 0, -1, 0, 1),
        (1, 0, 1, 1, 1),
        (1, 0, 1, -1, 1),
        (1, 0, 1, 0, 0),
    ],
)
def test_impossible_parts_are_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(StateError):
        decode_part(msgspec.msgpack.encode((*numbers, b"")), 1)


def bodies() -> list[bytes]:
    pack = zstandard.ZstdCompressor().compress
    encode = msgspec.msgpack.encode
    rows, keys = honest_rows(2, 1)
    good = [rows.tobytes(), keys, []]
    return [
        b"",
        b"not zstd",
        pack(b"\xc1"),
        pack(encode([])),
        pack(encode([b"short", keys, []])),
        pack(encode([rows.tobytes(), keys[:1], []])),
        pack(encode([rows.tobytes(), [1, 2], []])),
        pack(encode([*good[:2], [("kind", 1, "name")]])),
        pack(encode([[["cluster"]], {}])),
        pack(encode([[["c", "t", 999, 1, 1.0, [], b"", [], [], []]], {}])),
    ]


@pytest.mark.parametrize("body", bodies())
def test_a_body_that_is_no_bundle_is_refused(body: bytes) -> None:
    with pytest.raises(StateError):
        decode_deltas(0, 1, body)
    with pytest.raises(StateError):
        decode_suspicions(0, 1, body)


def test_a_body_that_cannot_be_read_is_a_dead_letter_and_the_epoch_goes_on_without_it() -> None:
    network = Network(Policy(), 1, 1)
    epoch = int(START // 60.0)
    good = encode_deltas(delta(epoch + 1, honest_rows(30, 1)))
    bad = [msgspec.msgpack.encode((1, 0, epoch, 0, 1, body)) for body in bodies()]
    network.logs[Topic.DELTAS, 0] = [bad[1], *good]
    network.logs[Topic.SUSPICIONS, 0] = [bad[3]]
    network.drain()
    assert [(letter.topic, letter.offset) for letter in network.letters] == [
        (Topic.DELTAS, 0),
        (Topic.SUSPICIONS, 0),
    ]
    assert network.nodes["clusters:0"].watermark == START + 120.0


def test_states_that_cannot_be_read_start_cold_and_are_counted() -> None:
    network = Network(Policy(), 1, 1)
    network.publish([("a", record("a", START, "1")), ("a", record("a", START + 90.0, "2"))])
    network.drain()
    network.finish(START + 300.0)
    for name in network.names:
        assert network.stored[name]
        network.stored[name] = {key: b"\xc1" for key in network.stored[name] if key[:1] != b"n"}
        network.meta[name] = b"\xc1"
        network.crash(name)
    network.publish([("a", record("a", START + 400.0, "3"))])
    network.drain()
    network.finish(START + 600.0)
    assert network.counts["cold_starts"] >= sum(len(states) for states in network.stored.values())


def test_a_bundle_is_absolute() -> None:
    sent = delta(7, honest_rows(3, 1))
    assert isinstance(sent, DeltaBundle)
    assert np.array_equal(decode_deltas(*joined(encode_deltas(sent) * 3)).rows["events"], sent.rows["events"])
