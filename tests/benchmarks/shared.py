"""What a million queries cost in processor time with one worker and with two."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stream_guard.ports import Topic
from tests.benchmarks.traffic import keyed
from tests.benchmarks.worker import make_cluster
from tests.support.product import STAGES

if TYPE_CHECKING:
    from tests.support.cluster import Cluster

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
REST_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 2.0  # a second worker's rebalance


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time of all workers together.

    Attributes:
        per_million: seconds for a million queries.
        without_rest: the same, less what the workers would have taken in that time had nothing come.
        at_rest: share of a core while nothing comes.
    """

    per_million: float
    without_rest: float
    at_rest: float


def cost_of(servers: tuple[str, str], directory: Path, file: Path, workers: int) -> Cost:
    """What the file's queries cost one worker, or several that share them."""
    cluster, _ = make_cluster(*servers, directory / f"shared-{workers}")
    cluster.values["STREAM_GUARD_WEB__PORT"] = "0"
    try:
        for _ in range(workers):
            cluster.start_worker()
            time.sleep(SETTLE_SECONDS)
        _wait_for_owners(cluster)
        before, began = _cpu_seconds(cluster), time.monotonic()
        time.sleep(REST_SECONDS)
        at_rest = (_cpu_seconds(cluster) - before) / (time.monotonic() - began)
        before, began = _cpu_seconds(cluster), time.monotonic()
        sent = cluster.produce(keyed(file))
        cluster.wait_until_drained(300.0, STAGES)
        spent, elapsed = _cpu_seconds(cluster) - before, time.monotonic() - began
        return Cost(1e6 * spent / sent, 1e6 * (spent - at_rest * elapsed) / sent, at_rest)
    finally:
        cluster.stop()
        cluster.delete_topics()


def _wait_for_owners(cluster: Cluster) -> None:
    """Until every partition of the queries has an owner."""
    wanted = cluster.settings.topic_partitions(Topic.QUERIES)
    deadline = time.monotonic() + 60.0
    while len(list(cluster.redis.scan_iter(f"sg:{{{cluster.group}:accounts:*}}:token"))) < wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no owner:\n{cluster.logs()}")
        time.sleep(0.2)
    time.sleep(SETTLE_SECONDS)


def _cpu_seconds(cluster: Cluster) -> float:
    ticks = 0
    for worker in cluster.workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / TICKS_PER_SECOND
