"""Where an alert's seconds go, by the time stamps of Kafka, and whether its decision is in Redis when it comes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import numpy as np
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.redis_control import tag
from stream_guard.encode import parse_alert, parse_decision
from stream_guard.nodes.wire import decode_part
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.records import AlertStatus, DecisionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.cluster import Cluster

QUIET_MS: Final = 2_000
HOPS: Final = ("accounts close their epochs", "clusters are judged", "campaigns, alerts, decisions")


class Watcher:
    """Reads alerts as they come, and looks in Redis for each one's decisions at that moment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._found: dict[tuple[str, float], dict[str, bool]] = {}
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Watch from here on."""
        self._thread.start()
        self._ready.wait(30.0)

    def stop(self) -> float:
        """Watch no more; of the decisions that followed from alerts seen, the share that was there with its alert."""
        self._stopped.set()
        self._thread.join()
        there: list[bool] = []
        for _, value in _read(self._cluster, Topic.DECISIONS):
            decision = parse_decision(value)
            found = self._found.get((decision.alert_id or "", decision.at))
            if found is not None and decision.status in {DecisionStatus.ACTIVE, DecisionStatus.HELD}:
                there.append(found.get(decision.decision_id, False))
        if not there:
            raise RuntimeError("no alert that came was followed by a decision")
        return float(np.mean(there))

    def _watch(self) -> None:
        consumer = KafkaConsumer(bootstrap_servers=self._cluster.bootstrap)
        consumer.assign([TopicPartition(self._cluster.name(Topic.ALERTS), 0)])
        consumer.seek_to_end()
        consumer.position(consumer.assignment().copy().pop())
        self._ready.set()
        while not self._stopped.is_set():
            for batch in consumer.poll(200).values():
                for message in batch:
                    alert = parse_alert(message.value)
                    if alert.status is not AlertStatus.RESOLVED:
                        self._found[alert.alert_id, alert.at] = self._decisions(alert.tenant)
        consumer.close()

    def _decisions(self, tenant: str) -> dict[str, bool]:
        """Standing decisions of a tenant, and whether gateways find what each of them asks for."""
        redis, prefix = self._cluster.redis, f"sg:{tag(tenant)}"
        names = [name.decode() for name in redis.zrange(f"{prefix}:decisions", 0, -1)]  # type: ignore[union-attr] # redis-py cannot know that it is no awaitable
        found = {}
        for name in names:
            body = redis.get(f"{prefix}:decision:{name}")
            if isinstance(body, bytes):
                decision = parse_decision(body)
                limits = decision.status is DecisionStatus.ACTIVE and decision.requests_per_minute is not None
                found[name] = not limits or bool(redis.exists(f"{prefix}:limit-keys:{name}"))
        return found


def hop_seconds(cluster: Cluster, last_query: Mapping[float, float]) -> dict[str, float]:
    """Median seconds of each hop to an alert.

    Args:
        cluster: which has been given up.
        last_query: by event time of an alert, when the last query went that its evaluation waited for.
    """
    seconds = Policy().epochs.epoch_seconds
    deltas, suspicions = (_newest(cluster, topic) for topic in (Topic.DELTAS, Topic.SUSPICIONS))
    rows = []
    for alert_at, value in _read(cluster, Topic.ALERTS):
        at = parse_alert(value).at
        epoch = int(at // seconds) - 1
        if at in last_query and epoch in deltas and epoch in suspicions:
            marks = (last_query[at], deltas[epoch], suspicions[epoch], alert_at)
            rows.append(np.diff(np.array(marks)))
    return dict(zip(HOPS, np.median(np.array(rows), axis=0).tolist(), strict=True)) if rows else {}


def _newest(cluster: Cluster, topic: Topic) -> dict[int, float]:
    """By epoch, when the last message about it was sent."""
    newest: dict[int, float] = {}
    for at, value in _read(cluster, topic):
        epoch = decode_part(value, cluster.settings.partitions.queries).epoch
        newest[epoch] = max(at, newest.get(epoch, at))
    return newest


def _read(cluster: Cluster, topic: Topic) -> Iterator[tuple[float, bytes]]:
    """Time stamp and value of every record of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, consumer_timeout_ms=QUIET_MS)
    name = cluster.name(topic)
    consumer.assign([TopicPartition(name, number) for number in range(cluster.settings.topic_partitions(topic))])
    consumer.seek_to_beginning()
    for message in consumer:
        yield message.timestamp / 1_000.0, message.value
    consumer.close()
