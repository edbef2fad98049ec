"""Where the pipeline's time goes: seconds by room, and the dearest functions by cProfile. FILE."""

from __future__ import annotations

import cProfile
import itertools
import pstats
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.accounts import AccountsStage
from stream_guard.clusters import ClustersStage
from stream_guard.decode import Decoder
from stream_guard.desk import Desk
from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from tests.benchmarks.contestant import tell
from tests.benchmarks.traffic import lines_of
from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 2_000
TOP: Final = 15
ENTRANCES: Final = (
    ("decode", Decoder, ("decode",)),
    ("accounts", AccountsStage, ("add", "add_status", "close_due", "close_idle")),
    ("clusters", ClustersStage, ("apply",)),
    ("desk", Desk, ("evaluate", "feedback")),
)
REST: Final = "rest"


class Rooms(msgspec.Struct, frozen=True):
    """Seconds by room over `events` records, and (function, own microseconds an event) of the dearest."""

    events: int
    seconds: dict[str, float]
    functions: list[tuple[str, float]]


def feed(chunks: list[list[bytes]]) -> None:
    """One run of the pipeline."""
    pipeline, latest_ts = Pipeline(Policy()), time.time() + 300.0
    for chunk in chunks:
        pipeline.feed(chunk, latest_ts=latest_ts)
    pipeline.end()


def by_room(chunks: list[list[bytes]]) -> dict[str, float]:
    """Processor seconds by room, from clocks at the entrances: no profiler, so no distortion."""
    seconds: dict[str, float] = dict.fromkeys([*(room for room, _, _ in ENTRANCES), REST], 0.0)
    for room, owner, names in ENTRANCES:
        for name in names:
            setattr(owner, name, _clocked(getattr(owner, name), room, seconds))
    started = time.process_time()
    feed(chunks)
    seconds[REST] = time.process_time() - started - sum(seconds.values())
    return seconds


def _clocked(function: Callable[..., Any], room: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 # passed on
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[room] += time.process_time() - started

    return clocked


def dearest(chunks: list[list[bytes]], events: int) -> list[tuple[str, float]]:
    """Functions by their own time, under the profiler: small and frequent ones look dearer than they are."""
    profile = cProfile.Profile(time.process_time)
    profile.runcall(feed, chunks)
    rows = []
    for (file, line, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined] # typeshed leaves it out
        place = name if file == "~" else f"{Path(file).name}:{line} {name}"
        if Path(file).is_relative_to(ROOT):
            place = f"{Path(file).relative_to(ROOT)}:{line} {name}"
        rows.append((place, 1e6 * own / events))
    return sorted(rows, key=lambda row: -row[1])[:TOP]


def main(file: Path) -> None:
    """Measure and report."""
    lines = lines_of(file)
    chunks = []
    while chunk := list(itertools.islice(lines, CHUNK)):
        chunks.append(chunk)
    events = sum(map(len, chunks))
    functions = dearest(chunks, events)
    tell(Rooms(events, by_room(chunks), functions))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
