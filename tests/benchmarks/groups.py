"""What groups cost: memory of a live one, and an event of one campaign of 25,000 accounts against many small. FILE."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from tests.benchmarks.contestant import tell
from tests.benchmarks.traffic import lines_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMBERS: Final = 25_000
SMALL: Final = 100
QUERIES_EACH: Final = 2
BACKGROUND: Final = 20_000  # queries of others, as simulated
SPAN_SECONDS: Final = 1_900.0  # three evaluations
CHUNK: Final = 2_000
ROUNDS: Final = 2


class Groups(msgspec.Struct, frozen=True):
    """Processor microseconds an event by members of each campaign, and what stays of a live group.

    Attributes:
        microseconds: of the whole pipeline, by size; the better of two runs.
        live: groups that are remembered from one evaluation to the next.
        bytes_per_live_group: all objects of the judges of all partitions, divided by `live`.
    """

    microseconds: dict[str, float]
    live: int
    bytes_per_live_group: float


def records_of(background: Sequence[dict[str, Any]], members: int) -> list[bytes]:
    """Queries of 25,000 accounts, so many to a campaign that shares everything, among others' queries."""
    since = background[0]["ts"] / 1_000.0
    total = MEMBERS * QUERIES_EACH
    rows = [
        (since + SPAN_SECONDS * number / len(background), {**record, "event_id": f"b{number}"})
        for number, record in enumerate(background)
    ]
    for number, account in enumerate((np.random.default_rng(1).permutation(total) % MEMBERS).tolist()):
        shown = background[account // members % len(background)]
        row = {**shown, "event_id": f"c{number}", "account_id": f"member_{account}"}
        rows.append((since + SPAN_SECONDS * number / total, row))
    rows.sort(key=_time)
    return [msgspec.json.encode({**record, "ts": round(1_000.0 * ts)}) for ts, record in rows]


def _time(row: tuple[float, dict[str, Any]]) -> float:
    return row[0]


def run(records: Sequence[bytes]) -> tuple[Pipeline, float]:
    """A pipeline that has seen the records, and processor seconds."""
    pipeline, started = Pipeline(Policy()), time.process_time()
    for first in range(0, len(records), CHUNK):
        pipeline.feed(records[first : first + CHUNK], latest_ts=time.time() + 300.0)
    pipeline.end()
    return pipeline, time.process_time() - started


def size_of(thing: object, seen: set[int]) -> int:
    """Bytes of an object and of all that it holds, each once."""
    if id(thing) in seen or isinstance(thing, type):
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(size_of(one, seen) for pair in thing.items() for one in pair)
    if isinstance(thing, list | tuple | set | frozenset):
        return size + sum(size_of(one, seen) for one in thing)
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
    return size + sum(size_of(one, seen) for one in [*held, *(getattr(thing, name, None) for name in slots)])


def main(file: Path) -> None:
    """Measure and report."""
    lines = list(lines_of(file))
    background = [
        msgspec.json.decode(line) for line in itertools.islice(lines[:: max(1, len(lines) // BACKGROUND)], BACKGROUND)
    ]
    sizes = {members: records_of(background, members) for members in (SMALL, MEMBERS)}
    seconds: dict[int, list[float]] = {members: [] for members in sizes}
    for _ in range(ROUNDS):
        for members, records in sizes.items():
            pipeline, spent = run(records)
            seconds[members].append(1e6 * spent / len(records))
    judges = [judge for stage in pipeline._clusters for judge in stage._tenants.values()]
    live = sum(len({*judge.own_past.dump(), *judge.own_models.dump().groups, *judge.suspected}) for judge in judges)
    kept = sum(size_of([judge.own_past, judge.own_models, judge.suspected, judge.forest], set()) for judge in judges)
    tell(Groups({f"{members:,}": min(found) for members, found in seconds.items()}, live, kept / live))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
