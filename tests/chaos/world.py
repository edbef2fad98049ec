"""Everything one run stands on: Kafka, Redis behind a proxy, endpoints; workers and notifiers under a supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.endpoints import Endpoint, Mode
from tests.chaos.proxy import Proxy
from tests.support.cluster import PRODUCT, ROOT, Cluster
from tests.support.servers import KafkaServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKERS = 2
NOTIFIERS = 2
PARTITIONS = 4
SESSION_SECONDS = 4.0
FAKETIME = next(
    (path for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None
)  # Debian's libfaketime; without it there are no clock steps
FULL_DISK = Path("/dev/full")
SUPERVISOR_SECONDS = 0.3

SETTINGS = {
    "STREAM_GUARD_KAFKA__SESSION_TIMEOUT_SECONDS": f"{SESSION_SECONDS:g}",
    "STREAM_GUARD_KAFKA__REQUEST_TIMEOUT_SECONDS": "20",
    "STREAM_GUARD_KAFKA__SEND_TIMEOUT_SECONDS": "20",
    "STREAM_GUARD_PARTITIONS__QUERIES": f"{PARTITIONS}",
    "STREAM_GUARD_RUNTIME__CHECKPOINT_SECONDS": "0.5",
    "STREAM_GUARD_RUNTIME__MAX_ACCOUNTS": "100",
    "STREAM_GUARD_RUNTIME__WATCHDOG_SECONDS": "60",
    "STREAM_GUARD_RUNTIME__FENCED_RETRY_SECONDS": "3",
    # Silence for longer than an outage lasts, or partitions would be closed while their records are held up.
    "STREAM_GUARD_RUNTIME__IDLE_SECONDS": "12",
    "STREAM_GUARD_RUNTIME__IDLE_CLOSE_SECONDS": "2",
}


@dataclass(slots=True)
class Slot:
    """One place for a process; the supervisor fills it again when the process ends by itself."""

    name: str
    module: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    log_on_full_disk: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class World:
    """Servers and workers of all runs; `begin` gives each run topics and a group of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kafka = KafkaServer(directory / "kafka")
        self.redis = RedisServer(directory / "redis")
        self.proxy = Proxy(self.redis.port)
        self.webhook, self.pager = Endpoint("cases", "webhook"), Endpoint("pager", "alertmanager")
        self.endpoints = (self.webhook, self.pager)
        self.slots = [Slot(f"worker {number}", (PRODUCT,)) for number in range(WORKERS + 1)]  # one more for storms
        self.notifiers = [Slot(f"notifier {number}", ("stream_guard.cli", "notify")) for number in range(NOTIFIERS)]
        self.ended_by_themselves: list[str] = []
        self._cluster: Cluster | None = None
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "begin first"
        return self._cluster

    def start(self) -> None:
        self.kafka.start()
        self.redis.start()
        self.proxy.start()
        for endpoint in self.endpoints:
            endpoint.open()
        self._supervisor.start()

    def stop(self) -> None:
        """End everything, also when not everything has started."""
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join(10)
        for slot in self.processes:
            self.stop_process(slot)
        for endpoint in self.endpoints:
            endpoint.close()
        self.proxy.stop()
        for server in (self.redis, self.kafka):
            if server.process is not None and server.process.poll() is None:
                server.resume()
            server.stop()

    def begin(self, name: str) -> None:
        """New topics, a new group, an empty Redis, two workers, two notifiers, and nobody has been told of anything."""
        directory = self.directory / name
        directory.mkdir()
        (directory / "targets.toml").write_text("\n".join(endpoint.target() for endpoint in self.endpoints))
        for endpoint in self.endpoints:
            endpoint.become(Mode.TAKES)
            endpoint.taken.clear()
        self._cluster = Cluster(self.kafka.bootstrap, self.redis.url, directory, PRODUCT, SETTINGS)
        self._cluster.redis.flushall()
        self._cluster.create_topics()
        for slot in (*self.slots[:WORKERS], *self.notifiers):
            self.start_process(slot)

    def end(self) -> None:
        """Stop the processes and forget the run's topics."""
        for slot in self.processes:
            self.stop_process(slot)
        self.cluster.delete_topics()
        self.cluster.redis.close()

    @property
    def processes(self) -> Sequence[Slot]:
        return (*self.slots, *self.notifiers)

    # Workers and notifiers --------------------------------------------------------------------------------------------

    def clock_file(self, slot: Slot) -> Path:
        return self.cluster.directory / f"clock-{slot.name[-1]}"

    def start_process(self, slot: Slot) -> None:
        with slot.lock:
            slot.wanted = True
            self._launch(slot)

    def kill_process(self, slot: Slot) -> None:
        """SIGKILL; the slot stays empty until it is started again."""
        with slot.lock:
            slot.wanted = False
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()

    def stop_process(self, slot: Slot, seconds: float = 30.0) -> None:
        """SIGTERM, and SIGKILL where that does not end it in time."""
        with slot.lock:
            slot.wanted = False
            process = slot.process
            if process is None or process.poll() is not None:
                return
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.ended_by_themselves.append(f"{slot.name} did not stop within {seconds:g} s: killed")
                process.kill()
                process.wait()

    def _launch(self, slot: Slot) -> None:
        cluster = self.cluster
        environment = {
            **os.environ,
            **cluster.values,
            "STREAM_GUARD_REDIS__URL": f"redis://127.0.0.1:{self.proxy.port}/0",
            "PYTHONPATH": str(ROOT),
        }
        if slot in self.notifiers:
            environment["STREAM_GUARD_NOTIFY__TARGETS"] = str(cluster.directory / "targets.toml")
        elif FAKETIME is not None:
            self.clock_file(slot).write_text("+0")
            environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file(slot)),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        log = FULL_DISK if slot.log_on_full_disk else cluster.directory / f"{slot.name.replace(' ', '-')}.log"
        with log.open("ab") as out:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", *slot.module], env=environment, stdout=out, stderr=subprocess.STDOUT
            )

    def _supervise(self) -> None:
        """As systemd or Kubernetes would: what ends is started again, and counted."""
        while not self._stopping.wait(SUPERVISOR_SECONDS):
            for slot in self.processes:
                with slot.lock:
                    if slot.wanted and slot.process is not None and slot.process.poll() is not None:
                        self.ended_by_themselves.append(f"{slot.name} ended with {slot.process.returncode}")
                        self._launch(slot)

    def live(self) -> Sequence[Slot]:
        return [slot for slot in self.slots if slot.process is not None and slot.process.poll() is None]

    def memory_mebibytes(self) -> float:
        """Resident memory of the largest worker."""
        sizes = [0.0]
        for slot in self.live():
            assert slot.process is not None
            lines = Path(f"/proc/{slot.process.pid}/status").read_text().splitlines()
            sizes += [int(line.split()[1]) / 1_024 for line in lines if line.startswith("VmRSS:")]
        return max(sizes)

    # Servers ----------------------------------------------------------------------------------------------------

    def empty_redis(self) -> None:
        self.redis.stop(signal.SIGKILL)
        shutil.rmtree(self.redis.directory / "appendonlydir", ignore_errors=True)
        self.redis.start()
