"""Settings come from the environment, are checked as a whole, and secrets can stand in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_guard.errors import ConfigurationError
from stream_guard.ports import Topic
from stream_guard.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_need_no_environment() -> None:
    settings = load_settings()
    assert settings.web.host == "127.0.0.1"
    assert settings.web.port == 6_066
    assert settings.topic_name(Topic.QUERIES) == "stream_guard.queries.v1"
    assert settings.topic_partitions(Topic.ACCOUNT_STATUS) == settings.partitions.queries == 8
    assert settings.topic_partitions(Topic.DELTAS) == 2
    assert settings.topic_partitions(Topic.CALENDAR) == 1


def test_aliases_prefix_and_nesting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "kafka:1")
    monkeypatch.setenv("REDIS_URL", "rediss://cache:2/0")
    monkeypatch.setenv("STREAM_GUARD_KAFKA__TOPIC_PREFIX", "eu.")
    monkeypatch.setenv("STREAM_GUARD_PARTITIONS__QUERIES", "16")
    settings = load_settings()
    assert settings.kafka.bootstrap == "kafka:1"
    assert settings.redis.url == "rediss://cache:2/0"
    assert settings.topic_name(Topic.ALERTS) == "eu.stream_guard.alerts.v1"
    assert settings.partitions.queries == 16


def test_our_own_name_wins_over_the_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://a/0")
    monkeypatch.setenv("STREAM_GUARD_REDIS__URL", "redis://b/0")
    assert load_settings().redis.url == "redis://b/0"


def test_secrets_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    monkeypatch.setenv("STREAM_GUARD_REDIS__PASSWORD_FILE", str(secret))
    monkeypatch.setenv("STREAM_GUARD_KAFKA__CA_FILE", str(tmp_path / "ca.pem"))
    settings = load_settings()
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "hush"
    assert settings.kafka.ca_file == tmp_path / "ca.pem", "a field that ends in _file is no secret"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "mentions"),
    [
        ("STREAM_GUARD_KAFKA__TYPO", "1", "STREAM_GUARD_KAFKA__TYPO"),
        ("STREAM_GUARD_TYPO", "1", "STREAM_GUARD_TYPO"),
        ("STREAM_GUARD_WEB__PORT", "70000", "STREAM_GUARD_WEB__PORT"),
        ("STREAM_GUARD_RUNTIME__CHECKPOINT_SECONDS", "0", "CHECKPOINT_SECONDS"),
        ("STREAM_GUARD_REDIS__PASSWORD_FILE", "/nonexistent", "PASSWORD_FILE"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, mentions: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=mentions):
        load_settings()
