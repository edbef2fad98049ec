"""What is done to a running system: one function a kind, which breaks something and makes it whole again."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_guard.adapters.notify.outbox import LEASE_SECONDS
from tests.chaos.endpoints import Mode
from tests.chaos.world import FAKETIME, SESSION_SECONDS, WORKERS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.chaos.world import Slot, World

LONGEST_ENDPOINT = 15.0


def worker_kill(world: World, generator: random.Random) -> str:
    return _kill(world, [_victim(world, generator)], generator.choice([0.0, 1.0, SESSION_SECONDS + 2.0]))


def worker_pause(world: World, generator: random.Random) -> str:
    """Suspended: shortly, or until the others have taken its partitions over."""
    seconds = generator.choice([1.0, SESSION_SECONDS + 3.0, SESSION_SECONDS + 5.0])
    return _pause(_victim(world, generator), seconds)


def notifier_kill(world: World, generator: random.Random) -> str:
    """One, or both at once."""
    victims = generator.sample(world.notifiers, generator.choice([1, 2]))
    return _kill(world, victims, generator.choice([0.0, 1.0]))


def notifier_pause(world: World, generator: random.Random) -> str:
    """Suspended: shortly, or until the other one has taken its lease over and sends."""
    return _pause(generator.choice(world.notifiers), generator.choice([1.0, LEASE_SECONDS + 5.0]))


def _kill(world: World, slots: Sequence[Slot], away: float) -> str:
    for slot in slots:
        world.kill_process(slot)
    time.sleep(away)
    for slot in slots:
        world.start_process(slot)
    return f"{' and '.join(slot.name for slot in slots)} killed, started after {away:g} s"


def _pause(slot: Slot, seconds: float) -> str:
    with slot.lock:  # nobody starts or stops it meanwhile
        if slot.process is None or slot.process.poll() is not None:
            return f"{slot.name} was not running"
        slot.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        slot.process.send_signal(signal.SIGCONT)
    return f"{slot.name} suspended for {seconds:g} s"


def rebalance_storm(world: World, generator: random.Random) -> str:
    """One worker more, one leaves and comes back, the one more leaves."""
    extra, slot = world.slots[WORKERS], _victim(world, generator)
    world.start_process(extra)
    time.sleep(generator.uniform(1.0, 4.0))
    world.stop_process(slot)
    time.sleep(generator.uniform(0.0, 1.0))
    world.start_process(slot)
    time.sleep(generator.uniform(0.0, 2.0))
    world.stop_process(extra)
    return f"worker {WORKERS} came and went, {slot.name} went and came"


def log_disk_full(world: World, generator: random.Random) -> str:
    slot = _victim(world, generator)
    slot.log_on_full_disk = True
    world.stop_process(slot)
    world.start_process(slot)
    seconds = generator.uniform(2.0, 5.0)
    time.sleep(seconds)
    slot.log_on_full_disk = False
    world.stop_process(slot)
    world.start_process(slot)
    return f"{slot.name} wrote its log to a full disk for {seconds:.1f} s"


def clock_step(world: World, generator: random.Random) -> str:
    """The wall clock of one worker jumps, and jumps back."""
    slot = _victim(world, generator)
    seconds = generator.choice([-86_400, -3_600, -10, 10, 3_600, 86_400])
    world.clock_file(slot).write_text(f"{seconds:+d}")
    time.sleep(generator.uniform(2.0, 4.0))
    world.clock_file(slot).write_text("+0")
    return f"clock of {slot.name} stepped by {seconds:+,d} s and back"


def broker_kill(world: World, generator: random.Random) -> str:
    world.kafka.stop(signal.SIGKILL)
    away = generator.uniform(0.0, 3.0)
    time.sleep(away)
    world.kafka.start()
    return f"broker killed, started after {away:.1f} s"


def broker_pause(world: World, generator: random.Random) -> str:
    seconds = generator.uniform(1.0, SESSION_SECONDS + 3.0)
    world.kafka.pause()
    time.sleep(seconds)
    world.kafka.resume()
    return f"broker suspended for {seconds:.1f} s"


def redis_kill(world: World, generator: random.Random) -> str:
    world.redis.stop(signal.SIGKILL)
    away = generator.uniform(0.0, 4.0)
    time.sleep(away)
    world.redis.start()
    return f"Redis killed, started with its data after {away:.1f} s"


def redis_empty(world: World, generator: random.Random) -> str:
    del generator
    world.empty_redis()
    return "Redis killed and started empty"


def redis_slow(world: World, generator: random.Random) -> str:
    delay, seconds = generator.choice([0.02, 0.2, 1.5]), generator.uniform(2.0, 4.0)
    world.proxy.delay_seconds = delay
    time.sleep(seconds)
    world.proxy.delay_seconds = 0.0
    return f"Redis {delay:g} s slower each way for {seconds:.1f} s"


def redis_silent(world: World, generator: random.Random) -> str:
    """Written to, executed or not, and never an answer: the caller cannot know."""
    seconds = generator.uniform(1.0, 4.0)
    world.proxy.swallow = True
    time.sleep(seconds)
    world.proxy.swallow = False
    return f"nothing came through to Redis or back for {seconds:.1f} s"


def redis_full(world: World, generator: random.Random) -> str:
    seconds = generator.uniform(1.0, 4.0)
    world.cluster.redis.config_set("maxmemory", 1_000_000)
    time.sleep(seconds)
    world.cluster.redis.config_set("maxmemory", 0)
    return f"Redis full for {seconds:.1f} s"


def redis_read_only(world: World, generator: random.Random) -> str:
    """A replica of a master that is not there: it has its data, and refuses every write."""
    seconds = generator.uniform(1.0, 4.0)
    world.cluster.redis.replicaof("127.0.0.1", "1")
    time.sleep(seconds)
    world.cluster.redis.replicaof("NO", "ONE")
    return f"Redis read-only for {seconds:.1f} s"


def endpoint_hangs(world: World, generator: random.Random) -> str:
    return _treated(world, generator, Mode.HANGS)


def endpoint_fails(world: World, generator: random.Random) -> str:
    return _treated(world, generator, Mode.FAILS)


def endpoint_cuts(world: World, generator: random.Random) -> str:
    """It has the notification, and the notifier cannot know."""
    return _treated(world, generator, Mode.CUTS)


def _treated(world: World, generator: random.Random, mode: Mode) -> str:
    """One target or both, for some seconds, and longer where nothing was sent: else nothing would have happened."""
    endpoints = generator.choice([*((one,) for one in world.endpoints), world.endpoints])
    seconds, began = generator.uniform(2.0, 6.0), time.monotonic()
    for endpoint in endpoints:
        endpoint.become(mode)
    while (lasted := time.monotonic() - began) < LONGEST_ENDPOINT:
        attempts = sum(endpoint.attempts for endpoint in endpoints)
        if attempts and lasted >= seconds:
            break
        time.sleep(0.1)
    for endpoint in endpoints:
        endpoint.become(Mode.TAKES)
    names = " and ".join(endpoint.name for endpoint in endpoints)
    return f"{names}: {mode} for {lasted:.1f} s, met by {attempts} attempts"


def endpoint_refuses(world: World, generator: random.Random) -> str:
    endpoint, seconds = generator.choice(world.endpoints), generator.uniform(3.0, 9.0)
    endpoint.close()
    time.sleep(seconds)
    endpoint.open()
    return f"{endpoint.name} refuses connections for {seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a fault is injected, and what it needs for itself: two faults may happen at once to different things."""

    inject: Callable[[World, random.Random], str]
    needs: str


KINDS: dict[str, Kind] = {
    "broker_kill": Kind(broker_kill, "broker"),
    "broker_pause": Kind(broker_pause, "broker"),
    "endpoint_cuts": Kind(endpoint_cuts, "endpoints"),
    "endpoint_fails": Kind(endpoint_fails, "endpoints"),
    "endpoint_hangs": Kind(endpoint_hangs, "endpoints"),
    "endpoint_refuses": Kind(endpoint_refuses, "endpoints"),
    "log_disk_full": Kind(log_disk_full, "workers"),
    "notifier_kill": Kind(notifier_kill, "notifiers"),
    "notifier_pause": Kind(notifier_pause, "notifiers"),
    "rebalance_storm": Kind(rebalance_storm, "workers"),
    "redis_empty": Kind(redis_empty, "redis"),
    "redis_full": Kind(redis_full, "redis"),
    "redis_kill": Kind(redis_kill, "redis"),
    "redis_read_only": Kind(redis_read_only, "redis"),
    "redis_silent": Kind(redis_silent, "redis"),
    "redis_slow": Kind(redis_slow, "redis"),
    "worker_kill": Kind(worker_kill, "workers"),
    "worker_pause": Kind(worker_pause, "workers"),
}
if FAKETIME is not None:
    KINDS["clock_step"] = Kind(clock_step, "workers")

LOCKS = {name: threading.Lock() for name in ("broker", "endpoints", "notifiers", "redis", "workers")}


def _victim(world: World, generator: random.Random) -> Slot:
    return world.slots[generator.randrange(WORKERS)]
