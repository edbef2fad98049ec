"""Writes traffic to files: JSON Lines, compressed by suffix, complete or not at all."""

from __future__ import annotations

import gzip
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

import msgspec
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stream_guard.simulate.model import Traffic

_BATCH: Final = 5_000


@contextmanager
def _compressed(raw: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    """Wrap a file so that the same records give the same bytes, whatever its name and the time."""
    if suffix == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=5) as packed:
            yield packed  # type: ignore[misc]
    elif suffix == ".zst":
        with zstandard.ZstdCompressor(level=5).stream_writer(raw, closefd=False) as packed:
            yield packed
    else:
        yield raw


@contextmanager
def _atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside the target and move it there once complete."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as raw:
            yield raw
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def truth_path(out: Path) -> Path:
    """Tell where the truth about a file lies.

    Args:
        out: file of events.

    Returns:
        Path of the truth.
    """
    return out.with_name(f"{out.name}.truth.json")


def write(traffic: Traffic, out: Path, progress: Callable[[int], None] | None = None) -> int:
    """Write events and truth.

    Args:
        traffic: what to write.
        out: file of events; ``.gz`` and ``.zst`` compress.
        progress: called with the number of records written since the last call.

    Returns:
        Number of records written.
    """
    encode = msgspec.json.Encoder().encode_lines
    batch: list[object] = []
    written = 0
    with _atomic(out) as raw, _compressed(raw, out.suffix) as packed:
        for record in traffic.records:
            batch.append(record)
            if len(batch) == _BATCH:
                packed.write(encode(batch))
                written += len(batch)
                batch.clear()
                if progress is not None:
                    progress(_BATCH)
        packed.write(encode(batch))
        written += len(batch)
    with _atomic(truth_path(out)) as raw:
        raw.write(msgspec.json.format(msgspec.json.encode(traffic.truth), indent=1))
    return written
