from __future__ import annotations

import gzip
from itertools import chain
from typing import TYPE_CHECKING

import pytest
import zstandard

from stream_guard.adapters.files import read_lines, split_lines
from stream_guard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LINES = [b'{"n":%d}' % number for number in range(5000)]
TEXT = b"\n".join(LINES) + b"\n"
ZSTD = zstandard.ZstdCompressor().compress(TEXT)
PACKED = {".jsonl": TEXT, ".gz": gzip.compress(TEXT), ".zst": ZSTD}


def write(folder: Path, suffix: str, data: bytes) -> Path:
    path = folder / f"records{suffix}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", PACKED)
def test_all_lines_in_order_and_all_bytes_reported(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, PACKED[suffix])
    read: list[int] = []
    chunks = list(read_lines(path, chunk_records=999, progress=read.append))
    assert [line for chunk in chunks for line in chunk] == LINES
    assert max(map(len, chunks)) == 999
    assert sum(read) == path.stat().st_size


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_members_after_one_another(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, PACKED[suffix] * 2)
    assert sum(map(len, read_lines(path))) == 2 * len(LINES)


def test_windows_line_ends_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, ".jsonl", b"\xef\xbb\xbfa\r\n\r\n  \nb")
    assert list(read_lines(path)) == [[b"a", b"b"]]
    assert list(read_lines(path, keep_blank=True)) == [[b"a", b"", b"  ", b"b"]]


def test_empty_file(tmp_path: Path) -> None:
    assert list(read_lines(write(tmp_path, ".jsonl", b""))) == []
    assert list(read_lines(write(tmp_path, ".zst", b""))) == []


def test_a_long_line_is_cut_just_above_the_limit() -> None:
    blocks = [b"ok\n" + b"x" * 30, b"x" * 30, b"\r\nshort\n", b"y" * 10 + b"\r", b"\nlast" + b"z" * 50]
    (lines,) = split_lines(blocks, max_record_bytes=10)
    assert lines == [b"ok", b"x" * 11, b"short", b"y" * 10, b"last" + b"z" * 7]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_archive_says_so_after_its_lines(tmp_path: Path, suffix: str) -> None:
    data = PACKED[suffix]
    reader = read_lines(write(tmp_path, suffix, data[: len(data) - 5]), chunk_records=100)
    read: list[list[bytes]] = []
    with pytest.raises(InputError, match="cut short"):
        read.extend(reader)
    assert list(chain.from_iterable(read)) == LINES[: sum(map(len, read))]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_is_not_an_archive_says_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="not valid"):
        list(read_lines(write(tmp_path, suffix, TEXT)))


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_lines(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="is a directory"):
        list(read_lines(tmp_path))
