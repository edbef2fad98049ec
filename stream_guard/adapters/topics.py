"""Create and verify the topics (kafka-python). Nothing is ever deleted or shrunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kafka.admin import (  # type: ignore[import-untyped] # kafka-python ships no types
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
)
from kafka.errors import KafkaError, TopicAlreadyExistsError  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.errors import ConfigurationError, ServiceUnavailableError
from stream_guard.ports import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stream_guard.settings import Settings

REQUEST_TIMEOUT_MS = 15_000
BOOTSTRAP_TIMEOUT_MS = 5_000
FOR_EVER = "-1"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How one topic should be."""

    topic: Topic
    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What was found or done about one topic; `problem` is None when it is as it should be."""

    name: str
    partitions: int
    created: bool
    problem: str | None = None


def plan_topics(settings: Settings) -> tuple[TopicPlan, ...]:
    """Every topic of the product. None is compacted: each is a log that is read from stored positions."""
    retention_ms = str(int(settings.kafka.retention_hours * 3_600_000))
    kept = {Topic.FEEDBACK: FOR_EVER, Topic.OPERATIONS: FOR_EVER, Topic.CALENDAR: FOR_EVER}
    return tuple(
        TopicPlan(
            topic,
            settings.topic_name(topic),
            settings.topic_partitions(topic),
            settings.kafka.replication_factor,
            {"cleanup.policy": "delete", "retention.ms": kept.get(topic, retention_ms)},
        )
        for topic in Topic
    )


class TopicAdmin:
    """An admin connection; use as a context manager.

    Args:
        settings: where Kafka is.

    Raises:
        ServiceUnavailableError: Kafka does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        kafka = settings.kafka
        options: dict[str, Any] = {}
        if kafka.security.startswith("SASL"):
            options = {
                "sasl_mechanism": kafka.sasl_mechanism,
                "sasl_plain_username": kafka.username,
                "sasl_plain_password": kafka.password.get_secret_value() if kafka.password else None,
            }
        try:
            self._admin = KafkaAdminClient(
                bootstrap_servers=kafka.bootstrap.split(","),
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                security_protocol=kafka.security,
                ssl_context=kafka.tls_context(),
                **options,
            )
        except (KafkaError, OSError) as error:
            raise ServiceUnavailableError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()

    def create_missing(self, plans: tuple[TopicPlan, ...]) -> tuple[TopicReport, ...]:
        """Create what is missing and verify the rest.

        Raises:
            ServiceUnavailableError: Kafka refuses or does not answer.
        """
        existing = self._partition_counts()
        reports = []
        for plan in plans:
            if plan.name in existing:
                reports.append(_compare(plan, existing[plan.name]))
                continue
            try:
                self._admin.create_topics(
                    {
                        plan.name: {
                            "num_partitions": plan.partitions,
                            "replication_factor": plan.replication_factor,
                            "configs": dict(plan.config),
                        }
                    },
                    wait_for_metadata=True,
                )
            except TopicAlreadyExistsError:
                reports.append(_compare(plan, self._partition_counts().get(plan.name, plan.partitions)))
            except (KafkaError, OSError) as error:
                raise ServiceUnavailableError(f"topic {plan.name} cannot be created: {error}") from error
            else:
                reports.append(TopicReport(plan.name, plan.partitions, created=True))
        return tuple(reports)

    def verify(self, plans: tuple[TopicPlan, ...]) -> tuple[TopicReport, ...]:
        """Compare without changing anything."""
        existing = self._partition_counts()
        compacted = self._compacted([plan.name for plan in plans if plan.name in existing])
        reports = []
        for plan in plans:
            if plan.name not in existing:
                problem = "missing: run `stream-guard topics`"
                reports.append(TopicReport(plan.name, 0, created=False, problem=problem))
            elif plan.name in compacted:
                problem = "compacted, which loses records: set cleanup.policy=delete"
                reports.append(TopicReport(plan.name, existing[plan.name], created=False, problem=problem))
            else:
                reports.append(_compare(plan, existing[plan.name]))
        return tuple(reports)

    def _partition_counts(self) -> dict[str, int]:
        try:
            described = self._admin.describe_topics()
        except (KafkaError, OSError) as error:
            raise ServiceUnavailableError(f"Kafka does not describe its topics: {error}") from error
        return {topic["name"]: len(topic["partitions"]) for topic in described}

    def _compacted(self, names: Sequence[str]) -> set[str]:
        if not names:
            return set()
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        try:
            by_type = self._admin.describe_configs(resources)
        except (KafkaError, OSError) as error:
            raise ServiceUnavailableError(f"Kafka does not describe its configuration: {error}") from error
        found = by_type.get("topic", {})
        return {name for name in names if "compact" in found.get(name, {}).get("cleanup.policy", {}).get("value", "")}


def require(reports: tuple[TopicReport, ...]) -> None:
    """Refuse to go on with topics that are not as they should be.

    Raises:
        ConfigurationError: names the first problem.
    """
    for report in reports:
        if report.problem is not None:
            raise ConfigurationError(f"topic {report.name}: {report.problem}")


def _compare(plan: TopicPlan, partitions: int) -> TopicReport:
    problem = None
    if partitions != plan.partitions:
        problem = (
            f"has {partitions} partitions, settings say {plan.partitions}: correct STREAM_GUARD_PARTITIONS__*; "
            "changing a topic that is in use moves accounts away from their state"
        )
    return TopicReport(plan.name, partitions, created=False, problem=problem)
