"""`make chaos`: faults against real Kafka and Redis, and a count of what they changed.

Every run sends records of the simulator to two workers of the product while faults of all kinds happen to the workers,
to Kafka, to Redis and to the records. Afterwards accounts, clusters, campaigns, alerts, decisions and dead letters must
be those of the same records in one process that nothing disturbs. A first run without faults gives the memory that is
normal. Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.chaos.page import table
from tests.chaos.run import ALL_KINDS, Plan, Report, dealt, run
from tests.chaos.world import FAKETIME, World
from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = ROOT / "build" / "chaos.json"
RUN_EVENTS = 1_000_000
MEMORY_SHARE, MEMORY_MEBIBYTES = 1.5, 64.0  # what a disturbed worker may hold beyond an undisturbed one
NOTE_CLOCK = "clock_step is left out: Debian's libfaketime is not installed"


def main() -> int:
    """Run the runs; 0 where nothing was lost, repeated or changed."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=207, help="in all runs together")
    parser.add_argument("--events", type=int, default=1_000_000, help="in all runs together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help="only these, separated by commas")
    parser.add_argument("--quick", action="store_true", help="no undisturbed run, so nothing is said about memory")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--keep", type=Path, help="keep the workers' logs in this directory")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains about the faults
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and workers are stopped too
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="stream-guard-chaos-"))
    world = World(directory)
    try:
        world.start()
        reports = _runs(world, options)
    finally:
        world.stop()
        if options.keep is not None:
            shutil.copytree(
                directory, options.keep, ignore=shutil.ignore_patterns("data", "appendonlydir"), dirs_exist_ok=True
            )
        shutil.rmtree(directory, ignore_errors=True)
    asked = {"command": _command(options), "seconds": round(time.monotonic() - started)}
    result = summary(reports, options.seed) | asked
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    _say(f"\n{table(result['runs'])}\n{options.out} written after {result['seconds']} s")
    return 1 if result["mismatches"] or result["alerts_lost"] or result["alerts_doubled"] else 0


def _runs(world: World, options: argparse.Namespace) -> list[Report]:
    count = max(1, round(options.events / RUN_EVENTS))
    faults = dealt(options.faults, options.seed)
    if options.kinds:
        chosen = options.kinds.split(",")
        faults = [chosen[number % len(chosen)] for number in range(options.faults)]
    each = -(-options.events // count)
    reports: list[Report] = []
    for number in range(1 if options.quick else 0, count + 1):
        kinds = faults[number - 1 :: count] if number else []
        name = f"run-{number}" if number else "undisturbed"
        plan = Plan(name, each, kinds, options.seed + max(0, number - 1))
        _say(f"{name}: {each:,} records, {len(kinds)} faults, seed {plan.seed}")
        report = run(world, plan, lambda line: _say(f"  {line}"))
        normal = report if options.quick or not reports else reports[0]
        limit = MEMORY_SHARE * normal.memory_mebibytes + MEMORY_MEBIBYTES
        if report.memory_mebibytes > limit:
            report.difference.mismatch(
                f"a worker holds {report.memory_mebibytes:.0f} MiB, at most {limit:.0f} is normal"
            )
        reports.append(report)
        _say(f"  {_verdict(report)}")
        for line in report.difference.told:
            _say(f"    {line}")
        if report.difference.bad:
            _say(f"    again: {_command(options)}")
    return reports


def _command(options: argparse.Namespace) -> str:
    flags = [*(["--quick"] if options.quick else []), *([f"--kinds {options.kinds}"] if options.kinds else [])]
    more = f' CHAOS_FLAGS="{" ".join(flags)}"' if flags else ""
    return f"make chaos FAULTS={options.faults} EVENTS={options.events} SEED={options.seed}{more}"


def _verdict(report: Report) -> str:
    differs = report.difference
    return (
        f"{report.events:,} records, {report.campaigns} campaigns, {report.alerts} alerts, told {report.told:,} times: "
        f"{differs.mismatches} mismatches, {differs.alerts_lost} alerts lost, {differs.alerts_doubled} doubled; "
        f"drained {report.drain_seconds:.0f} s after the last fault, {report.memory_mebibytes:.0f} MiB, "
        f"{report.restarts} ended by themselves, {report.seconds:.0f} s"
    )


def summary(reports: Sequence[Report], seed: int) -> dict[str, Any]:
    """What `build/chaos.json` holds; the undisturbed run's records are not counted, its differences are."""
    disturbed = [report for report in reports if report.plan.faults]
    kinds = Counter(kind for report in disturbed for kind in report.plan.faults)
    return {
        "faults": sum(kinds.values()),
        "kinds": {kind: kinds[kind] for kind in ALL_KINDS},
        "events": sum(report.events for report in disturbed),
        "mismatches": sum(report.difference.mismatches for report in reports),
        "alerts_lost": sum(report.difference.alerts_lost for report in reports),
        "alerts_doubled": sum(report.difference.alerts_doubled for report in reports),
        "seed": seed,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "left_out": [] if FAKETIME is not None else [NOTE_CLOCK],
        "runs": [
            {
                "name": report.plan.name,
                "seed": report.plan.seed,
                "events": report.events,
                "faults": len(report.plan.faults),
                "campaigns": report.campaigns,
                "alerts": report.alerts,
                "told": report.told,
                "told_again": report.told_again,
                "mismatches": report.difference.mismatches,
                "alerts_lost": report.difference.alerts_lost,
                "alerts_doubled": report.difference.alerts_doubled,
                "restarts": report.restarts,
                "drain_seconds": round(report.drain_seconds, 1),
                "memory_mebibytes": round(report.memory_mebibytes, 1),
                "seconds": round(report.seconds),
                "log": report.log,
                "differences": report.difference.told,
            }
            for report in reports
        ],
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
