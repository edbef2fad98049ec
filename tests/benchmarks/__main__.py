"""`make bench`: the worker against a bare loop, a replay and a naive detector, all in one run on one machine.

Starts a Kafka and a Redis of its own on loopback, prints a table and writes `build/bench.json`. Only ratios of one run
mean anything: rates depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from stream_guard import __version__
from stream_guard.ports import Topic
from tests.benchmarks.contestant import Timing, ask, ask_timing
from tests.benchmarks.rooms import Rooms
from tests.benchmarks.traffic import Traffic, keyed, make_traffic, of_busiest
from tests.benchmarks.worker import PARTITIONS, make_cluster, time_worker
from tests.support.cluster import ROOT, Cluster
from tests.support.servers import KafkaServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping

OUT: Final = ROOT / "build" / "bench.json"
NAIVE_ACCOUNTS: Final = 40  # growing one forest takes tens of milliseconds
BARE, BARE_PROMPTS = "bare loop", "bare loop, prompts"
WORKER, WORKER_PROMPTS = "worker", "worker, prompts"
REPLAY, REPLAY_PROMPTS = "replay", "replay, prompts"
NAIVE: Final = "naive Faust agent"
RATIOS: Final = {
    "worker_over_bare": (WORKER, BARE),
    "worker_over_naive": (WORKER, NAIVE),
    "replay_over_bare": (REPLAY, BARE),
    "worker_over_bare_prompts": (WORKER_PROMPTS, BARE_PROMPTS),
    "replay_over_bare_prompts": (REPLAY_PROMPTS, BARE_PROMPTS),
}


class _Redis(RedisServer):
    """The tests write to the disk at every command; an operator's Redis does so every second."""

    def command(self) -> list[str]:
        return [{"always": "everysec"}.get(word, word) for word in super().command()]


class Bench:
    """One run: servers, traffic, and what was measured."""

    def __init__(self, options: argparse.Namespace, directory: Path, console: Console) -> None:
        self.options, self.directory, self.console = options, directory, console
        self.kafka, self.redis = KafkaServer(directory / "kafka"), _Redis(directory / "redis")
        self.timings: dict[str, list[Timing]] = defaultdict(list)
        self.accounts_stage_rates: list[float] = []
        self.naive_events = 0
        self._clusters = 0

    def run(self) -> tuple[Traffic, Rooms]:
        """Measure everything; contestants take turns, so that a busy moment of the machine hits all of them."""
        options = self.options
        self.say(f"simulating {options.events:,} events")
        traffic = make_traffic(self.directory, options.events, options.accounts, options.scale)
        with _running(self.kafka), _running(self.redis):
            for number in range(options.rounds):
                self.say(f"round {number + 1} of {options.rounds}")
                self.round(traffic.sketched, BARE, WORKER, REPLAY)
                self.naive(traffic.sketched)
                if number == 0 and not options.quick:
                    self.round(traffic.prompts, BARE_PROMPTS, WORKER_PROMPTS, REPLAY_PROMPTS)
        self.say("where the pipeline's time goes")
        return traffic, msgspec.json.decode(ask("rooms", traffic.sketched), type=Rooms)

    def round(self, file: Path, bare: str, worker: str, replay: str) -> None:
        """The same records through the three of us; the bare loop twice, before and after."""
        self._clusters += 1
        cluster, port = make_cluster(self.kafka.bootstrap, self.redis.url, self.directory / f"group-{self._clusters}")
        try:
            cluster.produce(keyed(file))
            self.note(bare, self.bare(cluster))
            timing, accounts_seconds, counted = time_worker(cluster, port, self.options.events)
            self.note(worker, timing)
            self.accounts_stage_rates.append(timing.events / accounts_seconds)
            self.say(
                f"  the worker counted {counted:,} events; accounts stage alone {self.accounts_stage_rates[-1]:,.0f}/s"
            )
            cluster.stop()
            self.note(bare, self.bare(cluster))
        finally:
            cluster.stop()
            cluster.delete_topics()
        self.note(replay, ask_timing("replaying", file, self.directory / "replayed"))

    def bare(self, cluster: Cluster) -> Timing:
        """The bare loop over a cluster's queries."""
        return ask_timing("bare", cluster.bootstrap, cluster.name(Topic.QUERIES), PARTITIONS, self.options.events)

    def naive(self, file: Path) -> None:
        """The naive detector over fewer events of the busiest accounts."""
        cluster, _ = make_cluster(self.kafka.bootstrap, self.redis.url, self.directory / f"naive-{time.monotonic_ns()}")
        try:
            records = of_busiest(file, NAIVE_ACCOUNTS, self.options.naive_events)
            self.naive_events = len(records)
            cluster.produce(records)
            known = self.directory / "accounts.txt"
            known.write_bytes(b"\n".join(sorted({key for key, _ in records})))
            self.note(
                NAIVE,
                ask_timing(
                    "naive", cluster.bootstrap, self.redis.url, cluster.name(Topic.QUERIES), len(records), known
                ),
            )
        finally:
            cluster.delete_topics()

    def note(self, name: str, timing: Timing) -> None:
        """Keep a timing."""
        self.timings[name].append(timing)
        self.say(f"  {name}: {timing.rate:,.0f}/s, {timing.cpu_microseconds:.1f} µs of processor an event")

    def say(self, text: str) -> None:
        """Progress."""
        self.console.print(text, highlight=False)


class _running:  # noqa: N801 # reads as a statement
    def __init__(self, server: KafkaServer | RedisServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        try:
            self._server.start()
        except BaseException:
            self._server.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def result(bench: Bench, traffic: Traffic, rooms: Rooms, described: Mapping[str, Any]) -> dict[str, Any]:
    """What `build/bench.json` holds."""
    rates = {name: statistics.median(item.rate for item in items) for name, items in bench.timings.items()}
    cpu = {name: statistics.median(item.cpu_microseconds for item in items) for name, items in bench.timings.items()}
    ratios = {
        ratio: rates[above] / rates[below]
        for ratio, (above, below) in RATIOS.items()
        if above in rates and below in rates
    }
    return {
        **ratios,
        "events_per_second": rates,
        "cpu_microseconds_per_event": cpu,
        "runs": {name: [item.rate for item in items] for name, items in bench.timings.items()},
        "accounts_stage_events_per_second": bench.accounts_stage_rates,
        "pipeline_microseconds_per_event": {name: 1e6 * value / rooms.events for name, value in rooms.seconds.items()},
        "pipeline_dearest_functions": rooms.functions,
        "records": {
            "events": traffic.events,
            "accounts": traffic.accounts,
            "event_seconds": traffic.seconds,
            "events_per_event_second": traffic.events / traffic.seconds,
            "bytes_sketched": traffic.bytes_sketched,
            "bytes_prompts": traffic.bytes_prompts,
            "naive_events": bench.naive_events,
            "naive_accounts": NAIVE_ACCOUNTS,
        },
        "version": __version__,
        "machine": dict(described),
    }


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Print the tables."""
    records = found["records"]
    console.print(
        f"\n{records['events']:,} events of {records['accounts']:,} accounts, "
        f"{records['events_per_event_second']:,.0f} an event-time second, {records['bytes_sketched']:.0f} bytes each "
        f"with a sketch, {records['bytes_prompts']:.0f} with a prompt; naive: {records['naive_events']:,} events of "
        f"{records['naive_accounts']} accounts\n{found['machine']}",
        highlight=False,
    )
    table = Table("contestant", "events/s (median)", "runs", "processor µs/event")
    for name, rate in found["events_per_second"].items():
        runs = " ".join(f"{run:,.0f}" for run in found["runs"][name])
        table.add_row(name, f"{rate:,.0f}", runs, f"{found['cpu_microseconds_per_event'][name]:.1f}")
    console.print(table)
    table = Table("ratio", "value")
    for name in RATIOS:
        if name in found:
            table.add_row(name, f"{found[name]:.3f}")
    console.print(table)
    table = Table("room of the pipeline", "processor µs/event", title="no Kafka, no Redis, one process")
    for room, cost in found["pipeline_microseconds_per_event"].items():
        table.add_row(room, f"{cost:.1f}")
    console.print(table)
    table = Table("dearest functions", "own µs/event", title="under cProfile: frequent calls look dearer")
    for name, cost in found["pipeline_dearest_functions"]:
        table.add_row(name, f"{cost:.1f}")
    console.print(table)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=250_000)
    parser.add_argument("--naive-events", type=int, default=20_000)
    parser.add_argument("--accounts", type=int, default=6_000, help="honest accounts of the simulation")
    parser.add_argument("--scale", type=float, default=100.0, help="how busy they are; 1 = as in life")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="leave the records with prompts out")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic's leaders refuse at first
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs beside is stopped too
    console, started = Console(width=None if sys.stdout.isatty() else 120), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stream-guard-bench-") as directory:
        described = machine()
        bench = Bench(options, Path(directory), console)
        traffic, rooms = bench.run()
    found = result(bench, traffic, rooms, described) | {"run_seconds": round(time.monotonic() - started)}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    show(console, found)
    console.print(f"{OUT.relative_to(ROOT)} written after {found['run_seconds']} s", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
