"""Fixtures that several test folders share: real servers, started once a session."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # `tests.support` under --import-mode=importlib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import KafkaServer, RedisServer


def pytest_configure() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import kafka  # type: ignore[import-untyped] # noqa: F401, PLC0415 # untyped; reads its schemas in a deprecated way while being imported


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka that a test may stop and start again."""
    from tests.support.servers import KafkaServer  # noqa: PLC0415 # after the path above is set

    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that a test may stop and start again; it keeps its data."""
    from tests.support.servers import RedisServer  # noqa: PLC0415 # after the path above is set

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """KAFKA_BOOTSTRAP where set, else a Kafka of our own."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    if given:
        return given
    server: KafkaServer = request.getfixturevalue("own_kafka")
    return server.bootstrap


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """REDIS_URL where set, else a Redis of our own."""
    given = os.environ.get("REDIS_URL")
    if given:
        return given
    server: RedisServer = request.getfixturevalue("own_redis")
    return server.url
