"""`stream-guard replay` without its start-up. FILE OUT_DIRECTORY."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stream_guard.policy import Policy
from stream_guard.replay import replay
from tests.benchmarks.contestant import Stopwatch, tell


def main(file: Path, out: Path) -> None:
    """Replay and report."""
    watch = Stopwatch()
    found = replay([file], out, policy=Policy(), latest_ts=time.time() + 300.0)
    tell(watch.timing(found["records"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
