"""A group of worker processes on unique topics, their input, and what they stored."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import redis
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # aiokafka ships no types
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped] # kafka-python ships no types
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.redis_state import GROUPED, bucket_of
from stream_guard.ports import Topic
from stream_guard.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
MEBIBYTE = 1_048_576
COUNTING = "tests.support.counting_worker"
PRODUCT = "stream_guard.app.main"


class Cluster:
    """Workers on one consumer group.

    Args:
        bootstrap: Kafka.
        redis_url: Redis.
        directory: where the workers' logs go.
        module: what a worker process runs.
        extra: further environment.
    """

    def __init__(
        self,
        bootstrap: str,
        redis_url: str,
        directory: Path,
        module: str = COUNTING,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        name = f"t{uuid4().hex[:10]}"
        self.bootstrap, self.directory, self.module, self.group = bootstrap, directory, module, name
        self.values = {
            "STREAM_GUARD_KAFKA__BOOTSTRAP": bootstrap,
            "STREAM_GUARD_KAFKA__GROUP": name,
            "STREAM_GUARD_KAFKA__TOPIC_PREFIX": f"{name}.",
            "STREAM_GUARD_KAFKA__SESSION_TIMEOUT_SECONDS": "4",
            "STREAM_GUARD_KAFKA__REBALANCE_TIMEOUT_SECONDS": "6",
            "STREAM_GUARD_KAFKA__HEARTBEAT_SECONDS": "0.5",
            "STREAM_GUARD_REDIS__URL": redis_url,
            "STREAM_GUARD_REDIS__TIMEOUT_SECONDS": "1",
            "STREAM_GUARD_PARTITIONS__QUERIES": "4",
            "STREAM_GUARD_RUNTIME__CHECKPOINT_SECONDS": "0.3",
            "STREAM_GUARD_RUNTIME__ENVELOPE_RECORDS": "500",
            "STREAM_GUARD_RUNTIME__MAX_ACCOUNTS": "25",  # so that accounts leave the memory and come back all the time
            "STREAM_GUARD_RUNTIME__WATCHDOG_SECONDS": "60",
            "STREAM_GUARD_RUNTIME__FENCED_RETRY_SECONDS": "5",
            "STREAM_GUARD_WEB__PORT": "0",
            **(extra or {}),
        }
        self.settings = _settings(self.values)
        self.redis = redis.Redis.from_url(redis_url, socket_timeout=5.0)
        self.workers: list[subprocess.Popen[bytes]] = []

    def name(self, topic: Topic) -> str:
        return self.settings.topic_name(topic)

    def create_topics(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        wanted = {
            self.name(topic): {
                "num_partitions": self.settings.topic_partitions(topic),
                "replication_factor": 1,
                "configs": {"max.message.bytes": str(2 * MEBIBYTE)},  # so that oversized records arrive at all
            }
            for topic in Topic
        }
        admin.create_topics(wanted, wait_for_metadata=True)
        admin.close()

    def delete_topics(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.delete_topics([self.name(topic) for topic in Topic])
        admin.close()

    def produce(self, records: Iterable[tuple[bytes, bytes | None]], topic: Topic = Topic.QUERIES) -> int:
        """Send (key, value) pairs through Kafka's default partitioner; how many there were."""
        return asyncio.run(self._produce(records, topic))

    async def _produce(self, records: Iterable[tuple[bytes, bytes | None]], topic: Topic) -> int:
        producer = AIOKafkaProducer(  # kafka-python takes six times as long over its checksums
            bootstrap_servers=self.bootstrap,
            linger_ms=50,
            max_batch_size=262_144,
            max_request_size=2 * MEBIBYTE,
            enable_idempotence=True,  # a new topic's leaders refuse at first: retries must keep the order
        )
        await producer.start()
        try:
            sent = [await producer.send(self.name(topic), key=key, value=value) for key, value in records]
            await producer.flush()
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
        return len(sent)

    def start_worker(self) -> subprocess.Popen[bytes]:
        threads = {"OPENBLAS_NUM_THREADS": "1"}  # as the command sets it
        environment = {**os.environ, **threads, **self.values, "PYTHONPATH": str(ROOT)}
        with (self.directory / f"worker-{len(self.workers)}.log").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", self.module], env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        self.workers.append(process)
        return process

    def stop(self) -> list[int | None]:
        """End every worker politely; their exit codes."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(30)
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        return [worker.returncode for worker in self.workers]

    def logs(self) -> str:
        return "\n".join(path.read_text()[-4_000:] for path in sorted(self.directory.glob("worker-*.log")))

    def ends(self, topic: Topic) -> dict[int, int]:
        """End offsets by partition."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        partitions = [
            TopicPartition(self.name(topic), number) for number in range(self.settings.topic_partitions(topic))
        ]
        ends = consumer.end_offsets(partitions)
        consumer.close()
        return {partition.partition: offset for partition, offset in ends.items()}

    def read_topic(self, topic: Topic) -> list[tuple[bytes | None, bytes]]:
        """Every record of a topic."""
        ends = self.ends(topic)
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, consumer_timeout_ms=10_000, auto_offset_reset="earliest"
        )
        partitions = [TopicPartition(self.name(topic), number) for number, end in ends.items() if end > 0]
        records: list[tuple[bytes | None, bytes]] = []
        if partitions:
            consumer.assign(partitions)
            consumer.seek_to_beginning()
        while any(consumer.position(partition) < ends[partition.partition] for partition in partitions):
            for batch in consumer.poll(1_000).values():
                records.extend((record.key, record.value) for record in batch)
        consumer.close()
        return records

    def positions(self, stage: str, topic: Topic) -> dict[int, int]:
        """Stored positions by partition."""
        found = {}
        for partition in range(self.settings.topic_partitions(topic)):
            value = self.redis.hget(f"sg:{{{self.group}:{stage}:{partition}}}:meta", f"p:{topic.value}")
            found[partition] = int(value) if value is not None else 0
        return found

    def wait_until_drained(self, seconds: float, stages: Iterable[tuple[str, Topic]]) -> float:
        """Wait until the stored positions of all stages have reached the ends; how long that took."""
        started = time.monotonic()
        while True:
            try:
                if all(self.positions(stage, topic) == self.ends(topic) for stage, topic in stages):
                    return time.monotonic() - started
            except redis.RedisError:
                pass
            failed = [worker.returncode for worker in self.workers if worker.poll() not in (None, 0, -9)]
            if failed or time.monotonic() - started > seconds:
                states = [(stage, self.positions(stage, topic), self.ends(topic)) for stage, topic in stages]
                raise AssertionError(f"not drained: {states}, exit codes {failed}\n{self.logs()}")
            time.sleep(0.3)

    def wait_for_progress(self, share: float, seconds: float) -> None:
        """Wait until that share of the queries is covered by checkpoints."""
        end = sum(self.ends(Topic.QUERIES).values())
        deadline = time.monotonic() + seconds
        while sum(self.positions("accounts", Topic.QUERIES).values()) < share * end:
            failed = [worker.returncode for worker in self.workers if worker.poll() not in (None, 0, -9)]
            assert not failed, f"exit codes {failed}\n{self.logs()}"
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def lazy_states(self, stage: str, topic: Topic) -> dict[bytes, bytes]:
        """Stored states of a lazy stage."""
        states: dict[bytes, bytes] = {}
        for partition in range(self.settings.topic_partitions(topic)):
            prefix = f"sg:{{{self.group}:{stage}:{partition}}}:".encode()
            names = list(self.redis.scan_iter(prefix + b"[sb]:*", count=5_000))
            for start in range(0, len(names), 5_000):
                pipeline = self.redis.pipeline(transaction=False)
                for name in names[start : start + 5_000]:
                    pipeline.get(name) if name.startswith(prefix + b"s:") else pipeline.hgetall(name)
                for name, value in zip(names[start : start + 5_000], pipeline.execute(), strict=True):
                    if isinstance(value, bytes):
                        states[name[len(prefix) + 2 :]] = value
                    else:
                        states.update((GROUPED + field, state[2:]) for field, state in value.items())
        return states

    def store_account(self, partition: int, key: bytes, state: bytes) -> None:
        """Put an account's state where a worker finds it."""
        name = f"sg:{{{self.group}:accounts:{partition}}}:b:".encode() + bucket_of(key)
        self.redis.hset(name, key[1:], b"\xff\xff" + state)

    def eager_states(self, stage: str, topic: Topic) -> dict[bytes, bytes]:
        """Stored states of an eager stage."""
        states: dict[bytes, bytes] = {}
        for partition in range(self.settings.topic_partitions(topic)):
            found = self.redis.hgetall(f"sg:{{{self.group}:{stage}:{partition}}}:all")
            states.update(cast("dict[bytes, bytes]", found))
        return states


def _settings(values: Mapping[str, str]) -> Settings:
    nested: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        group, _, field = name.removeprefix("STREAM_GUARD_").lower().partition("__")
        if field:
            nested.setdefault(group, {})[field] = value
    return Settings(**nested)  # type: ignore[arg-type] # pydantic converts
