"""Sketches as hexadecimal text: `prompt_sketch` in a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.edge.prompts import VERSION
from stream_guard.records import SKETCH
from stream_guard.sketch.batch import encode_windows, sketch_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_HEADER_BYTES: Final = 2  # version, length class
_BYTES: Final = _HEADER_BYTES + SKETCH.itemsize


def parse_sketch(text: str) -> bytes:
    """Read one `prompt_sketch`.

    Args:
        text: hexadecimal digits, as `sketch_prompt` gives them.

    Returns:
        The bytes of one row of `SKETCH`.

    Raises:
        ValueError: not a sketch, or of another version; the message quotes nothing.
    """
    try:
        data = bytes.fromhex(text) if len(text) == 2 * _BYTES else b""
    except ValueError:
        data = b""
    if len(data) != _BYTES:
        raise ValueError(f"a sketch is {2 * _BYTES} hexadecimal digits")
    if data[0] != VERSION:
        raise ValueError(f"the sketch has version {data[0]}, this program reads version {VERSION}")
    return data[_HEADER_BYTES:]


def parse_sketches(texts: Sequence[str]) -> NDArray[np.void] | None:
    """Read many at once: a row of `SKETCH` each; None where `parse_sketch` would refuse one of them."""
    if set(map(len, texts)) != {2 * _BYTES}:
        return None if texts else np.zeros(0, SKETCH)
    try:
        data = bytes.fromhex("".join(texts))
    except ValueError:
        return None
    if len(data) != _BYTES * len(texts):  # `fromhex` passes over blanks
        return None
    rows = np.frombuffer(data, np.uint8).reshape(-1, _BYTES)
    if (rows[:, 0] != VERSION).any():
        return None
    return rows[:, _HEADER_BYTES:].copy().view(SKETCH).ravel()


def sketch_texts(prompts: Sequence[str]) -> list[str]:
    """Sketch many prompts as `sketch_prompt` does, some fifty times faster."""
    windows, sizes = encode_windows(prompts)
    rows = sketch_windows(windows)
    return [(bytes((VERSION, size.bit_length())) + row.tobytes()).hex() for size, row in zip(sizes, rows, strict=True)]
