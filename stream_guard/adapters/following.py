"""Lines of a file that is being written and rotated, and a position from which to go on after a restart."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final, Self

import msgspec

from stream_guard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 1024
_PACKED: Final = frozenset({".gz", ".zst", ".bz2", ".xz"})
_DECODE: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file has been read.

    Attributes:
        offset: bytes of whole lines.
        line: how many lines that is.
        head: hash of what the file begins with, by which it is known again after it was renamed or copied.
    """

    offset: int
    line: int
    head: str


class Follower:
    """Follows one file, like `tail -F`; use as a context manager.

    A renamed file is read to its end once the new one has content; a truncated one from its beginning. Where a file is
    copied and truncated, what is written in between is lost, as with every reader: let the writer open a new file.
    """

    def __init__(self, path: Path, position: Position | None, most_line_bytes: int) -> None:
        """Start where `position` says, or at the beginning.

        Raises:
            InputError: there is no such file, or it cannot be read.
        """
        self._path = path
        self._keep = most_line_bytes + 1
        start = None if position is None else _locate(path, position)
        self.lost = position is not None and position.offset > 0 and start is None
        """The position belongs to a file that is gone."""
        self._queue = [path] if start is None else _newer(path, start)
        self._rest = bytearray()
        self._rest_bytes = 0
        self._offset = self.line = 0
        self._file = self._open(self._queue.pop(0) if start is None else start)
        if start is not None and position is not None:
            self._offset, self.line = position.offset, position.line
            self._file.seek(position.offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def position(self) -> Position:
        """Behind the last line that `poll` gave."""
        return Position(self._offset, self.line, _head(self._file, self._offset))

    def poll(self) -> tuple[int, list[bytes]]:
        """Lines that have come since, without their ends, and the number of the first; none when nothing is new.

        Raises:
            InputError: the file cannot be read any longer.
        """
        try:
            block = self._file.read(_BLOCK_BYTES)
            number = self.line + 1
            return number, self._cut(block) if block else self._turn()
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror or error}") from error

    def _cut(self, block: bytes) -> list[bytes]:
        lines = []
        *ended, rest = block.split(b"\n")
        for part in ended:
            self._offset += self._rest_bytes + len(part) + 1
            lines.append(bytes(self._rest + part[: self._keep - len(self._rest)]).removesuffix(b"\r"))
            self._rest, self._rest_bytes = bytearray(), 0
        self._rest += rest[: self._keep - len(self._rest)]
        self._rest_bytes += len(rest)
        self.line += len(lines)
        return lines

    def _turn(self) -> list[bytes]:
        """At the end of the file: has it been truncated, or is there another one?"""
        now = os.fstat(self._file.fileno())
        if now.st_size < self._offset + self._rest_bytes:
            self._file.seek(0)
            return self._begin()
        while self._queue and not self._queue[0].exists():
            self._queue.pop(0)
        following = self._queue[0] if self._queue else self._path
        try:
            other = following.stat()
        except FileNotFoundError:
            return []
        if (other.st_dev, other.st_ino) == (now.st_dev, now.st_ino):
            self._queue = self._queue[1:]
            return []
        if other.st_size == 0 or now.st_size > self._offset + self._rest_bytes:
            return []  # whoever writes has not moved on yet, or there is more to read
        self._file.close()
        self._file = self._open(following)
        self._queue = self._queue[1:]
        return self._begin()

    def _begin(self) -> list[bytes]:
        """At the beginning of a file; what was left of the last one is a line too."""
        rest = [bytes(self._rest)] if self._rest else []
        self._rest, self._rest_bytes = bytearray(), 0
        self._offset = self.line = 0
        return rest

    def _open(self, path: Path) -> IO[bytes]:
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def load_position(path: Path) -> Position | None:
    """What `save_position` wrote; None where there is no such file yet.

    Raises:
        InputError: it is something else.
    """
    try:
        return msgspec.convert(_DECODE(path.read_bytes()), Position)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path} is no position of stream-guard tail: remove it to start anew ({error})") from None


def save_position(path: Path, position: Position) -> None:
    """Write a position so that a crash leaves the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(msgspec.json.encode(asdict(position)))
    draft.replace(path)


def _head(file: IO[bytes], offset: int) -> str:
    return hashlib.sha256(os.pread(file.fileno(), min(offset, _HEAD_BYTES), 0)).hexdigest()


def _locate(path: Path, position: Position) -> Path | None:
    """The file that the position belongs to: this one, or one beside it that begins with its name."""
    for candidate in (path, *_siblings(path)):
        try:
            with candidate.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if position.offset and size >= position.offset and _head(file, position.offset) == position.head:
                    return candidate
        except OSError:
            continue
    return None


def _siblings(path: Path) -> list[Path]:
    """Rotated files that can be read as they are, oldest first."""
    found = [
        other
        for other in path.parent.iterdir()
        if other.name.startswith(f"{path.name}.") or other.name.startswith(f"{path.name}-")
        if other.suffix not in _PACKED and other.is_file() and other.stat().st_size
    ]
    return sorted(found, key=lambda other: other.stat().st_mtime_ns)


def _newer(path: Path, start: Path) -> list[Path]:
    if start == path:
        return [path]
    siblings = _siblings(path)
    return [*siblings[siblings.index(start) + 1 :], path]
