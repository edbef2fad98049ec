"""Traffic of the demo: the simulator's scenario, moved to the present, and sent faster than it happened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition  # type: ignore[import-untyped] # kafka-python ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.kafka_records import producer_options
from stream_guard.errors import ServiceUnavailableError
from stream_guard.ports import Topic
from stream_guard.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stream_guard.settings import Settings

DAYS: Final = 1.25
_DAY: Final = 86_400_000  # the simulator's unit is the millisecond
_STEPS_A_SECOND: Final = 20
_TOPICS: Final = {
    "query": (Topic.QUERIES, "account_id"),
    "account_status": (Topic.ACCOUNT_STATUS, "account_id"),
    "model_release": (Topic.CALENDAR, "model"),
}
_PATIENT: Final = {
    "client_id": "stream-guard-demo",
    "linger_ms": 50,
    "batch_size": 256 * 1024,  # few requests: the embedded broker is slow at each
    "max_block_ms": 60_000,
    "request_timeout_ms": 60_000,  # on a busy machine it may take long; sending again would only add to it
    "delivery_timeout_ms": 90_000,
}
_TIMES: Final = ("ts", "at", "account_created_at")


@dataclass(frozen=True, slots=True)
class Sent:
    """One record on its way: event time in Unix seconds, where it goes, and its bytes."""

    ts: float
    account: str | None
    topic: Topic
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class DemoTraffic:
    """Everything that will be sent, by event time, and the truth that only the report looks at."""

    records: Sequence[Sent]
    hostile: frozenset[str]
    honest: frozenset[str]
    campaign_starts: float

    @property
    def queries(self) -> int:
        """Queries among the records."""
        return sum(record.account is not None for record in self.records)

    @property
    def hours(self) -> float:
        """Event time from the first record to the last."""
        return (self.records[-1].ts - self.records[0].ts) / 3_600.0

    def leaked_before(self, ts: float) -> int:
        """Queries of the campaign up to an event time."""
        return sum(record.account in self.hostile and record.ts <= ts for record in self.records)

    @property
    def exchanges(self) -> int:
        """Queries of the campaign."""
        return sum(record.account in self.hostile for record in self.records)


def make_traffic(seed: int, background_accounts: int) -> DemoTraffic:
    """Simulate, and move the last day to the latest one that lies wholly in the past: hours of the day stay."""
    traffic = simulate("demo", seed=seed, days=DAYS, background_accounts=background_accounts)
    rows = list(traffic.records)
    shift = (int(time.time() * 1_000) - _time(rows[-1])) // _DAY * _DAY
    encode = msgspec.json.Encoder().encode
    records = [_moved(row, shift, encode) for row in rows]
    campaigns = traffic.truth["campaigns"]
    hostile = frozenset(account for campaign in campaigns for account in campaign["accounts"])
    seen = frozenset(record.account for record in records if record.account is not None)
    starts = min(campaign["starts"] for campaign in campaigns)
    return DemoTraffic(records, hostile & seen, seen - hostile, (starts + shift) / 1_000)


def send_traffic(
    traffic: DemoTraffic, settings: Settings, seconds: float, on_step: Callable[[int, float], None]
) -> None:
    """Send all of it within `seconds`, event time running evenly; `on_step` hears how many went and how far it is.

    Raises:
        ServiceUnavailableError: the broker did not take a record.
    """
    failures: list[BaseException] = []
    first, length = traffic.records[0].ts, traffic.records[-1].ts - traffic.records[0].ts
    producer = KafkaProducer(**{**producer_options(settings.kafka), **_PATIENT})
    try:
        started, position = time.monotonic(), 0
        while position < len(traffic.records):
            due = first + length * min(1.0, (time.monotonic() - started) / seconds)
            count = 0
            while position < len(traffic.records) and traffic.records[position].ts <= due:
                record = traffic.records[position]
                future = producer.send(settings.topic_name(record.topic), key=record.key, value=record.value)
                future.add_errback(failures.append)
                position, count = position + 1, count + 1
            on_step(count, due)
            time.sleep(1.0 / _STEPS_A_SECOND)
        producer.flush(timeout=90.0)
    except (KafkaError, OSError) as error:
        raise ServiceUnavailableError(f"Kafka did not take a record: {error!r}") from error
    finally:
        producer.close(timeout=5.0)
    if failures:
        raise ServiceUnavailableError(f"Kafka did not take a record: {failures[0]!r}")


class AlertFeed:
    """Every transition of every alert, from Kafka: between two looks at the API a transition may have followed another.

    Args:
        settings: of the demo, whose alerts topic has one partition.
    """

    def __init__(self, settings: Settings) -> None:
        partition = TopicPartition(settings.topic_name(Topic.ALERTS), 0)
        self._consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, enable_auto_commit=False)
        self._consumer.assign([partition])
        self._consumer.seek_to_beginning(partition)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False)

    def read(self) -> list[dict[str, Any]]:
        """What came since, oldest first."""
        return [msgspec.json.decode(record.value) for some in self._consumer.poll().values() for record in some]


def _moved(row: dict[str, Any], shift: int, encode: Callable[[Any], bytes]) -> Sent:
    row = {name: value + shift if name in _TIMES and value is not None else value for name, value in row.items()}
    topic, key = _TOPICS[row.get("type", "query")]
    account = row["account_id"] if topic is Topic.QUERIES else None
    return Sent(_time(row) / 1_000, account, topic, str(row[key]).encode(), encode(row))


def _time(row: dict[str, Any]) -> int:
    return int(row["ts"] if "ts" in row else row["at"])
