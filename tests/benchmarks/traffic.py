"""The records that every contestant gets: simulated once, with prompts and with sketches in their place."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from tests.support.cluster import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED: Final = 7
HOUR_EVENTS_PER_ACCOUNT: Final = 0.5  # at background scale 1; the simulation is repeated longer where it is too short


class _Keyed(msgspec.Struct):
    account_id: str
    ts: int


_KEYED: Final = msgspec.json.Decoder(_Keyed)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Two files of the same events.

    Attributes:
        prompts: records as they come from a gateway that sends text.
        sketched: the same records, prompts replaced by sketches.
        events: records in each.
        accounts: accounts in each.
        seconds: event time that they span.
        bytes_sketched: mean size of a sketched record.
        bytes_prompts: mean size of a record with its prompt.
    """

    prompts: Path
    sketched: Path
    events: int
    accounts: int
    seconds: float
    bytes_sketched: float
    bytes_prompts: float


def make_traffic(directory: Path, events: int, accounts: int, scale: float) -> Traffic:
    """Simulate at least `events` records and keep the first `events`."""
    raw, prompts, sketched = (directory / name for name in ("raw.jsonl", "prompts.jsonl", "sketched.jsonl"))
    days = max(0.02, events / (accounts * scale * HOUR_EVENTS_PER_ACCOUNT * 24))
    while True:
        _run(
            "stream_guard.simulate", "demo", "--out", str(raw), "--seed", str(SEED), "--days", f"{days:.4f}",
            "--background-accounts", str(accounts), "--background-scale", f"{scale:g}",
        )  # fmt: skip
        with raw.open("rb") as lines, prompts.open("wb") as out:
            out.writelines(itertools.islice(lines, events))
        kept = [_KEYED.decode(line) for line in lines_of(prompts)]
        if len(kept) == events:
            break
        days *= 1.3 * events / max(len(kept), 1)
    raw.unlink()
    with sketched.open("wb") as out:
        _run("stream_guard.cli", "sketch", "--json", str(prompts), stdout=out)
    return Traffic(
        prompts,
        sketched,
        events,
        len({record.account_id for record in kept}),
        (max(record.ts for record in kept) - min(record.ts for record in kept)) / 1_000.0,
        sketched.stat().st_size / events,
        prompts.stat().st_size / events,
    )


def lines_of(path: Path) -> Iterator[bytes]:
    """Records of a file, one by one."""
    with path.open("rb") as lines:
        for line in lines:
            yield line.rstrip(b"\n")


def keyed(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Records with the key that a gateway gives them."""
    for line in lines_of(path):
        yield _KEYED.decode(line).account_id.encode(), line


def of_busiest(path: Path, accounts: int, events: int) -> list[tuple[bytes, bytes]]:
    """The first `events` records of the busiest accounts."""
    counts = Counter(key for key, _ in keyed(path))
    chosen = {key for key, _ in counts.most_common(accounts)}
    return list(itertools.islice((pair for pair in keyed(path) if pair[0] in chosen), events))


def _run(module: str, *arguments: str, stdout: object = subprocess.DEVNULL) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(  # type: ignore[call-overload] # a file or DEVNULL
        [sys.executable, "-m", module, *arguments], check=True, env=environment, stdout=stdout
    )
