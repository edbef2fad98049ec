"""Why a record is refused: the closed set that labels the counter and the dead letter."""

from __future__ import annotations

from enum import StrEnum


class DeadLetterReason(StrEnum):
    """One reason for each refused record, the first that applies."""

    TOMBSTONE = "tombstone"  # no value at all
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"  # malformed, not UTF-8, or nested too deep
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"  # right type, impossible content
    BAD_TIME = "bad_time"  # unreadable, without offset, or outside 2000-2100
    FUTURE_TIME = "future_time"  # further ahead than the allowed skew
    WRONG_TOPIC = "wrong_topic"  # a good record where it does not belong
