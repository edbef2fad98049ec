"""One record at a time: the reader for what is not a good query, and the one that finds the reason of a refusal.

It agrees with the fast reader on which queries are good, and serves the rare record types. About 10 microseconds a
record. Errors name fields of the contract and never quote a record.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from stream_guard.decode.fields import OPERATION, RECORDS, Field, QueryStruct, Shape
from stream_guard.decode.reasons import DeadLetterReason
from stream_guard.decode.times import parse_time
from stream_guard.errors import DecodeError
from stream_guard.records import (
    DEFAULT_TENANT,
    AccountStatus,
    AccountStatusValue,
    Feedback,
    FeedbackLabel,
    ModelRelease,
)

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes that are not the JSON wanted."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STATUSES: Final = {value.name.lower(): value for value in AccountStatusValue if value is not AccountStatusValue.NONE}
_LABELS: Final = {label.value: label for label in FeedbackLabel}


def account_key(account_id: str, tenant: str | None) -> str:
    """Key of an account within all tenants; ids hold no control characters, so keys of tenants never meet."""
    return account_id if not tenant or tenant == DEFAULT_TENANT else f"{tenant}\x1f{account_id}"


def has_control(text: str) -> bool:
    """Whether a control character (C0, DEL, C1) is in the text."""
    return _CONTROL.search(text) is not None


_TABLES: Final = (*RECORDS.values(), OPERATION)
_RAW: Final = msgspec.defstruct(
    "RawFields",
    [(name, msgspec.Raw, msgspec.UNSET) for name in sorted({field.name for table in _TABLES for field in table})],
    kw_only=True,
)
_READER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_RAW)
_ANY: Final = msgspec.json.Decoder()


def read_fields(value: bytes, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Read the given fields of one JSON object.

    Args:
        value: the record.
        fields: one of the tables of `fields`; other fields are skipped unread.

    Returns:
        Every field, None where absent; times still as they came.

    Raises:
        DecodeError: with a `DeadLetterReason`.
    """
    raw = _parse(value)
    return {field.name: _field(raw, field) for field in fields}


def _parse(value: bytes) -> Any:  # noqa: ANN401 - a struct built from data
    try:
        return _READER.decode(value)
    except msgspec.ValidationError:
        raise DecodeError(DeadLetterReason.NOT_AN_OBJECT) from None
    except RecursionError:
        raise DecodeError(DeadLetterReason.NOT_JSON, "nested too deep") from None
    except UNREADABLE:
        raise DecodeError(DeadLetterReason.NOT_JSON) from None


def _field(raw: Any, field: Field) -> Any:  # noqa: ANN401 - JSON in, JSON out
    part = getattr(raw, field.name)
    found = None
    if part is not msgspec.UNSET:
        try:
            found = _ANY.decode(part)
        except msgspec.ValidationError:  # numbers out of range
            raise DecodeError(DeadLetterReason.BAD_VALUE, field.name) from None
        except UNREADABLE:
            raise DecodeError(DeadLetterReason.NOT_JSON, field.name) from None
    if found is None:
        if field.required:
            raise DecodeError(DeadLetterReason.MISSING_FIELD, field.name)
        return None
    if not _has_shape(found, field.shape):
        raise DecodeError(DeadLetterReason.WRONG_TYPE, f"{field.name} must be {field.shape.value}")
    problem = _problem(found, field)
    if problem:
        raise DecodeError(DeadLetterReason.BAD_VALUE, f"{field.name} {problem}")
    if field.shape is Shape.TIME and parse_time(found) is None:
        raise DecodeError(DeadLetterReason.BAD_TIME, field.name)
    return tuple(found) if field.shape is Shape.TEXTS else found


def _has_shape(found: object, shape: Shape) -> bool:
    match shape:
        case Shape.TEXT:
            return isinstance(found, str)
        case Shape.INTEGER:
            return isinstance(found, int) and not isinstance(found, bool)
        case Shape.NUMBER:
            return isinstance(found, int | float) and not isinstance(found, bool)
        case Shape.TIME:
            return isinstance(found, int | str) and not isinstance(found, bool)
        case Shape.TEXTS:
            return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _problem(found: Any, field: Field) -> str:  # noqa: ANN401 - JSON of the shape wanted
    if isinstance(field.limits, tuple):
        low, high = field.limits
        return "" if low <= found <= high else "is out of range"
    if isinstance(field.limits, int):
        if len(found) > field.limits:
            return f"is longer than {field.limits} characters"
        if field.required and not found:
            return "is empty"
    if field.identity and has_control(found):
        return "has control characters"
    return ""


def read_record(value: bytes, *, latest_ts: float) -> msgspec.Struct | AccountStatus | ModelRelease | Feedback:
    """Read one record of any type.

    Args:
        value: the record.
        latest_ts: Unix seconds; a query, status or feedback after it is refused. Releases are announced ahead.

    Returns:
        A `QueryStruct` for a query, else a record of `records`.

    Raises:
        DecodeError: with a `DeadLetterReason`.
    """
    raw = _parse(value)
    kind = _field(raw, RECORDS["query"][0]) or "query"
    fields = RECORDS.get(kind)
    if fields is None:
        raise DecodeError(DeadLetterReason.UNKNOWN_TYPE)
    found = {field.name: _field(raw, field) for field in fields}
    if "ts" in found:
        ts = parse_time(found["ts"]) or 0.0
        if ts > latest_ts:
            raise DecodeError(DeadLetterReason.FUTURE_TIME, "ts")
    match kind:
        case "account_status":
            status = _choose(_STATUSES, found, "status")
            return AccountStatus(account_key(found["account_id"], found["tenant"]), status, ts)
        case "model_release":
            return ModelRelease(found["model"], parse_time(found["at"]) or 0.0)
        case "feedback":
            return _feedback(found, ts)
        case _:
            query: msgspec.Struct = QueryStruct(**found)
            return query


def _choose(choices: dict[str, Any], found: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - the caller knows
    try:
        return choices[found[name]]
    except KeyError:
        raise DecodeError(DeadLetterReason.BAD_VALUE, f"{name} must be one of {', '.join(choices)}") from None


def _feedback(found: dict[str, Any], ts: float) -> Feedback:
    campaign, account = found["campaign_id"] or None, found["account_id"] or None
    if campaign is None and account is None:
        raise DecodeError(DeadLetterReason.MISSING_FIELD, "campaign_id or account_id")
    if campaign is not None and account is not None:
        raise DecodeError(DeadLetterReason.BAD_VALUE, "only one of campaign_id and account_id")
    return Feedback(
        label=_choose(_LABELS, found, "label"),
        actor=found["actor"] or "",
        reason=found["reason"] or "",
        ts=ts,
        campaign_id=campaign,
        account_id=account,
        tenant=found["tenant"] or DEFAULT_TENANT,
    )
