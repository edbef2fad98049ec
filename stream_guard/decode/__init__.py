"""Bytes to records and columns. Prompt text ends here."""

from __future__ import annotations

from stream_guard.decode.deadletter import dead_letter, encode_dead_letter
from stream_guard.decode.native import Decoded, Decoder
from stream_guard.decode.operations import decode_operation, encode_operation
from stream_guard.decode.reasons import DeadLetterReason

__all__ = [
    "DeadLetterReason",
    "Decoded",
    "Decoder",
    "dead_letter",
    "decode_operation",
    "encode_dead_letter",
    "encode_operation",
]
