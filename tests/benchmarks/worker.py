"""The product's own worker through Kafka, watched from outside by its metrics."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.ports import Topic
from tests.benchmarks.contestant import LIMIT_SECONDS, Timing
from tests.support.cluster import PRODUCT, Cluster
from tests.support.product import STAGES
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PARTITIONS: Final = 8
POLL_SECONDS: Final = 0.2
QUIET_SECONDS: Final = 1.5  # shorter than the wait before an idle partition's open epochs are closed
SETTLE_SECONDS: Final = 0.4  # after the first event until every partition reports how much waits in it
LAG: Final = 'stream_guard_lag_records{topic="%s"}'
WATERMARK: Final = 'stream_guard_watermark_timestamp_seconds{stage="accounts"}'
CPU: Final = "stream_guard_process_cpu_seconds_total"
EVENTS: Final = "stream_guard_events_total"


@dataclass(frozen=True, slots=True)
class Sample:
    """Metrics at a moment of the monotonic clock."""

    at: float
    values: Mapping[str, float]

    def waiting(self, topic: Topic) -> float:
        """Records of a topic that wait in Kafka, as far as the worker knows."""
        return self.values.get(LAG % topic.value, 0.0)

    @property
    def work(self) -> tuple[float, ...]:
        """What changes as long as there is work."""
        return self.values.get(EVENTS, 0.0), *(self.waiting(topic) for _, topic in STAGES)


def make_cluster(bootstrap: str, redis_url: str, directory: Path) -> tuple[Cluster, int]:
    """A group of the product's defaults (not the tests' short times), and the port of its first worker's metrics."""
    port = free_port()
    directory.mkdir()
    cluster = Cluster(
        bootstrap,
        redis_url,
        directory,
        PRODUCT,
        {
            "STREAM_GUARD_PARTITIONS__QUERIES": str(PARTITIONS),
            "STREAM_GUARD_RUNTIME__CHECKPOINT_SECONDS": "1.0",
            "STREAM_GUARD_RUNTIME__ENVELOPE_RECORDS": "2000",
            "STREAM_GUARD_RUNTIME__MAX_ACCOUNTS": "25000",
            "STREAM_GUARD_REDIS__TIMEOUT_SECONDS": "3",
            "STREAM_GUARD_WEB__PORT": str(port),
        },
    )
    cluster.create_topics()
    return cluster, port


def time_worker(cluster: Cluster, port: int, events: int) -> tuple[Timing, float, int]:
    """Run one worker over the queries that wait in Kafka.

    The clock runs from shortly after the first event to the last change of any count or lag before the worker had
    nothing left to do; closing the last epochs after the idle wait is not in it. Events are records taken in.

    Returns:
        The timing, the seconds until the accounts stage alone had everything, and the events counted in the end.

    Raises:
        RuntimeError: the worker ended or did not get on.
    """
    process = cluster.start_worker()
    deadline = time.monotonic() + LIMIT_SECONDS
    seen: float | None = None
    first: Sample | None = None
    taken: Sample | None = None
    last: Sample | None = None
    while first is None or taken is None or last is None or time.monotonic() - last.at < QUIET_SECONDS:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the worker does not get on (exit code {process.poll()}):\n{cluster.logs()}")
        sample = scrape(port)
        if sample is not None and WATERMARK in sample.values:
            seen = seen or sample.at
            if first is None and sample.at - seen >= SETTLE_SECONDS:
                first = sample
            if last is None or sample.work != last.work:
                last = sample
            if first is not None and taken is None and sample.waiting(Topic.QUERIES) == 0:
                taken = sample
        time.sleep(POLL_SECONDS)
    counted = int(first.waiting(Topic.QUERIES))
    if counted < events / 2 or last.at <= first.at:
        raise RuntimeError(f"only {counted} of {events} events were left to time: use more events")
    timing = Timing(counted, last.at - first.at, last.values[CPU] - first.values[CPU])
    cluster.wait_until_drained(60.0, STAGES)
    closed = scrape(port)
    if cluster.ends(Topic.DEAD_LETTER) != {0: 0} or closed is None:
        raise RuntimeError("the worker refused records, or its metrics are gone")
    return timing, taken.at - first.at, int(closed.values[EVENTS])


def ready(port: int) -> bool:
    """Whether the worker has all its partitions."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def scrape(port: int) -> Sample | None:
    """Metrics now; None when the worker does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:
        return None
    finally:
        connection.close()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    return Sample(time.monotonic(), {name: float(value) for name, value in pairs})
