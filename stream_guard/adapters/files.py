"""JSON Lines files, plain, gzip or Zstandard, as lists of lines in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Final

import zstandard

from stream_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Progress = Callable[[int], object]

_BLOCK_BYTES: Final = 1 << 18
_ZSTD_INPUT_BYTES: Final = 1 << 11  # a hostile frame unpacks to at most 64 MB of blocks from this much
_BOM: Final = b"\xef\xbb\xbf"


def read_lines(
    path: Path,
    *,
    chunk_records: int = 2000,
    max_record_bytes: int = 1_048_576,
    keep_blank: bool = False,
    progress: Progress | None = None,
) -> Iterator[list[bytes]]:
    """Read a file of lines.

    Args:
        path: plain, or compressed where the suffix is `.gz` or `.zst`.
        chunk_records: most lines in one list.
        max_record_bytes: of a longer line only one byte more than this is kept, so that a decoder refuses it.
        keep_blank: give empty lines too.
        progress: called with the number of bytes of the file read since the last call.

    Yields:
        Lists of lines without line feeds and carriage returns at their ends, never an empty list. A byte-order mark
            at the start is dropped.

    Raises:
        InputError: there is no such file, it cannot be read, or its compression is damaged; lines before the damage
            have been given by then.
    """
    if path.is_dir():
        raise InputError(f"{path} is a directory, not a file of records")
    try:
        with path.open("rb") as raw:
            blocks = _counted(raw, _unpack(raw, path), progress)
            yield from split_lines(
                blocks, chunk_records=chunk_records, max_record_bytes=max_record_bytes, keep_blank=keep_blank
            )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def split_lines(
    blocks: Iterable[bytes],
    *,
    chunk_records: int = 2000,
    max_record_bytes: int = 1_048_576,
    keep_blank: bool = False,
    at_once: bool = False,
) -> Iterator[list[bytes]]:
    """Cut blocks of bytes into lists of lines, as `read_lines` does; `at_once` gives them as blocks come."""
    keep = max_record_bytes + 1
    lines: list[bytes] = []
    open_line = bytearray()
    first = True
    for block in blocks:
        parts = block.split(b"\n")
        open_line += parts[0][: keep + 1 - len(open_line)]  # one more, for a carriage return
        if len(parts) == 1:
            continue
        for line in (bytes(open_line), *parts[1:-1]):
            _append(lines, line.removeprefix(_BOM) if first else line, keep, keep_blank=keep_blank)
            first = False
            if len(lines) >= chunk_records:
                yield lines
                lines = []
        open_line = bytearray(parts[-1][: keep + 1])
        if at_once and lines:
            yield lines
            lines = []
    if open_line:
        line = bytes(open_line)
        _append(lines, line.removeprefix(_BOM) if first else line, keep, keep_blank=keep_blank)
    if lines:
        yield lines


def read_blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks of an open stream, such as standard input, as they arrive."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK_BYTES):
        yield block


def _append(lines: list[bytes], line: bytes, keep: int, *, keep_blank: bool) -> None:
    line = line.removesuffix(b"\r")[:keep]
    if keep_blank or (line and not line.isspace()):
        lines.append(line)


def _counted(raw: IO[bytes], blocks: Iterator[bytes], progress: Progress | None) -> Iterator[bytes]:
    seen = 0
    for block in blocks:
        if progress is not None and raw.seekable():
            now = raw.tell()
            if now > seen:
                progress(now - seen)
                seen = now
        yield block


def _unpack(raw: IO[bytes], path: Path) -> Iterator[bytes]:
    match path.suffix.lower():
        case ".gz":
            return _gzip_blocks(raw, path)
        case ".zst":
            return _zstd_blocks(raw, path)
        case _:
            return read_blocks(raw)


def _gzip_blocks(raw: IO[bytes], path: Path) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=raw) as packed:
            yield from read_blocks(packed)  # type: ignore[arg-type]  # a binary stream in all but name
    except EOFError:
        raise InputError(f"{path} is cut short: the gzip data end before their end mark") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not valid gzip data: {error}") from None


def _zstd_blocks(raw: IO[bytes], path: Path) -> Iterator[bytes]:
    """Frame by frame with a decompressor that knows whether a frame has ended; a stream reader hides a cut."""
    frame = None
    try:
        while data := raw.read(_ZSTD_INPUT_BYTES):
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                block = frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
                if block:
                    yield block
    except zstandard.ZstdError as error:
        raise InputError(f"{path} is not valid Zstandard data: {error}") from None
    if frame is not None:
        raise InputError(f"{path} is cut short: the Zstandard data end within a frame")
