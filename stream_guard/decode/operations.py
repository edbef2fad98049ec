"""Operations of the people on call, on the topic that the console and the command line write to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from stream_guard.decode.careful import read_fields
from stream_guard.decode.fields import OPERATION
from stream_guard.decode.reasons import DeadLetterReason
from stream_guard.decode.times import parse_time
from stream_guard.errors import DecodeError
from stream_guard.records import DEFAULT_TENANT, Operation

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODE: Final = msgspec.json.Encoder().encode


def decode_operation(value: bytes | None) -> Operation:
    """Read one operation; what it means is for the desk to say.

    Args:
        value: JSON object with the fields of `records.Operation`; times as in every record.

    Raises:
        DecodeError: with a `DeadLetterReason`.
    """
    if value is None:
        raise DecodeError(DeadLetterReason.TOMBSTONE)
    found = read_fields(value, OPERATION)
    expires = found["expires_at"]
    return Operation(
        operation_id=found["operation_id"],
        action=found["action"],
        tenant=found["tenant"] or DEFAULT_TENANT,
        scope=found["scope"],
        subject_id=found["subject_id"],
        actor=found["actor"] or "",
        reason=found["reason"] or "",
        ts=parse_time(found["ts"]) or 0.0,
        expires_at=None if expires is None else parse_time(expires),
    )


def encode_operation(operation: Operation) -> bytes:
    """JSON that `decode_operation` reads; times to the microsecond."""
    record: dict[str, Any] = msgspec.to_builtins(operation)
    for name in ("ts", "expires_at"):
        if record[name] is not None:
            moment = _EPOCH + timedelta(seconds=record[name])
            record[name] = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _ENCODE({name: found for name, found in record.items() if found is not None})
