"""`stream-guard tail` into a real Kafka, and out of it again through our own decoder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.topics import TopicAdmin, plan_topics
from stream_guard.decode import Decoder
from stream_guard.ports import Topic
from stream_guard.records import Kind
from stream_guard.settings import Kafka, Settings
from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.integration
SAMPLES = ROOT / "tests" / "samples"
KEY = "a secret of the tests, long enough"
NEVER = 4e9


@pytest.fixture
def settings(kafka_bootstrap: str) -> Settings:
    """Topics of this test alone."""
    found = Settings(kafka=Kafka(bootstrap=kafka_bootstrap, topic_prefix=f"t{uuid4().hex[:8]}."))
    with TopicAdmin(found) as admin:
        admin.create_missing(plan_topics(found))
    return found


@pytest.fixture
def bridge(settings: Settings) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command as a user does."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "STREAM_GUARD_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "STREAM_GUARD_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "STREAM_GUARD_SOURCES__KEY": KEY,
    }

    def start(*arguments: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stream_guard.cli", "tail", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment | more, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    return start


def read(settings: Settings, topic: Topic, count: int) -> list[tuple[bytes, bytes]]:
    """Wait for so many records, and see that no more come."""
    name = settings.topic_name(topic)
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, consumer_timeout_ms=500)
    try:
        parts = [TopicPartition(name, number) for number in range(settings.topic_partitions(topic))]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        found: list[tuple[bytes, bytes]] = []
        deadline = time.monotonic() + 20.0
        while True:
            new = [(record.key, record.value) for record in consumer]
            found += new
            if (len(found) >= count and not new) or time.monotonic() > deadline:
                return found
    finally:
        consumer.close()


def decoded(records: list[tuple[bytes, bytes]]) -> dict[str, dict[str, Any]]:
    """What our own decoder makes of them, by account."""
    found = Decoder().decode([value for _, value in records], latest_ts=NEVER)
    assert found.refused == []
    batch = found.batch
    return {
        batch.key[row]: {
            "ts": float(batch.ts[row]),
            "input": float(batch.input_tokens[row]),
            "output": float(batch.output_tokens[row]),
            "status": int(batch.status[row]),
            "limited": bool(batch.limited[row]),
            "flags": int(batch.flags[row]),
            "sketched": bool(batch.sketch[row]["exact"]),
            "address": bool(batch.values[row, Kind.ADDRESS]),
            "model": bool(batch.values[row, Kind.MODEL]),
        }
        for row in range(len(batch))
    }


def test_samples_of_every_source_arrive_with_their_columns(
    settings: Settings, bridge: Callable[..., subprocess.Popen[str]]
) -> None:
    samples = {"otel": ["otel-spans", "otel-logs"], "litellm": ["litellm"], "envoy": ["envoy"]}
    runs = [
        bridge("--source", source, str(SAMPLES / f"{name}.jsonl"))
        for source, names in samples.items()
        for name in names
    ]
    runs.append(bridge("--source", str(SAMPLES / "generic.toml"), str(SAMPLES / "generic.jsonl")))
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors
        assert "records sent" in errors
    records = read(settings, Topic.QUERIES, 11)
    assert len(records) == 11
    for key, value in records:
        assert json.loads(value)["account_id"].encode() == key
    rows = decoded(records)
    one = rows["emea\x1facct_otel_1"]
    assert one == {
        "ts": 1_764_082_803.346, "input": 412.0, "output": 873.0, "status": 200, "limited": False, "flags": 0,
        "sketched": True, "address": True, "model": True,
    }  # fmt: skip
    assert rows["emea\x1facct_otel_2"]["limited"]
    assert rows["acct_otel_3"]["sketched"]
    assert rows["emea\x1facct_lite_1"]["limited"]  # the last of three
    assert rows["f0e1d2"]["status"] == 400
    assert rows["acct_envoy_1"]["output"] == 144.0
    assert rows["emea\x1facct_envoy_2"]["limited"]
    sent = b"".join(value for _, value in records)
    assert not any(text in sent for text in (b"203.0.113", b"clouds", b"Peru", b"lawyer", b"4111"))


def test_following_survives_rotation_and_a_restart_and_loses_nothing(
    settings: Settings, bridge: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    log, kept = tmp_path / "access.log", tmp_path / "position"

    def write(*numbers: int) -> None:
        with log.open("a") as out:
            for number in numbers:
                line = {"event_id": f"e{number}", "ts": 1_764_082_800_000 + number, "account_id": f"a{number}"}
                out.write(json.dumps(line) + "\n")

    def until(lines: int, run: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 30.0
        while not (kept.exists() and json.loads(kept.read_text())["line"] == lines):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    write(*range(5))
    with log.open("a") as out:
        out.write("no JSON\n")
    arguments = ("--source", "envoy", "--follow", "--position", str(kept), str(log))
    run = bridge(*arguments)
    until(6, run)
    log.rename(tmp_path / "access.log.1")
    write(5, 6)
    until(2, run)
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 0, errors
    assert "8 lines, 7 records sent, 1 refused" in errors
    write(7)
    log.rename(tmp_path / "access.log.2")
    write(8)
    run = bridge(*arguments)
    until(1, run)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 0, errors
    assert "2 lines, 2 records sent, 0 refused" in errors
    assert sorted(json.loads(value)["event_id"] for _, value in read(settings, Topic.QUERIES, 9)) == [
        f"e{number}" for number in range(9)
    ]
    ((_, letter),) = read(settings, Topic.DEAD_LETTER, 1)
    assert json.loads(letter)["offset"] == 5
    assert json.loads(letter)["topic"] == str(log)


def test_a_pipe_is_sent_as_it_comes(settings: Settings, bridge: Callable[..., subprocess.Popen[str]]) -> None:
    run = bridge("--source", "envoy", "-")
    assert run.stdin is not None
    run.stdin.write('{"event_id": "e", "ts": 1764082800000, "account_id": "a"}\n')
    run.stdin.flush()
    assert len(read(settings, Topic.QUERIES, 1)) == 1
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130, errors
    assert "1 records sent" in errors


def test_a_kafka_that_lacks_the_topic_fails_with_one_line(bridge: Callable[..., subprocess.Popen[str]]) -> None:
    run = bridge("--source", "envoy", str(SAMPLES / "envoy.jsonl"), STREAM_GUARD_KAFKA__TOPIC_PREFIX="none.")
    _, errors = run.communicate(timeout=90)
    assert run.returncode == 1
    assert "`stream-guard topics` creates topics" in errors
    assert "Traceback" not in errors
