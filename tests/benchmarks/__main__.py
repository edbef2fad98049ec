"""`make bench`: what the engine does in a second, in a byte and in a second of waiting, in one run on one machine.

Starts a Kafka and a Redis of its own on loopback, prints tables, and writes `build/bench.json` and
`docs/benchmarks.md`. Only ratios of one run mean anything: rates depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import itertools
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

from stream_guard import __version__
from stream_guard.encode import parse_alert
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.replay import replay
from tests.benchmarks.contestant import Timing, ask, ask_timing
from tests.benchmarks.crowd import shapes_of
from tests.benchmarks.latency import measure_latency
from tests.benchmarks.many import measure_idle, measure_many
from tests.benchmarks.report import show, write_page
from tests.benchmarks.rooms import Rooms
from tests.benchmarks.shared import cost_of
from tests.benchmarks.traffic import Traffic, keyed, lines_of, make_traffic, of_busiest
from tests.benchmarks.worker import PARTITIONS, make_cluster, time_worker
from tests.support.cluster import ROOT, Cluster
from tests.support.product import simulate
from tests.support.servers import KafkaServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT: Final = ROOT / "build" / "bench.json"
NAIVE_ACCOUNTS: Final = 40  # growing one forest takes tens of milliseconds
SHARE_OF_TOP: Final = 0.7  # of the worker's rate, while latency is measured
SHAPE_LINES: Final = 60_000
CAMPAIGN: Final = ("demo", "--background-accounts", "60", "--days", "0.5", "--seed", "7")
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

    def run(self) -> Iterator[dict[str, Any]]:
        """Measure everything, in pieces of the result; contestants take turns, so that a busy moment hits all."""
        options = self.options
        self.say(f"simulating {options.events:,} events")
        traffic = make_traffic(self.directory, options.events, options.accounts, options.scale)
        self.say("where the pipeline's time goes")
        rooms = msgspec.json.decode(ask("rooms", traffic.sketched), type=Rooms)
        yield {
            "pipeline_microseconds_per_event": {
                name: 1e6 * value / rooms.events for name, value in rooms.seconds.items()
            },
            "pipeline_dearest_functions": rooms.functions,
        }
        with _running(self.kafka), _running(self.redis):
            for number in range(options.rounds):
                self.say(f"round {number + 1} of {options.rounds}")
                self.round(traffic.sketched, BARE, WORKER, REPLAY)
                self.naive(traffic.sketched)
                if number == 0 and not options.quick:
                    self.round(traffic.prompts, BARE_PROMPTS, WORKER_PROMPTS, REPLAY_PROMPTS)
            yield self.rates(traffic)
            if not options.quick:
                yield from self.sizes(traffic)
        if not options.quick:
            self.say("what groups cost")
            yield {"groups": msgspec.json.decode(ask("groups", traffic.sketched))}
        if not options.quick:
            self.say("models, ours and others")
            archive = [options.nab] if options.nab else []
            yield {"models": msgspec.json.decode(ask("models", *archive))}

    def sizes(self, traffic: Traffic) -> Iterator[dict[str, Any]]:
        """Many accounts, silent ones, the way to an alert, and two workers."""
        options, servers = self.options, (self.kafka.bootstrap, self.redis.url)
        self.say("processor time of one worker and of two")
        costs = {str(workers): cost_of(servers, self.directory, traffic.sketched, workers) for workers in (1, 2)}
        yield {
            "cpu_seconds_per_million": {name: cost.per_million for name, cost in costs.items()},
            "cpu_seconds_per_million_without_rest": {name: cost.without_rest for name, cost in costs.items()},
            "cpu_share_at_rest": {name: cost.at_rest for name, cost in costs.items()},
        }
        head = self.directory / "head.jsonl"
        head.write_bytes(b"\n".join(itertools.islice(lines_of(traffic.sketched), SHAPE_LINES)) + b"\n")
        shapes = shapes_of(head)
        self.say(f"{options.idle_accounts:,} accounts that fall silent")
        idle = measure_idle(servers, self.directory, shapes, options.idle_accounts)
        yield {"bytes_per_idle_account": idle.worker_bytes, "idle_accounts": msgspec.to_builtins(idle)}
        self.say(f"{options.many_accounts:,} accounts")
        many = measure_many(servers, self.directory, shapes, options.many_accounts, options.events, self.say)
        yield {
            "rate_5m_over_50k": min(
                many.rates[f"{access} 5m"] / many.rates[f"{access} 50k"] for access in ("uniform", "skewed")
            ),
            "redis_bytes_per_account": many.redis_bytes,
            "recovery_seconds": many.recovery_seconds,
            "many_accounts": msgspec.to_builtins(many),
            "stored_bytes_by_queries": shapes.bytes_by_queries(),
        }
        self.say("the way to an alert")
        top = many.rates["skewed 50k"]  # of the traffic that the alerts come in
        campaign = self.directory / "campaign.jsonl"
        simulate(campaign, *CAMPAIGN)
        lines = list(lines_of(campaign))
        latency = measure_latency(
            servers, self.directory, lines, alerts_of(campaign, self.directory), shapes, SHARE_OF_TOP * top
        )
        yield {"alert_latency_p99_seconds": latency.p99, "alert_latency": msgspec.to_builtins(latency)}

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

    def rates(self, traffic: Traffic) -> dict[str, Any]:
        """Medians of every contestant, and what they read."""
        rates = {name: statistics.median(item.rate for item in items) for name, items in self.timings.items()}
        cpu = {name: statistics.median(item.cpu_microseconds for item in items) for name, items in self.timings.items()}
        present = {ratio: pair for ratio, pair in RATIOS.items() if all(name in rates for name in pair)}
        return {
            **{ratio: rates[above] / rates[below] for ratio, (above, below) in present.items()},
            "events_per_second": rates,
            "cpu_microseconds_per_event": cpu,
            "cpu_ratios": {ratio: cpu[below] / cpu[above] for ratio, (above, below) in present.items()},
            "runs": {name: [item.rate for item in items] for name, items in self.timings.items()},
            "accounts_stage_events_per_second": self.accounts_stage_rates,
            "records": {
                "events": traffic.events,
                "accounts": traffic.accounts,
                "event_seconds": traffic.seconds,
                "events_per_event_second": traffic.events / traffic.seconds,
                "bytes_sketched": traffic.bytes_sketched,
                "bytes_prompts": traffic.bytes_prompts,
                "naive_events": self.naive_events,
                "naive_accounts": NAIVE_ACCOUNTS,
            },
        }

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
        "system": " ".join((platform.system(), platform.release().partition("-")[0])),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def alerts_of(file: Path, directory: Path) -> list[float]:
    """Event times of the alerts that a replay of the file gives."""
    out = directory / "campaign"
    replay([file], out, policy=Policy(), latest_ts=time.time() + 300.0)
    return [parse_alert(line).at for line in lines_of(out / "alerts.jsonl")]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=250_000)
    parser.add_argument("--naive-events", type=int, default=20_000)
    parser.add_argument("--accounts", type=int, default=24_000, help="honest accounts of the simulation")
    parser.add_argument("--scale", type=float, default=100.0, help="how busy they are; 1 = as in life")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--idle-accounts", type=int, default=1_000_000, help="that come once and fall silent")
    parser.add_argument("--many-accounts", type=int, default=5_000_000, help="of the large population")
    parser.add_argument("--nab", help="archive of the Numenta benchmark, for the comparison of models")
    parser.add_argument("--quick", action="store_true", help="only rates, of records with sketches; no page")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new topic's leaders refuse at first
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs beside is stopped too
    console, started = Console(width=None if sys.stdout.isatty() else 120), time.monotonic()
    found: dict[str, Any] = {"version": __version__, "machine": machine()}
    OUT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stream-guard-bench-") as directory:
        for piece in Bench(options, Path(directory), console).run():
            found |= piece | {"run_seconds": round(time.monotonic() - started)}
            OUT.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")  # what is known so far
    show(console, found)
    console.print(f"{OUT.relative_to(ROOT)} written after {found['run_seconds']} s", highlight=False)
    if not options.quick:
        write_page(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
