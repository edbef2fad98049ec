"""Where things are and how the worker runs. This module is the only reader of the environment.

Every field is `STREAM_GUARD_<GROUP>__<FIELD>`, for example `STREAM_GUARD_REDIS__URL`. Add `_FILE` to read the value
from a file (for secrets). `KAFKA_BOOTSTRAP` and `REDIS_URL` are understood too. An unknown name is an error.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_guard.errors import ConfigurationError
from stream_guard.ports import Topic

PREFIX = "STREAM_GUARD_"
ALIASES = {"KAFKA_BOOTSTRAP": ("kafka", "bootstrap"), "REDIS_URL": ("redis", "url")}

Seconds = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(_Group):
    """How Kafka is reached. Internal messages stay below 1 MB, so the broker's default limit does."""

    bootstrap: str = "127.0.0.1:9092"
    """Brokers, `host:port` separated by commas."""
    group: str = "stream-guard"
    """Consumer group; the workers of one group share the partitions."""
    topic_prefix: str = ""
    """Put before the name of every topic."""
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How brokers are spoken to."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """With `SASL_PLAINTEXT` and `SASL_SSL`."""
    username: str | None = None
    """Of SASL; required with it."""
    password: SecretStr | None = None
    """Of SASL; required with it."""
    ca_file: Path | None = None
    """Certificate authorities that brokers are checked against; the system's without it."""
    certificate_file: Path | None = None
    """The client's own certificate, where brokers ask for one."""
    key_file: Path | None = None
    """The key of that certificate."""
    replication_factor: Count = 1
    """Of topics that `stream-guard topics` creates."""
    retention_hours: Seconds = 168.0
    """Of topics that `stream-guard topics` creates; what people said is kept for ever."""
    session_timeout_seconds: Seconds = 45.0
    """A worker that is silent for this long loses its partitions."""
    rebalance_timeout_seconds: Seconds = 60.0
    """How long a rebalance waits for workers to join again."""
    instance_id: str | None = None
    """Name of this worker, different for each: killed and started again it has its partitions back at once."""
    heartbeat_seconds: Seconds = 3.0
    """How often a worker says that it lives."""
    request_timeout_seconds: Seconds = 90.0
    """Of one request to a broker."""
    send_timeout_seconds: Seconds = 120.0
    """Until a record that no broker acknowledges counts as failed."""
    linger_seconds: Annotated[float, Field(ge=0.0)] = 0.005
    """How long a record waits for others, to be sent in one batch."""
    look_back_hours: Seconds | None = None
    """How far back to start where Redis holds no checkpoint; without it, at the oldest record."""
    trust_high_watermark: bool = True
    """Whether the broker tells truly how far a partition reaches; off for the embedded broker."""
    verify_topics: bool = True
    """Whether a worker refuses to start while topics are missing or wrong."""

    def tls_context(self) -> ssl.SSLContext | None:
        """TLS, where these settings ask for it.

        Raises:
            ConfigurationError: a certificate file cannot be used.
        """
        if self.security not in {"SSL", "SASL_SSL"}:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:
            raise ConfigurationError(f"TLS files for Kafka cannot be used: {error}") from error
        return context


class RedisServer(_Group):
    """How Redis is reached; `rediss://` means TLS. Without a `ca_file` the system's authorities are trusted."""

    url: str = "redis://127.0.0.1:6379/0"
    """Server and database; a password does not belong here."""
    username: str | None = None
    """Of Redis' access control lists."""
    password: SecretStr | None = None
    """Of the user, or of the server."""
    ca_file: Path | None = None
    """Certificate authorities that the server is checked against."""
    certificate_file: Path | None = None
    """The client's own certificate, where the server asks for one."""
    key_file: Path | None = None
    """The key of that certificate."""
    timeout_seconds: Seconds = 3.0
    """Of one answer."""
    account_ttl_hours: Seconds | None = None
    """After how long without a query an account's state is forgotten; never without it."""


class Partitions(_Group):
    """Partitions of the topics; account-status has as many as queries, the rest one each."""

    queries: Count = 8
    """Of queries and account-status; do not change it in use, accounts would lose their state."""
    deltas: Count = 2
    """Of what accounts tell clusters; likewise."""
    suspicions: Count = 1
    """Of what clusters tell campaigns, and of every other topic."""


class Runtime(_Group):
    """How the worker paces itself."""

    checkpoint_seconds: Seconds = 1.0
    """How often states become durable."""
    max_dirty: Count = 20_000
    """States of one partition that may wait for a checkpoint; past it consumption pauses."""
    max_accounts: Count = 25_000
    """Accounts that one partition keeps in memory; who was silent longest waits in Redis and comes back on demand."""
    shed_lag_records: Count | None = None
    """Queries that may wait in a partition; past it only suspects and a share of accounts are read. None = read all."""
    shed_keep_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Of the accounts that nobody suspects, how many are read meanwhile."""
    envelope_records: Count = 2_000
    """Records that are processed at once."""
    buffer_envelopes: Count = 256
    """Envelopes that may wait in memory."""
    idle_seconds: Seconds = 2.0
    """Without records for this long, a partition looks whether time has gone on elsewhere."""
    idle_close_seconds: Seconds = 5.0
    """Silence on all partitions after which the last epochs are closed."""
    max_lead_seconds: Seconds = 600.0
    """By how much event time of one partition may be ahead of the slowest."""
    future_skew_seconds: Annotated[float, Field(ge=0.0)] = 300.0
    """By how much a record may be ahead of the clock before it is refused."""
    watchdog_seconds: Seconds = 120.0
    """Records wait and nothing moves for this long: the worker ends, to be started anew."""
    shutdown_seconds: Seconds = 20.0
    """For the last checkpoint after SIGTERM."""
    fenced_retry_seconds: Seconds = 30.0
    """How long a partition that another worker owns is left alone."""


class Web(_Group):
    """Health, metrics and console; port 0 = any free port."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 6_066
    """Port to listen on."""
    read_token: SecretStr | None = None
    """Whoever presents it may read; 16 characters at least."""
    operate_token: SecretStr | None = None
    """Whoever presents it may read and act; 16 characters at least."""
    tokens: SecretStr | None = None
    """More tokens by name, as TOML, and what each may do: see docs/console.md."""


class Notify(_Group):
    """Whom to tell about alerts: a file of targets, see docs/notifications.md."""

    targets: Path | None = None
    """TOML file of targets; without it nobody is told."""


class Sources(_Group):
    """What `stream-guard tail` needs, see docs/sources.md."""

    key: SecretStr | None = None
    """Secret of at least 16 bytes that goes into every fingerprint it makes."""


class Log(_Group):
    """Logging."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe message that is written."""
    json_lines: bool = True
    """One JSON object a line; off for people who watch a terminal."""


class _Environment(PydanticBaseSettingsSource):
    """Environment variables, aliases and secret files as one nested dictionary."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002 # pydantic's signature
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        nested: dict[str, Any] = {}
        for name, (group, field) in ALIASES.items():
            if name in os.environ:
                nested.setdefault(group, {})[field] = os.environ[name]
        for name, value in sorted(os.environ.items()):
            if name.startswith(PREFIX):
                _put(nested, name, value, type(self).known(self.settings_cls))
        return nested

    @staticmethod
    def known(settings: type[BaseSettings]) -> dict[str, frozenset[str]]:
        """Fields by group; a plain field has none."""
        groups: dict[str, frozenset[str]] = {}
        for name, info in settings.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, _Group):
                groups[name] = frozenset(kind.model_fields)
            else:
                groups[name] = frozenset()
        return groups


def _put(nested: dict[str, Any], name: str, value: str, known: dict[str, frozenset[str]]) -> None:
    path = name.removeprefix(PREFIX).lower().split("__")
    fields = known.get(path[0], frozenset())
    if path[-1].endswith("_file") and (path[-1] not in fields if len(path) == 2 else path[0] not in known):
        path[-1] = path[-1].removesuffix("_file")
        try:
            value = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{name}: cannot read the file it names: {error}") from error
    target = nested
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


class Settings(BaseSettings):
    """All settings; build with `load_settings`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    kafka: Kafka = Kafka()
    redis: RedisServer = RedisServer()
    partitions: Partitions = Partitions()
    runtime: Runtime = Runtime()
    web: Web = Web()
    notify: Notify = Notify()
    sources: Sources = Sources()
    log: Log = Log()
    policy: Path | None = None
    """The policy file; without it, defaults."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then our own reading of the environment."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Environment(settings_cls)

    def topic_name(self, topic: Topic) -> str:
        """Real name of a logical topic."""
        return f"{self.kafka.topic_prefix}{topic.value}"

    def topic_partitions(self, topic: Topic) -> int:
        """How many partitions a topic has."""
        return {
            Topic.QUERIES: self.partitions.queries,
            Topic.ACCOUNT_STATUS: self.partitions.queries,
            Topic.DELTAS: self.partitions.deltas,
        }.get(topic, self.partitions.suspicions)


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401 # whatever the groups take
    """Read and validate the environment.

    Raises:
        ConfigurationError: a variable is unknown or its value is out of range; the message names it.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}") from error
