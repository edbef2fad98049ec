"""What remains of a record that was refused: where it was, why, and a hash of its bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from stream_guard.records import DeadLetter

if TYPE_CHECKING:
    from stream_guard.errors import DecodeError

_ENCODE: Final = msgspec.json.Encoder().encode


def dead_letter(topic: str, partition: int, offset: int, error: DecodeError, value: bytes | None) -> DeadLetter:
    """Describe a refused record without its content.

    Args:
        topic: topic or file that it stood in.
        partition: partition, 0 for files.
        offset: offset, or line number from 0.
        error: why it was refused; its message names fields and quotes nothing.
        value: the bytes, hashed and not kept; None for a tombstone, which hashes like no bytes.

    Returns:
        The dead letter.
    """
    reason = str(error.reason)
    detail = str(error)[len(reason) :].removeprefix(": ")
    return DeadLetter(str(topic), partition, offset, reason, detail, hashlib.sha256(value or b"").hexdigest())


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """JSON of a dead letter, one object on one line; the same letter gives the same bytes."""
    return _ENCODE(letter)
