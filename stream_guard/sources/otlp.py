"""OTLP JSON to one flat object for each span and log record.

One line is what a Collector's file exporter writes, an export request of traces or logs. Field names are those of the
protocol's JSON mapping (opentelemetry-proto 1.x): lowerCamelCase, hexadecimal ids, 64-bit numbers as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stream_guard.decode.reasons import DeadLetterReason
from stream_guard.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS: Final = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}
_KEPT: Final = ("traceId", "spanId", "name", "eventName", "startTimeUnixNano", "endTimeUnixNano", "timeUnixNano")


def unfold(data: object) -> Iterator[dict[str, Any] | DecodeError | None]:
    """Take an export request apart.

    Args:
        data: one line, decoded.

    Yields:
        For each span or log record its own fields, with `attributes` and `resource` as plain objects; an error where
        something is not as the protocol has it; None for a metric.
    """
    if not isinstance(data, dict):
        yield DecodeError(DeadLetterReason.NOT_AN_OBJECT)
        return
    if not any(name in data for name in _SIGNALS):
        yield DecodeError(DeadLetterReason.MISSING_FIELD, " or ".join(_SIGNALS))
    for name, (scopes, items) in _SIGNALS.items():
        for group in _objects(data, name):
            if isinstance(group, DecodeError):
                yield group
                continue
            resource = attributes(group["resource"]) if isinstance(group.get("resource"), dict) else {}
            for scope in _objects(group, scopes):
                yield from _items(scope, items, resource)


def attributes(owner: dict[str, Any]) -> dict[str, Any]:
    """Attributes as a plain object; what is no attribute is left out."""
    listed = owner.get("attributes")
    return _pairs(listed) if isinstance(listed, list) else {}


def _items(
    scope: dict[str, Any] | DecodeError, name: str, resource: dict[str, Any]
) -> Iterator[dict[str, Any] | DecodeError | None]:
    if isinstance(scope, DecodeError):
        yield scope
        return
    for item in _objects(scope, name):
        if isinstance(item, DecodeError):
            yield item
        elif name == "metrics":
            yield None
        else:
            kept = {field: item[field] for field in _KEPT if field in item}
            yield kept | {"attributes": attributes(item), "resource": resource}


def _objects(owner: dict[str, Any], name: str) -> Iterator[dict[str, Any] | DecodeError]:
    listed = owner.get(name)
    if listed is None:
        return
    if not isinstance(listed, list):
        yield DecodeError(DeadLetterReason.WRONG_TYPE, f"{name} must be a list")
        return
    for item in listed:
        yield item if isinstance(item, dict) else DecodeError(DeadLetterReason.WRONG_TYPE, f"{name} must hold objects")


def _pairs(listed: list[Any]) -> dict[str, Any]:
    return {
        pair["key"]: _any_value(pair.get("value"))
        for pair in listed
        if isinstance(pair, dict) and isinstance(pair.get("key"), str)
    }


def _any_value(value: object) -> Any:  # noqa: ANN401 - whatever the attribute holds
    if not isinstance(value, dict):
        return None
    for name in ("stringValue", "boolValue", "doubleValue", "intValue"):
        if name in value:
            return value[name]
    for name in ("arrayValue", "kvlistValue"):
        inner = value.get(name)
        if isinstance(inner, dict):
            listed = inner.get("values")
            if not isinstance(listed, list):
                return [] if name == "arrayValue" else {}
            return [_any_value(item) for item in listed] if name == "arrayValue" else _pairs(listed)
    return None
