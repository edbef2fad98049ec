"""The product over SASL_SSL to Kafka and over TLS with a user of its own to Redis; secrets never show."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import redis

from tests.security.servers import GATEWAY, USER, Certificates, SecureKafka, SecureRedis, make_certificates
from tests.support.cluster import PRODUCT, ROOT, Cluster
from tests.support.product import STAGES, found, keyed, replayed, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

DRAIN_SECONDS = 90.0
TOKEN = secrets.token_hex(16)
KAFKA_PASSWORD, REDIS_PASSWORD = secrets.token_hex(12), secrets.token_hex(12)
SECRETS = (TOKEN, KAFKA_PASSWORD, REDIS_PASSWORD)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[SecureKafka]:
    server = SecureKafka(tmp_path_factory.mktemp("secure-kafka"), certificates, KAFKA_PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[SecureRedis]:
    server = SecureRedis(tmp_path_factory.mktemp("secure-redis"), certificates, REDIS_PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cluster(
    kafka: SecureKafka, redis_server: SecureRedis, certificates: Certificates, tmp_path: Path
) -> Iterator[Cluster]:
    """The test speaks plainly; its workers do not."""
    for name, secret in (("kafka", KAFKA_PASSWORD), ("redis", REDIS_PASSWORD)):
        (tmp_path / f"{name}-password").write_text(f"{secret}\n")
    cluster = Cluster(kafka.bootstrap, redis_server.url, tmp_path, PRODUCT)
    cluster.create_topics()
    cluster.values |= {
        "STREAM_GUARD_KAFKA__BOOTSTRAP": kafka.secure_bootstrap,
        "STREAM_GUARD_KAFKA__SECURITY": "SASL_SSL",
        "STREAM_GUARD_KAFKA__USERNAME": USER,
        "STREAM_GUARD_KAFKA__PASSWORD_FILE": str(tmp_path / "kafka-password"),
        "STREAM_GUARD_KAFKA__CA_FILE": str(certificates.authority),
        "STREAM_GUARD_REDIS__URL": redis_server.secure_url,
        "STREAM_GUARD_REDIS__USERNAME": USER,
        "STREAM_GUARD_REDIS__PASSWORD_FILE": str(tmp_path / "redis-password"),
        "STREAM_GUARD_REDIS__CA_FILE": str(certificates.authority),
        "STREAM_GUARD_WEB__OPERATE_TOKEN": TOKEN,
        "STREAM_GUARD_LOG__LEVEL": "DEBUG",
    }
    yield cluster
    cluster.stop()
    cluster.delete_topics()


def command(cluster: Cluster, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """`stream-guard …` with the worker's settings."""
    environment = {**os.environ, **cluster.values, **changed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "stream_guard.cli", *arguments],
        env=environment, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    hide(done.stdout + done.stderr)
    return done


def hide(text: str) -> None:
    """Nothing that anybody can read holds a secret."""
    assert not [secret for secret in SECRETS if secret in text]


def test_the_worker_finds_the_same_over_tls_with_passwords(cluster: Cluster, tmp_path: Path) -> None:
    simulate(tmp_path / "demo.jsonl", "demo", "--background-accounts", "200", "--days", "0.75", "--seed", "7")
    lines = (tmp_path / "demo.jsonl").read_bytes().splitlines()
    cluster.produce(keyed(lines))
    cluster.start_worker()
    cluster.wait_until_drained(DRAIN_SECONDS, STAGES)
    expected = replayed(lines)
    assert expected.campaigns
    assert found(cluster) == expected
    gateway = redis.Redis.from_url(
        cluster.values["STREAM_GUARD_REDIS__URL"], username=GATEWAY, password=REDIS_PASSWORD,
        ssl_ca_certs=cluster.values["STREAM_GUARD_REDIS__CA_FILE"],
    )  # fmt: skip
    with gateway:
        assert gateway.get("sg:{default}:limit:account:acct_1") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            gateway.set("sg:{default}:limit:account:acct_1", "{}")
        with pytest.raises(redis.exceptions.NoPermissionError):
            gateway.get(f"sg:{{{cluster.group}:campaigns:0}}:meta")
        with pytest.raises(redis.exceptions.NoPermissionError):
            gateway.flushall()
    assert cluster.stop() == [0]
    logs = "".join(path.read_text() for path in tmp_path.glob("worker-*.log"))
    assert "partition restored" in logs or "warming" in logs
    hide(logs)


def test_operators_reach_both_too(cluster: Cluster) -> None:
    done = command(cluster, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    plain = command(cluster, "check", STREAM_GUARD_KAFKA__SASL_MECHANISM="PLAIN")
    assert plain.returncode == 0, plain.stderr
    assert command(cluster, "topics").returncode == 0
    assert command(cluster, "kill-switch", "on", "--reason", "test").returncode == 0
    assert command(cluster, "kill-switch", "off", "--reason", "test").returncode == 0
    assert command(cluster, "allow", "add", "account", "acct_1", "--reason", "test").returncode == 0
    assert command(cluster, "decisions", "list").returncode == 0
    assert command(cluster, "campaigns").returncode == 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STREAM_GUARD_KAFKA__PASSWORD", KAFKA_PASSWORD[::-1], "kafka"),
        ("STREAM_GUARD_KAFKA__CA_FILE", "", "kafka"),
        ("STREAM_GUARD_REDIS__PASSWORD", REDIS_PASSWORD[::-1], "redis"),
        ("STREAM_GUARD_REDIS__CA_FILE", "", "redis"),
    ],
)
def test_a_wrong_password_or_an_unknown_authority_is_refused_in_one_line(
    cluster: Cluster, name: str, value: str, told: str
) -> None:
    cluster.values.pop(f"{name}_FILE", None)
    cluster.values.pop(name, None)
    done = command(cluster, "check", **({name: value} if value else {}))
    assert done.returncode == 1
    assert f"FAIL  {told}" in done.stderr
    assert "Traceback" not in done.stderr
    assert value == "" or value not in done.stdout + done.stderr
    worker = command(cluster, "worker", **({name: value} if value else {})) if told == "kafka" else done
    assert worker.returncode == 1
    assert "Traceback" not in worker.stderr
