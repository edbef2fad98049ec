"""Values as other programs write them to values as the contract wants them. Nothing here raises on strange data."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

from stream_guard.decode.fields import Shape
from stream_guard.edge import fingerprint, header_fingerprint, ip_fingerprint
from stream_guard.errors import ConfigurationError

Pointer = tuple[str, ...]

MILLISECONDS: Final = {"s": Fraction(1000), "ms": Fraction(1), "us": Fraction(1, 1000), "ns": Fraction(1, 1_000_000)}
"""How many milliseconds one of each unit is."""

_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[\d.]+))(?::\d+)?", re.ASCII)
_HASHED_ADDRESS: Final = re.compile(r"iph:[0-9a-f]{16,64}", re.ASCII)
_MOST_MS: Final = 1 << 53


def parse_pointer(text: str) -> Pointer:
    """Read a JSON pointer (RFC 6901), such as `/attributes/gen_ai.request.model`.

    Raises:
        ConfigurationError: it does not begin with a slash.
    """
    if text == "":
        return ()
    if not text.startswith("/"):
        raise ConfigurationError(f"{text!r} is no JSON pointer: it begins with a slash, as in /user/id")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/"))


def find(data: object, pointer: Pointer) -> object:
    """What a pointer leads to; None where it leads nowhere."""
    for step in pointer:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def number(value: object) -> Fraction | None:
    """A number, also where it is written as text; exactly, for nanoseconds do not fit into a double."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Fraction):
        return Fraction(value)
    if isinstance(value, float):
        return Fraction(value) if math.isfinite(value) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return Fraction(value.strip())
    return None


def in_milliseconds(value: object, unit: str, shape: Shape) -> int | float | None:
    """A time or a duration to milliseconds: whole ones where the field holds whole numbers."""
    found = number(value)
    if found is None:
        return None
    found *= MILLISECONDS[unit]
    if abs(found) >= _MOST_MS:
        return None
    return float(found) if shape is Shape.NUMBER else round(found)


def fit(value: object, shape: Shape) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """The value with the JSON type that the field has; None where that would be guessing."""
    match shape:
        case Shape.TEXT:
            return _text(value)
        case Shape.INTEGER:
            found = number(value)
            return int(found) if found is not None and found.denominator == 1 else None
        case Shape.NUMBER:
            found = number(value)
            return None if found is None else float(found)
        case Shape.TIME:
            return value if isinstance(value, int | str) and not isinstance(value, bool) else None
        case Shape.TEXTS:
            items = value if isinstance(value, list) else [value]
            texts = [text for item in items if (text := _text(item))]
            return texts or None


def hashed(value: object, kind: str, key: bytes) -> str | None:
    """The keyed fingerprint of a value, of a kind that `edge` knows; None where there is nothing to hash."""
    try:
        match kind:
            case "ip":
                return _address(value, key)
            case "headers":
                names = _names(value)
                return header_fingerprint(key, names) if names else None
            case _:
                text = _text(value)
                return fingerprint(key, kind, text) if text else None
    except ValueError:  # not an address
        return None


def _address(value: object, key: bytes) -> str | None:
    """Of a list, as in X-Forwarded-For, the last entry counts: the nearest proxy wrote it, the caller the others."""
    if not isinstance(value, str):
        return None
    text = value.rpartition(",")[2].strip()
    if _HASHED_ADDRESS.fullmatch(text):
        return text
    found = _PORT.fullmatch(text)
    return ip_fingerprint(key, (found["six"] or found["four"]) if found else text)


def _names(value: object) -> list[str]:
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, str):
        return [name for name in value.split(",") if name.strip()]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    return []


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else None
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return None
