"""`make fuzz`: Atheris on everything that reads bytes, each target for its share of the time.

Ten minutes in all unless `--seconds` says otherwise. Every input must be handled within two seconds and 2 GB. Writes
`build/fuzz.json`, keeps inputs that crash in `build/fuzz/`, and exits with 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.targets import TARGETS, seeds
from tests.support.cluster import ROOT

OUT = ROOT / "build" / "fuzz.json"
CRASHES = ROOT / "build" / "fuzz"
LIMITS = ("-timeout=2", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1", "-verbosity=0")
STATISTIC = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)


def main() -> int:
    """Fuzz every target; 1 where one crashed."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    options = parser.parse_args()
    each = max(1, round(options.seconds / len(options.targets)))
    found = {name: fuzz(name, each, options.seed) for name in options.targets}
    crashes = sum(result["crashes"] for result in found.values())
    total = {
        "seconds": sum(result["seconds"] for result in found.values()),
        "executions": sum(result["executions"] for result in found.values()),
        "crashes": crashes,
        "seed": options.seed,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "targets": found,
    }
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(total), indent=1) + b"\n")
    sys.stdout.write(f"{OUT.relative_to(ROOT)}: {total['executions']:,} executions, {crashes} crashes\n")
    return 1 if crashes else 0


def fuzz(name: str, seconds: int, seed: int) -> dict[str, Any]:
    """One target in a process of its own, for so many seconds."""
    CRASHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stream-guard-fuzz-") as directory:
        corpus = Path(directory)
        for number, data in enumerate(seeds()[name]):
            (corpus / f"seed-{number:03d}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.one", name, directory, *LIMITS, f"-max_total_time={seconds}"]
        command += [f"-seed={seed}", f"-artifact_prefix={CRASHES}/{name}-"]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
        )
        elapsed = time.monotonic() - started
        kept = len(list(corpus.iterdir()))
    said = done.stderr.decode(errors="replace")
    statistics = {key: int(value) for key, value in STATISTIC.findall(said)}
    executions = statistics.get("number_of_executed_units", 0)
    crashed = done.returncode != 0
    sys.stdout.write(f"{name}: {executions:,} executions in {elapsed:.0f} s, {'CRASHED' if crashed else 'no crash'}\n")
    if crashed:
        sys.stdout.write(said[-4_000:] + done.stdout.decode(errors="replace")[-4_000:] + "\n")
    sys.stdout.flush()
    return {
        "seconds": round(elapsed, 1),
        "executions": executions,
        "slowest_seconds": statistics.get("slowest_unit_time_sec", 0),
        "corpus": kept,
        "crashes": int(crashed),
    }


if __name__ == "__main__":
    sys.exit(main())
