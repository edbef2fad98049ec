"""The only place that makes the Faust app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faust
from faust.app.base import BootStrategy
from faust.auth import SASLCredentials, SSLCredentials

from stream_guard.app.assignor import StageAssignor
from stream_guard.app.lane import LaneTransport
from stream_guard.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types.transports import TransportT

    from stream_guard.app.stages import Stage
    from stream_guard.settings import Kafka, Settings

COMMIT_SECONDS = 2.0
NEVER_SECONDS = 86_400.0  # our own watchdog replaces Kafka's idea of a poll that takes too long


class _NoWeb(BootStrategy):
    """Faust's web server binds every interface; ours is in `web`."""

    enable_web = False


class GuardApp(faust.App):
    """A Faust app on the batch lane, without tables, leader topic or web server."""

    BootStrategy = _NoWeb
    assignor_for_lane: StageAssignor | None = None
    urgent_topics: frozenset[str] = frozenset()

    def _create_directories(self) -> None:
        """Nothing is kept in files."""

    def _new_transport(self) -> TransportT:
        transport = LaneTransport(self.conf.broker_consumer, self)
        transport.assignor, transport.urgent_topics = self.assignor_for_lane, self.urgent_topics
        return transport


def make_app(settings: Settings, stages: Sequence[Stage]) -> GuardApp:
    """The app; nothing is contacted yet."""
    kafka, runtime = settings.kafka, settings.runtime
    app = GuardApp(
        kafka.group,
        broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_rebalance_timeout=kafka.rebalance_timeout_seconds,
        consumer_group_instance_id=kafka.instance_id,
        broker_heartbeat_interval=kafka.heartbeat_seconds,
        broker_request_timeout=max(kafka.request_timeout_seconds, kafka.session_timeout_seconds),
        broker_max_poll_interval=NEVER_SECONDS,
        broker_max_poll_records=runtime.envelope_records,
        broker_commit_interval=COMMIT_SECONDS,
        broker_commit_livelock_soft_timeout=NEVER_SECONDS,
        stream_processing_timeout=NEVER_SECONDS,
        consumer_max_fetch_size=4 * 1024 * 1024,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_linger=kafka.linger_seconds,
        producer_max_batch_size=256 * 1024,
        producer_request_timeout=kafka.send_timeout_seconds,
        stream_buffer_maxsize=runtime.buffer_envelopes,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        autodiscover=False,
    )
    app.assignor_for_lane = StageAssignor(
        [{settings.topic_name(topic): settings.topic_partitions(topic) for topic in stage.topics} for stage in stages]
    )
    app.urgent_topics = frozenset(
        settings.topic_name(topic) for stage in stages if not stage.paced for topic in stage.topics
    )
    return app


def _credentials(kafka: Kafka) -> Any:  # noqa: ANN401 # one of Faust's credentials classes
    context = kafka.tls_context()
    if kafka.security.startswith("SASL"):
        if kafka.username is None or kafka.password is None:
            raise ConfigurationError("STREAM_GUARD_KAFKA__USERNAME and __PASSWORD are required with SASL")
        return SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            ssl_context=context,
            mechanism=kafka.sasl_mechanism,
        )
    return SSLCredentials(context) if context is not None else None
