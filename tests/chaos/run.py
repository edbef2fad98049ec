"""One run: records flow, faults happen, everything heals, and the result is held against the undisturbed one."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis

from stream_guard.ports import Topic
from tests.chaos.compare import Difference, Result, difference, expected, found, resent
from tests.chaos.faults import KINDS, LOCKS
from tests.chaos.feeder import Feeder
from tests.chaos.told import never_told, pager, webhook
from tests.chaos.traffic import STREAM_FAULTS, addressed, disturbed, simulated
from tests.chaos.world import PARTITIONS
from tests.support.product import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.world import World

ALL_KINDS = sorted([*KINDS, *STREAM_FAULTS])
AT_ONCE = 3
SLICE_SECONDS = 2.0  # over which the records between two faults are spread
DRAIN_SECONDS = 300.0
SLOWEST_EVENTS_PER_SECOND = 2_000  # where the last fault emptied Redis, everything is read again
TOLD_SECONDS = 120.0  # twice the longest pause between attempts
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """One run before it happens.

    Attributes:
        name: of the run; also of its directory.
        events: least number of records to send.
        faults: kinds, in their order.
        seed: of the records and of everything that the faults choose.
    """

    name: str
    events: int
    faults: Sequence[str]
    seed: int


@dataclass(slots=True)
class Report:
    """One run afterwards."""

    plan: Plan
    events: int
    difference: Difference = field(default_factory=Difference)
    log: list[str] = field(default_factory=list)
    drain_seconds: float = 0.0
    seconds: float = 0.0
    memory_mebibytes: float = 0.0
    alerts: int = 0
    told: int = 0
    told_again: int = 0
    campaigns: int = 0
    restarts: int = 0


def dealt(count: int, seed: int) -> list[str]:
    """So many faults, every kind as often as every other, in an order of the seed's."""
    generator = random.Random(f"kinds {seed}")
    faults: list[str] = []
    while len(faults) < count:
        faults += generator.sample(ALL_KINDS, len(ALL_KINDS))
    return faults[:count]


def run(world: World, plan: Plan, tell: Callable[[str], None]) -> Report:
    """Carry a plan out in a world that was started; `tell` hears of each fault."""
    started = time.monotonic()
    pairs = simulated(plan.events, plan.seed)
    of_stream = [kind for kind in plan.faults if kind in STREAM_FAULTS]
    stream = disturbed(pairs, of_stream, random.Random(f"stream {plan.seed}"))
    items = addressed(pairs, PARTITIONS)
    report = Report(plan, len(items))
    ended = len(world.ended_by_themselves)
    world.begin(plan.name)
    feeder = Feeder(world.kafka.bootstrap, world.cluster.name(Topic.QUERIES), items)
    feeder.start()
    want = expected(items, world.cluster.settings.partitions.deltas)
    for line in stream:
        report.log.append(line)
        tell(line)
    _disturb(world, feeder, report, tell)
    feeder.allow(1.0)
    try:
        report.drain_seconds = _drained(world, feeder, report.events)
        report.memory_mebibytes = world.memory_mebibytes()
        report.difference = difference(want, found(world.cluster))
        _wait_until_told(world, want)
        webhook(want.alerts, world.webhook.taken, report.difference)
        pager(want.alerts, world.pager.taken, report.difference)
        report.told = len(world.webhook.taken)
        report.told_again = report.told - len({one.headers.get("idempotency-key") for one in world.webhook.taken})
        if report.difference.bad:
            report.difference.told += resent(world.cluster)
    except TimeoutError as error:
        report.difference.mismatch(str(error))
    feeder.stop()
    report.restarts = len(world.ended_by_themselves) - ended
    report.alerts, report.campaigns = len(want.alerts), len(want.campaigns)
    world.end()
    report.seconds = time.monotonic() - started
    return report


def _disturb(world: World, feeder: Feeder, report: Report, tell: Callable[[str], None]) -> None:
    faults, seed = [kind for kind in report.plan.faults if kind in KINDS], report.plan.seed
    started = time.monotonic()

    def one(number: int) -> None:
        kind = faults[number]
        with LOCKS[KINDS[kind].needs]:
            began = time.monotonic() - started
            feeder.allow((number + 1) / (len(faults) + 1), SLICE_SECONDS)
            detail = KINDS[kind].inject(world, random.Random(f"{kind} {number} {seed}"))
        line = f"{began:6.1f} s  {kind}: {detail}"
        report.log.append(line)
        tell(line)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(one, range(len(faults))):
            pass


def _drained(world: World, feeder: Feeder, events: int) -> float:
    """Wait until everything is sent and every stage has stored the ends of its topics as its positions."""
    started, cluster = time.monotonic(), world.cluster
    positions: list[tuple[str, dict[int, int], dict[int, int]]] = []
    while time.monotonic() - started < DRAIN_SECONDS + events / SLOWEST_EVENTS_PER_SECOND:
        if feeder.error is not None:
            raise feeder.error
        try:
            positions = [(stage, cluster.positions(stage, topic), cluster.ends(topic)) for stage, topic in STAGES]
            if feeder.done and all(stored == ends for _, stored, ends in positions):
                return time.monotonic() - started
        except redis.RedisError:
            pass
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"stuck: sent {feeder.sent:,}, positions and ends {positions}")


def _wait_until_told(world: World, want: Result) -> None:
    """Wait until the notifiers have nothing left to say, or for as long as that may take."""
    cluster, deadline = world.cluster, time.monotonic() + TOLD_SECONDS
    queues = [f"sg:{{notify:{cluster.group}}}:queue:{endpoint.name}" for endpoint in world.endpoints]
    while time.monotonic() < deadline:
        if not any(cluster.redis.llen(queue) for queue in queues) and not never_told(want.alerts, world.webhook.taken):
            return
        time.sleep(POLL_SECONDS)
