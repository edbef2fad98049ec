"""The fields of the input records: the one table from which both the fast and the careful reader are made.

To add a field: one line here, and its column in `columns` if the detector is to see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final

import msgspec

MAX_IDENTIFIER: Final = 256  # characters
MAX_TEXT: Final = 2_000  # characters of what a person wrote in feedback
_COUNT: Final = (0, 1 << 40)
_ANY_INTEGER: Final = (-(1 << 53), 1 << 53)  # what a float64 column holds exactly


class Shape(Enum):
    """What the JSON value must be."""

    TEXT = "a string"
    INTEGER = "an integer"
    NUMBER = "a number"
    TIME = "an RFC 3339 string or integer epoch milliseconds"
    TEXTS = "a list of strings"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one record type.

    Attributes:
        name: as in the contract.
        shape: JSON type; null counts as absent.
        required: absent, null or empty is refused.
        limits: least and greatest value of an integer, or greatest length of a text in characters.
        identity: part of a key, so control characters are refused.
    """

    name: str
    shape: Shape
    required: bool = False
    limits: tuple[int, int] | int | None = None
    identity: bool = False


def _identifier(name: str, *, required: bool = False, identity: bool = False) -> Field:
    return Field(name, Shape.TEXT, required, MAX_IDENTIFIER, identity)


def _texts(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, Shape.TEXT) for name in names)


def _counts(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, Shape.INTEGER, limits=_COUNT) for name in names)


_TYPE: Final = Field("type", Shape.TEXT)
_TENANT: Final = _identifier("tenant", identity=True)
_TS: Final = Field("ts", Shape.TIME, required=True)
_ACCOUNT: Final = _identifier("account_id", required=True, identity=True)

QUERY: Final = (
    _TYPE,
    _identifier("event_id", required=True, identity=True),
    _TS,
    _ACCOUNT,
    _TENANT,
    _identifier("org_id"),
    _identifier("api_key_id"),
    _identifier("session_id"),
    Field("quota_per_day", Shape.INTEGER, limits=_ANY_INTEGER),
    Field("account_created_at", Shape.TIME),
    *_texts("plan", "credit_program", "payment_fp", "email_class", "access_path", "ip"),
    Field("asn", Shape.INTEGER, limits=(0, (1 << 32) - 1)),
    *_texts("asn_class", "country", "tls_fp", "header_fp", "user_agent", "model", "capability", "language"),
    *_texts("prompt", "prompt_sketch", "system_prompt_fp"),
    *_counts("input_tokens", "output_tokens", "max_tokens", "tools"),
    Field("flags", Shape.TEXTS),
    Field("status", Shape.INTEGER, limits=(0, 999)),
    Field("limited_by", Shape.TEXT),
    Field("latency_ms", Shape.NUMBER),
)
ACCOUNT_STATUS: Final = (_TYPE, _ACCOUNT, _TENANT, _TS, Field("status", Shape.TEXT, required=True))
MODEL_RELEASE: Final = (
    _TYPE,
    _identifier("model", required=True, identity=True),
    Field("at", Shape.TIME, required=True),
)
FEEDBACK: Final = (
    _TYPE,
    _TS,
    _TENANT,
    _identifier("campaign_id", identity=True),
    _identifier("account_id", identity=True),
    Field("label", Shape.TEXT, required=True),
    _identifier("actor", identity=True),
    Field("reason", Shape.TEXT, limits=MAX_TEXT),
)
OPERATION: Final = (
    _identifier("operation_id", required=True, identity=True),
    _identifier("action", required=True, identity=True),
    _TENANT,
    _identifier("scope", required=True, identity=True),
    _identifier("subject_id", required=True, identity=True),
    _identifier("actor", identity=True),
    Field("reason", Shape.TEXT, limits=MAX_TEXT),
    _TS,
    Field("expires_at", Shape.TIME),
)
RECORDS: Final = {
    "query": QUERY,
    "account_status": ACCOUNT_STATUS,
    "model_release": MODEL_RELEASE,
    "feedback": FEEDBACK,
}


def _fast_type(field: Field) -> Any:  # noqa: ANN401 - a type built from data
    built: Any
    match field.shape:
        case Shape.TEXT:
            built = str
            if isinstance(field.limits, int):
                least = 1 if field.required else None
                built = Annotated[str, msgspec.Meta(min_length=least, max_length=field.limits)]
        case Shape.INTEGER:
            low, high = field.limits if isinstance(field.limits, tuple) else _ANY_INTEGER
            built = Annotated[int, msgspec.Meta(ge=low, le=high)]
        case Shape.NUMBER:
            built = float
        case Shape.TIME:
            built = int | str
        case Shape.TEXTS:
            built = tuple[str, ...]
    return built if field.required else built | None


QueryStruct: Any = msgspec.defstruct(
    "QueryStruct",
    [(field.name, _fast_type(field)) if field.required else (field.name, _fast_type(field), None) for field in QUERY],
    kw_only=True,
    gc=False,
)
"""What the fast reader decodes into; its fields follow `QUERY`."""
