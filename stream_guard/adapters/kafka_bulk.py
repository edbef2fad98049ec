"""Sends many records with kafka-python and says when every in-sync replica has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from kafka import KafkaProducer  # type: ignore[import-untyped] # kafka-python ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.kafka_records import producer_options
from stream_guard.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from stream_guard.ports import Topic
    from stream_guard.settings import Settings

FLUSH_SECONDS: Final = 60.0
_OPTIONS: Final = {"client_id": "stream-guard-tail", "linger_ms": 20, "batch_size": 256 * 1024}


class KafkaBulk:
    """A producer; use as a context manager. Contacts Kafka with the first record."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._failures: list[BaseException] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._producer is not None:
            self._producer.close(timeout=FLUSH_SECONDS)

    def send(self, topic: Topic, key: bytes, value: bytes) -> None:
        """Hand one record over; records of one key keep their order.

        Raises:
            ServiceUnavailableError: Kafka does not answer, or has no such topic.
        """
        name = self._settings.topic_name(topic)
        self._require_none_failed()
        try:
            if self._producer is None:
                self._producer = KafkaProducer(**{**producer_options(self._settings.kafka), **_OPTIONS})
            self._producer.send(name, key=key, value=value).add_errback(self._failures.append)
        except (KafkaError, OSError) as error:
            raise self._unavailable(f"topic {name}: {error!r}") from error

    def flush(self) -> None:
        """Wait until Kafka has everything that was handed over.

        Raises:
            ServiceUnavailableError: it has not; some of it may have arrived all the same.
        """
        try:
            if self._producer is not None:
                self._producer.flush(timeout=FLUSH_SECONDS)
        except (KafkaError, OSError) as error:
            raise self._unavailable(repr(error)) from error
        self._require_none_failed()

    def _require_none_failed(self) -> None:
        if self._failures:
            raise self._unavailable(repr(self._failures[0]))

    def _unavailable(self, what: str) -> ServiceUnavailableError:
        where = self._settings.kafka.bootstrap
        return ServiceUnavailableError(
            f"Kafka at {where} did not take a record ({what}): `stream-guard check` says more, `stream-guard topics` "
            "creates topics"
        )
