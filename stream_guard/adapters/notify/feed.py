"""Alerts out of Kafka into the outbox; positions are in Redis, beside what was taken in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped] # aiokafka ships no types
from aiokafka.errors import KafkaError  # type: ignore[import-untyped] # aiokafka ships no types

from stream_guard.adapters.notify.outbox import PositionsChangedError
from stream_guard.encode import alert_object, parse_alert
from stream_guard.errors import DecodeError, StateUnavailableError
from stream_guard.pausing import pause
from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.adapters.notify.outbox import Outbox
    from stream_guard.settings import Kafka, Settings

log = structlog.get_logger(__name__)

LOOK_BACK_SECONDS: Final = 3_600.0  # at the very first start: older alerts are history, nobody is paged for them
_POLL_MS: Final = 500
_RETRY_SECONDS: Final = 2.0


async def feed(settings: Settings, outbox: Outbox, on_dropped: Callable[[list[str]], None]) -> None:
    """Take alerts in until cancelled; while Kafka or Redis is away, wait."""
    while True:
        consumer = AIOKafkaConsumer(**_options(settings.kafka))
        try:
            await consumer.start()
            positions = await _from_positions(consumer, settings, outbox)
            while True:
                await _take_in(consumer, outbox, positions, on_dropped)
                await pause(0.0)
        except (KafkaError, StateUnavailableError, OSError) as error:
            log.warning("alerts cannot be taken in", error=repr(error))
        finally:
            await consumer.stop()
        await pause(_RETRY_SECONDS)


async def _from_positions(consumer: Any, settings: Settings, outbox: Outbox) -> dict[int, int]:  # noqa: ANN401 # untyped
    topic = settings.topic_name(Topic.ALERTS)
    partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions(Topic.ALERTS))]
    consumer.assign(partitions)
    since = int((time.time() - LOOK_BACK_SECONDS) * 1_000)
    ends = await consumer.end_offsets(partitions)  # first: what comes from now on is either found or after them
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
    positions = await outbox.positions()
    for partition in partitions:
        position = positions.get(partition.partition)
        if position is not None:
            consumer.seek(partition, position)
        elif found.get(partition) is not None:
            consumer.seek(partition, found[partition].offset)
        else:
            consumer.seek(partition, ends[partition])
    return positions


async def _take_in(
    consumer: Any,  # noqa: ANN401 # untyped
    outbox: Outbox,
    positions: dict[int, int],
    on_dropped: Callable[[list[str]], None],
) -> None:
    """Take in what has come. A Redis that came back empty, or with less, has lost queues too: that is told again."""
    if await outbox.positions() != positions:
        raise PositionsChangedError("positions in Redis are not those that were read")
    for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
        number = partition.partition
        for record in records:
            transition, body = _body(record.value)
            dropped = await outbox.take_in(number, positions.get(number), record.offset, transition, body)
            positions[number] = record.offset + 1
            on_dropped(dropped)


def _body(value: bytes | None) -> tuple[str, bytes]:
    try:
        alert = alert_object(parse_alert(value or b""))
    except DecodeError as error:
        log.warning("a record of the alerts topic is no alert", error=str(error))
        return "", b""
    transition = f"{alert['alert_id']}:{alert['status']}:{alert['at']}"
    return transition, msgspec.json.encode({"transition": transition, "alert": alert})


def _options(kafka: Kafka) -> dict[str, Any]:
    return {
        "bootstrap_servers": [server.strip() for server in kafka.bootstrap.split(",")],
        "client_id": "stream-guard-notify",
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",  # where retention has taken what was not read yet
        "security_protocol": kafka.security,
        "ssl_context": kafka.tls_context(),
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.username,
        "sasl_plain_password": kafka.password.get_secret_value() if kafka.password else None,
    }
