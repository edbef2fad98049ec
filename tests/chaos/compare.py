"""What the same records give when nothing fails, and how a run that was disturbed differs from it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.accounts.table import AccountTable
from stream_guard.encode import encode_alert, encode_decision
from stream_guard.nodes.wire import decode_deltas, decode_part
from stream_guard.pipeline import campaigns_node
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.records import ROW
from tests.chaos.world import PARTITIONS
from tests.support.network import Network
from tests.support.product import outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.traffic import Item
    from tests.support.cluster import Cluster

Key = tuple[str, str, str]
"""Id, time and status of an alert or a decision: readers take two with the same key for one."""
MOST_SHOWN = 8
ENVELOPE = 700  # unlike the workers': how records come in batches must not matter


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that has to be the same."""

    accounts: Mapping[bytes, bytes]
    clusters: Mapping[bytes, bytes]
    campaigns: Mapping[str, tuple[object, ...]]
    letters: frozenset[tuple[int, int, str]]
    alerts: Mapping[Key, frozenset[bytes]]
    decisions: Mapping[Key, frozenset[bytes]]


@dataclass(slots=True)
class Difference:
    """Zero everywhere, or there is a bug."""

    mismatches: int = 0
    alerts_lost: int = 0
    alerts_doubled: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return bool(self.mismatches or self.alerts_lost or self.alerts_doubled)

    def mismatch(self, text: str) -> None:
        self.mismatches += 1
        if len(self.told) < MOST_SHOWN * 4:
            self.told.append(text)


def expected(items: Iterable[Item], clusters: int) -> Result:
    """The nodes in one process, each partition's records in their order; nothing fails."""
    network = Network(Policy(), PARTITIONS, clusters)
    end = 0.0
    for item in items:
        network.logs.setdefault((Topic.QUERIES, item.partition), []).append(item.value)
    for name in network.names:
        while name.startswith("accounts") and network.step(name, ENVELOPE):
            end = max(end, network.nodes[name].watermark or 0.0)
    network.finish(end + Policy().epochs.epoch_seconds)
    stored = network.stored
    return Result(
        {key: state for name in network.names if name.startswith("accounts") for key, state in stored[name].items()},
        {key: state for name in network.names if name.startswith("clusters") for key, state in stored[name].items()},
        outline(network.campaigns()),
        frozenset(
            (letter.partition, letter.offset, letter.reason)
            for letter in network.letters
            if letter.topic == Topic.QUERIES
        ),
        _by_key((encode_alert(alert) for alert in network.alerts), "alert_id"),
        _by_key((encode_decision(decision) for decision in network.decisions), "decision_id"),
    )


def found(cluster: Cluster) -> Result:
    """What the workers left in Redis and Kafka."""
    node = campaigns_node(0, policy=Policy(), sources=cluster.settings.partitions.deltas)
    meta = cluster.redis.hget(f"sg:{{{cluster.group}:campaigns:0}}:meta", "meta")
    node.restore(meta, cluster.eager_states("campaigns", Topic.SUSPICIONS))  # type: ignore[arg-type] # redis-py cannot know that it is bytes
    letters = [json.loads(value) for _, value in cluster.read_topic(Topic.DEAD_LETTER)]
    queries = cluster.settings.topic_name(Topic.QUERIES)
    return Result(
        cluster.lazy_states("accounts", Topic.QUERIES),
        cluster.eager_states("clusters", Topic.DELTAS),
        outline(node.desk.finished()),
        frozenset(
            (letter["partition"], letter["offset"], letter["reason"])
            for letter in letters
            if letter["topic"] in {queries, Topic.QUERIES.value}
        ),
        _by_key((value for _, value in cluster.read_topic(Topic.ALERTS)), "alert_id"),
        _by_key((value for _, value in cluster.read_topic(Topic.DECISIONS)), "decision_id"),
    )


def difference(want: Result, got: Result) -> Difference:
    """Compare, and say where the two differ."""
    differs = Difference()
    mine, theirs = _counts(want.accounts), _counts(got.accounts)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            differs.mismatch(f"account {key}: (events, tokens) {theirs.get(key)} instead of {mine.get(key)}")
    rows = {key for key in want.clusters.keys() | got.clusters.keys() if key[:1] == b"r"}
    for row in sorted(rows):
        if want.clusters.get(row) != got.clusters.get(row):
            differs.mismatch(f"cluster row {row!r} differs")
    for campaign in sorted(want.campaigns.keys() | got.campaigns.keys()):
        ours, other = want.campaigns.get(campaign), got.campaigns.get(campaign)
        if ours != other:
            differs.mismatch(f"campaign {campaign}: {_short(other)} instead of {_short(ours)}")
    for letter in sorted(want.letters ^ got.letters):
        differs.mismatch(f"dead letter {letter} {'missing' if letter in want.letters else 'too many'}")
    _streams(want.alerts, got.alerts, differs)
    for decision in sorted(want.decisions.keys() | got.decisions.keys()):
        if want.decisions.get(decision) != got.decisions.get(decision):
            how = _how(here=decision in got.decisions, there=decision in want.decisions)
            differs.mismatch(f"decision {decision} {how}")
    return differs


def _streams(want: Mapping[Key, frozenset[bytes]], got: Mapping[Key, frozenset[bytes]], differs: Difference) -> None:
    for key in sorted(want.keys() - got.keys()):
        differs.alerts_lost += 1
        differs.told.append(f"alert lost: {key}")
    for key in sorted(got.keys() - want.keys()):
        differs.alerts_doubled += 1
        differs.told.append(f"alert too many: {key}")
    for key in sorted(got.keys() & want.keys()):
        if got[key] != want[key]:
            differs.alerts_doubled += len(got[key]) > 1
            differs.mismatch(f"alert {key} says something else: {_news(want[key], got[key])}")


def resent(cluster: Cluster) -> list[str]:
    """Bundles that were sent again with other rows: where a difference between alerts begins."""
    sources = cluster.settings.partitions.queries
    said: defaultdict[tuple[int, int], list[bytes]] = defaultdict(list)
    for _, value in cluster.read_topic(Topic.DELTAS):
        part = decode_part(value, sources)
        if part.parts == 1:
            bundle = decode_deltas(part.source, part.epoch, part.data)
            rows = bundle.rows[np.argsort(bundle.rows["account"])]
            if rows.tobytes() not in said[part.source, part.epoch]:
                said[part.source, part.epoch].append(rows.tobytes())
    return [
        f"bundle of source {source}, epoch {epoch}: {[len(rows) // ROW.itemsize for rows in contents]} rows"
        for (source, epoch), contents in sorted(said.items())
        if len(contents) > 1
    ][:MOST_SHOWN]


def _by_key(values: Iterable[bytes], name: str) -> dict[Key, frozenset[bytes]]:
    found: defaultdict[Key, set[bytes]] = defaultdict(set)
    for value in values:
        record = json.loads(value)
        found[str(record[name]), str(record["at"]), str(record["status"])].add(value)
    return {key: frozenset(values) for key, values in found.items()}


def _counts(states: Mapping[bytes, bytes]) -> dict[str, tuple[int, float]]:
    table = AccountTable()
    table.load({key: state for key, state in states.items() if key[:1] == b"a"})  # or windows of duplicates
    rows = table.rows[: len(table)]
    return dict(zip(table.keys, zip(rows["events"].tolist(), rows["output_tokens"].tolist(), strict=True), strict=True))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _news(want: frozenset[bytes], got: frozenset[bytes]) -> str:
    """The first field in which two alerts differ; of the evidence, the first term."""
    ours, theirs = json.loads(min(want)), json.loads(min(got - want or got))
    for field_name in ours:
        one, other = ours[field_name], theirs.get(field_name)
        if one != other and field_name == "evidence":
            one, other = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), (one, other))
        if one != other:
            return f"{field_name} {_short(other)} instead of {_short(one)}"
    return "more fields"


def _how(*, here: bool, there: bool) -> str:
    return "says something else" if here and there else "too many" if here else "missing"
