"""Accounts by the million: the rate at five million against fifty thousand, their bytes, and a start after SIGKILL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
import redis

from stream_guard.app.memory import TRIM_SECONDS
from stream_guard.ports import Topic
from tests.benchmarks.crowd import Shapes, chosen, produce, records_of, store
from tests.benchmarks.worker import LAG, make_cluster, ready, scrape, time_worker
from tests.support.product import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cluster import Cluster

FEW: Final = 50_000
PAUSE_SECONDS: Final = 3_600.0  # of event time between the states and the first query, and between two runs
BACKLOG: Final = 20_000  # queries that arrive while nobody reads
LAG_OF_QUERIES: Final = LAG % Topic.QUERIES.value
ROWS: Final = 'stream_guard_state_rows{stage="%s"}'
RSS: Final = "stream_guard_process_resident_memory_bytes"
LATER_SECONDS: Final = 12_000.0  # some twenty evaluations: clusters forget a tenth of their bound at each
TRIMMED_SECONDS: Final = TRIM_SECONDS + 5.0  # then the worker has given back what it freed
IDLE_DAYS: Final = 4.0  # longer than a cluster remembers an account that is silent


class Many(msgspec.Struct, frozen=True):
    """What was measured.

    Attributes:
        accounts: how many there are in the large population.
        rates: queries a second by population and access.
        redis_bytes: of one stored account, simulated ones of all ages mixed.
        worker_bytes: resident memory of the worker at the end of the large population's runs.
        microseconds: processor time a query, of the worker and of Redis, by population and access.
        recovery_seconds: from the start of a process after SIGKILL to everything read that waited.
        recovery: seconds from that start until its process answered, and until it had all its partitions.
        backlog: queries that waited.
    """

    accounts: int
    rates: dict[str, float]
    redis_bytes: float
    worker_bytes: float
    microseconds: dict[str, dict[str, float]]
    recovery_seconds: float
    recovery: dict[str, float]
    backlog: int


class Idle(msgspec.Struct, frozen=True):
    """Accounts that came once and fell silent: bytes for each, in the worker and in Redis; states left in memory."""

    accounts: int
    worker_bytes: float
    redis_bytes: float
    worker_bytes_while_active: float
    accounts_in_memory: float
    cluster_rows: float


def measure_many(  # noqa: PLR0917 # one call, in one place
    servers: tuple[str, str], directory: Path, shapes: Shapes, accounts: int, events: int, say: Callable[[str], None]
) -> Many:
    """Both populations, uniform and skewed; then a kill."""
    client = redis.Redis.from_url(servers[1])
    client.config_set("appendonly", "no")  # or rewriting its file would fall into one of the runs
    rates: dict[str, float] = {}
    microseconds: dict[str, dict[str, float]] = {"worker": {}, "redis": {}}
    redis_bytes = worker_bytes = recovered = 0.0
    recovery: dict[str, float] = {}
    for name, population in (("50k", FEW), ("5m", accounts)):
        cluster, port = make_cluster(*servers, directory / f"many-{name}")
        try:
            redis_bytes = store(cluster, client, shapes, population)
            say(f"  {population:,} accounts in Redis, {redis_bytes:.0f} bytes each")
            since = shapes.until
            for access in ("uniform", "skewed"):
                since += PAUSE_SECONDS
                numbers = chosen(population, events, skewed=access == "skewed").tolist()
                produce(cluster, records_of(shapes, numbers, since, access))
                redis_cpu = _cpu_seconds(client)
                timing, _, _ = time_worker(cluster, port, events)
                case = f"{access} {name}"
                rates[case] = timing.rate
                microseconds["worker"][case] = timing.cpu_microseconds
                microseconds["redis"][case] = 1e6 * (_cpu_seconds(client) - redis_cpu) / events
                worker_bytes, _ = _bytes(client, port)
                say(f"  {access} access: {timing.rate:,.0f}/s, worker {worker_bytes / 1e6:,.0f} MB")
                cluster.stop()
                since += events / 400.0
            if population == accounts:
                recovered, recovery = _recover(cluster, port, shapes, accounts, since + PAUSE_SECONDS)
                say(f"  caught up {recovered:.1f} s after the start that followed SIGKILL")
        finally:
            cluster.stop()
            cluster.delete_topics()
            client.flushall(asynchronous=True)  # millions of keys take longer than a client waits
    client.close()
    return Many(accounts, rates, redis_bytes, worker_bytes, microseconds, recovered, recovery, BACKLOG)


def _recover(
    cluster: Cluster, port: int, shapes: Shapes, accounts: int, since: float
) -> tuple[float, dict[str, float]]:
    """Kill a worker at work; seconds until the next one has read all that came before and after, and of its start."""
    cluster.values["STREAM_GUARD_KAFKA__INSTANCE_ID"] = cluster.group  # a name, as the documented deployment gives it
    worker = cluster.start_worker()
    produce(cluster, records_of(shapes, chosen(accounts, BACKLOG, skewed=False, seed=1).tolist(), since, "before"))
    cluster.wait_for_progress(1.0, 120.0)
    worker.kill()
    worker.wait()
    cluster.workers.clear()
    produce(
        cluster, records_of(shapes, chosen(accounts, BACKLOG, skewed=False, seed=2).tolist(), since + 60.0, "after")
    )
    started, parts = time.monotonic(), dict[str, float]()
    cluster.start_worker()
    while True:
        sample, elapsed = scrape(port), time.monotonic() - started
        if sample is not None:
            parts.setdefault("answers", elapsed)
        if sample is not None and ready(port):
            parts.setdefault("ready", elapsed)
            if LAG_OF_QUERIES in sample.values and not any(sample.work[1:]):
                return time.monotonic() - started, parts
        if time.monotonic() - started > 300.0:
            raise RuntimeError(f"not caught up:\n{cluster.logs()}")
        time.sleep(0.1)


def measure_idle(servers: tuple[str, str], directory: Path, shapes: Shapes, accounts: int) -> Idle:
    """Let accounts come once, then let days pass; bytes above what the worker takes with few accounts."""
    client = redis.Redis.from_url(servers[1])
    cluster, port = make_cluster(*servers, directory / "idle")
    try:
        cluster.start_worker()
        since, few = shapes.until, 20_000
        since = _feed(cluster, shapes, list(range(few)), since, "few")
        time.sleep(TRIMMED_SECONDS)
        worker_before, redis_before = _bytes(client, port)
        since = _feed(cluster, shapes, list(range(few, few + accounts)), since, "many")
        time.sleep(TRIMMED_SECONDS)
        active, _ = _bytes(client, port)
        since += IDLE_DAYS * 86_400.0
        _feed(cluster, shapes, list(range(few)), since, "later", per_second=few / LATER_SECONDS)
        time.sleep(TRIMMED_SECONDS)
        worker_after, redis_after = _bytes(client, port)
        left = scrape(port)
    finally:
        cluster.stop()
        cluster.delete_topics()
        client.flushall(asynchronous=True)  # millions of keys take longer than a client waits
        client.close()
    return Idle(
        accounts,
        (worker_after - worker_before) / accounts,
        (redis_after - redis_before) / accounts,
        (active - worker_before) / accounts,
        *(0.0 if left is None else left.values[ROWS % stage] for stage in ("accounts", "clusters")),
    )


def _feed(
    cluster: Cluster, shapes: Shapes, numbers: list[int], since: float, tag: str, *, per_second: float = 400.0
) -> float:
    """One query of each account, and the worker's time to take them in; where event time is then."""
    produce(cluster, records_of(shapes, numbers, since, tag, per_second))
    cluster.wait_until_drained(900.0, STAGES)
    return since + len(numbers) / 400.0 + 60.0


def _cpu_seconds(client: redis.Redis) -> float:
    """Processor time of Redis so far."""
    found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def _bytes(client: redis.Redis, port: int) -> tuple[float, float]:
    sample = scrape(port)
    if sample is None:
        raise RuntimeError("the worker does not answer")
    return sample.values[RSS], float(client.info("memory")["used_memory"])
