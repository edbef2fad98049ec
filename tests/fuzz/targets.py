"""What is fuzzed: everything that reads bytes from outside the process, and what must hold for any bytes."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.accounts.table import load_events
from stream_guard.decode import DeadLetterReason, Decoder, decode_operation, encode_operation
from stream_guard.encode import parse_alert, parse_campaign, parse_decision
from stream_guard.errors import DecodeError, StateError
from stream_guard.nodes.wire import Part, decode_deltas, decode_part, decode_suspicions
from stream_guard.pipeline import accounts_node, campaigns_node, clusters_node
from stream_guard.policy import Policy
from stream_guard.ports import Envelope, Topic
from stream_guard.records import Operation
from stream_guard.simulate import simulate
from stream_guard.sketch import parse_sketch
from stream_guard.sources import BUILT_IN, Bridge, load_mapping
from tests.golden.make import states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.ports import Node

POLICY = Policy()
LATEST_TS = 1_900_000_000.0
SEPARATOR = b"\n"  # between records, between the key and the state, between epoch and body
SOURCES = 2
SAMPLES = Path(__file__).resolve().parents[1] / "samples"
BRIDGES = [Bridge(load_mapping(name), b"a secret of the fuzzer") for name in (*BUILT_IN, str(SAMPLES / "generic.toml"))]


def records(data: bytes) -> None:
    """Queries, account statuses, releases and feedback: each record goes to exactly one place."""
    values: list[bytes | None] = [value or None for value in data.split(SEPARATOR)]
    decoded = Decoder(max_record_bytes=4_096).decode(values, latest_ts=LATEST_TS)
    places = decoded.batch_index.tolist()
    for part in (decoded.statuses, decoded.releases, decoded.feedback, decoded.refused):
        places += [place for place, _ in part]
    assert sorted(places) == list(range(len(values)))
    assert all(error.reason in set(DeadLetterReason) for _, error in decoded.refused)
    assert not np.isnan(decoded.batch.ts).any()
    assert (decoded.batch.ts <= LATEST_TS).all()


def accounts(data: bytes) -> None:
    """The same bytes through an accounts partition, up to the messages that it sends."""
    node = accounts_node(0, policy=POLICY, cluster_partitions=SOURCES)
    values: list[bytes | None] = [value or None for value in data.split(SEPARATOR)]
    for topic in (Topic.QUERIES, Topic.ACCOUNT_STATUS):
        prepared = node.decode(Envelope(topic, 0, range(len(values)), values), latest_ts=LATEST_TS)
        output = node.process(prepared)
        assert len(output.dead_letters) <= len(values)
    for message in node.idle(LATEST_TS).messages:
        if message.topic is Topic.DELTAS:
            part = decode_part(message.value or b"", SOURCES)
            decode_deltas(part.source, part.epoch, part.data)
    node.checkpoint()


def operations(data: bytes) -> None:
    """Operations of the people on call: refused with a reason, or read again as they were."""
    try:
        operation = decode_operation(data)
    except DecodeError as error:
        _reason_is_known(error)
        return
    again = decode_operation(encode_operation(operation))
    assert (again.subject_id, again.action, again.tenant) == (
        operation.subject_id,
        operation.action,
        operation.tenant,
    )


def sketches(data: bytes) -> None:
    """`prompt_sketch`: a row of sketches, or a ValueError that quotes nothing."""
    try:
        parse_sketch(data.decode("latin-1"))
    except ValueError as error:
        _says_little(error)


def bundles(data: bytes) -> None:
    """What the stages send each other: whole messages, and what is inside of them."""
    readers = (decode_deltas, decode_suspicions)
    parts = [Part(0, 1, 0, 1, data)]
    with suppress(StateError):
        parts.append(decode_part(data, SOURCES))
    for part in parts:
        for read in readers:
            with suppress(StateError):
                read(part.source, part.epoch, part.data)


def messages(data: bytes) -> None:
    """The same bytes as messages to the stages that read them: a dead letter at worst."""
    values = data.split(SEPARATOR)
    for node, topic in (
        (clusters_node(0, policy=POLICY, sources=1, partitions=1), Topic.DELTAS),
        (campaigns_node(0, policy=POLICY, sources=1), Topic.SUSPICIONS),
        (campaigns_node(0, policy=POLICY, sources=1), Topic.FEEDBACK),
        (campaigns_node(0, policy=POLICY, sources=1), Topic.OPERATIONS),
    ):
        _drive(node, Envelope(topic, 0, range(len(values)), values))  # type: ignore[arg-type] # nodes are Nodes


def stored(data: bytes) -> None:
    """Stored states of any stage: loaded or cold, and the node works afterwards."""
    key, _, state = data.partition(SEPARATOR)
    for node in (
        accounts_node(0, policy=POLICY, cluster_partitions=1),
        clusters_node(0, policy=POLICY, sources=1, partitions=1),
        campaigns_node(0, policy=POLICY, sources=1),
    ):
        node.restore(state, {key: state} if node.eager else {})
        if not node.eager:
            node.load({b"a" + key: state})
        node.idle(0.0)
        node.checkpoint()
    with suppress(StateError):
        load_events(state)


def outputs(data: bytes) -> None:
    """Alerts, decisions and campaigns, as `diff` reads them."""
    for parse in (parse_alert, parse_decision, parse_campaign):
        with suppress(DecodeError):
            parse(data)


def bridges(data: bytes) -> None:
    """Lines of other programs through every mapping: records that our own decoder takes, or refusals."""
    lines = data.split(SEPARATOR)
    for bridge in BRIDGES:
        mapped = bridge.map(lines)
        values = [value for _, value in mapped.records]
        assert Decoder().decode(values, latest_ts=1e12).refused == []
        assert all(b'"prompt":' not in value for value in values)
        for refused in mapped.refused:
            _reason_is_known(refused.error)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (records, accounts, operations, sketches, bundles, messages, stored, outputs, bridges)
}


def seeds() -> dict[str, Sequence[bytes]]:
    """Where each target starts: the simulator's records and the stored forms of this version."""
    rows = list(islice(simulate("demo", seed=1, days=0.05, background_accounts=40).records, 60))
    lines = [msgspec.json.encode(row) for row in rows]
    lines += [
        b'{"type":"account_status","event_id":"e","ts":1760000000000,"account_id":"a","status":"banned"}',
        b'{"type":"model_release","model":"m","at":"2026-01-01T00:00:00Z"}',
        b'{"type":"feedback","ts":1760000000000,"campaign_id":"c","label":"reseller","actor":"x","reason":"y"}',
        b'{"event_id":"e","ts":"2026-01-01T00:00:00.123+01:00","account_id":"a","tenant":"t","flags":["refusal"]}',
    ]
    golden = states()
    orders = [
        encode_operation(Operation(f"o{number}", action, "t", "account", "a", "me", "why", 1.76e9, 1.77e9))
        for number, action in enumerate(("allow", "disallow", "approve", "release", "snooze"))
    ]
    packed = [data for name, data in golden.items() if name.endswith("part.msgpack")]
    keys = {"cluster_row.msgpack": b"r00", "cluster_models.msgpack": b"models", "population.msgpack": b"pdefault"}
    keys |= {"books.msgpack": b"books", "campaign.msgpack": b"c"}
    return {
        "records": [*lines, SEPARATOR.join(lines[:8])],
        "accounts": [*lines[-30:], SEPARATOR.join(lines[:8])],
        "operations": orders,
        "sketches": [str(row["prompt_sketch"]).encode() for row in rows if row.get("prompt_sketch")] or [b"01" * 34],
        "bundles": [*packed, *(decode_part(data, SOURCES).data for data in packed)],
        "messages": [*packed, *orders, lines[-2]],
        "stored": [keys.get(name, b"x") + SEPARATOR + data for name, data in golden.items()],
        "bridges": [path.read_bytes().strip() for path in sorted(SAMPLES.glob("*.jsonl"))],
        "outputs": [data for name, data in golden.items() if name.endswith(".json")],
    }


def _reason_is_known(error: DecodeError) -> None:
    assert error.reason in set(DeadLetterReason)


def _says_little(error: ValueError) -> None:
    assert len(str(error)) < 100


def _drive(node: Node, envelope: Envelope) -> None:
    prepared = node.decode(envelope, latest_ts=LATEST_TS)
    node.process(prepared)
    node.checkpoint()
