"""Sends an operator's records with kafka-python and waits until every in-sync replica has them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kafka import KafkaProducer  # type: ignore[import-untyped] # kafka-python ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from stream_guard.ports import Topic
    from stream_guard.settings import Kafka, Settings

TIMEOUT_SECONDS = 10.0


class KafkaRecords:
    """`app.operations.RecordSender`. Contacts Kafka with the first record; one record at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._lock = asyncio.Lock()

    async def send(self, topic: Topic, key: bytes, value: bytes) -> None:
        """Send one record and wait for its acknowledgement.

        Raises:
            ServiceUnavailableError: Kafka did not acknowledge it in time; it may arrive all the same.
        """
        async with self._lock:
            await asyncio.to_thread(self._send, self._settings.topic_name(topic), key, value)

    async def aclose(self) -> None:
        """Let go of the connection."""
        async with self._lock:
            if self._producer is not None:
                await asyncio.to_thread(self._producer.close, timeout=TIMEOUT_SECONDS)
                self._producer = None

    def _send(self, topic: str, key: bytes, value: bytes) -> None:
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**producer_options(self._settings.kafka))
            self._producer.send(topic, key=key, value=value).get(timeout=TIMEOUT_SECONDS)
        except (KafkaError, OSError) as error:
            where = self._settings.kafka.bootstrap
            raise ServiceUnavailableError(f"Kafka at {where} did not take the record: {error!r}") from error


def producer_options(kafka: Kafka) -> dict[str, Any]:
    """Settings as kafka-python wants them; not idempotent, because the embedded broker refuses that."""
    milliseconds = int(TIMEOUT_SECONDS * 1_000)
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in kafka.bootstrap.split(",")],
        "client_id": "stream-guard-operations",
        "acks": "all",
        "enable_idempotence": False,
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": milliseconds,
        "max_block_ms": milliseconds,
        "request_timeout_ms": milliseconds,
        "delivery_timeout_ms": milliseconds + 1_000,
        "security_protocol": kafka.security,
        "ssl_context": kafka.tls_context(),
    }
    if kafka.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value() if kafka.password else None,
        }
    return options
