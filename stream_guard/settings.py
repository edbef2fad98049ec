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
    group: str = "stream-guard"
    topic_prefix: str = ""
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    replication_factor: Count = 1
    retention_hours: Seconds = 168.0
    session_timeout_seconds: Seconds = 45.0
    rebalance_timeout_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 3.0
    request_timeout_seconds: Seconds = 90.0
    send_timeout_seconds: Seconds = 120.0
    linger_seconds: Annotated[float, Field(ge=0.0)] = 0.005
    look_back_hours: Seconds | None = None
    trust_high_watermark: bool = True
    verify_topics: bool = True

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
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    timeout_seconds: Seconds = 3.0
    account_ttl_hours: Seconds | None = None


class Partitions(_Group):
    """Partitions of the topics; account-status has as many as queries, the rest one each."""

    queries: Count = 8
    deltas: Count = 2
    suspicions: Count = 1


class Runtime(_Group):
    """How the worker paces itself."""

    checkpoint_seconds: Seconds = 1.0
    max_dirty: Count = 20_000
    envelope_records: Count = 2_000
    buffer_envelopes: Count = 256
    idle_seconds: Seconds = 2.0
    idle_close_seconds: Seconds = 5.0
    max_lead_seconds: Seconds = 600.0
    future_skew_seconds: Annotated[float, Field(ge=0.0)] = 300.0
    watchdog_seconds: Seconds = 120.0
    shutdown_seconds: Seconds = 20.0
    fenced_retry_seconds: Seconds = 30.0


class Web(_Group):
    """Health, metrics and console; port 0 = any free port."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 6_066
    read_token: SecretStr | None = None
    operate_token: SecretStr | None = None


class Notify(_Group):
    """Whom to tell about alerts: a file of targets, see docs/notifications.md."""

    targets: Path | None = None


class Log(_Group):
    """Logging."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    json_lines: bool = True


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
    log: Log = Log()
    policy: Path | None = None

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
