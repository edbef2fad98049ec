"""Fixtures that several test folders share: real servers, started once a session."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # `support` under --import-mode=importlib

from support.servers import KafkaServer, RedisServer, outside  # noqa: E402 # needs the line above

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka that a test may stop and start again."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that a test may stop and start again; it keeps its data."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """KAFKA_BOOTSTRAP where set, else a Kafka of our own."""
    given = outside("KAFKA_BOOTSTRAP")
    if given is not None:
        return given
    server: KafkaServer = request.getfixturevalue("own_kafka")
    return server.bootstrap


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """REDIS_URL where set, else a Redis of our own."""
    given = outside("REDIS_URL")
    if given is not None:
        return given
    server: RedisServer = request.getfixturevalue("own_redis")
    return server.url
