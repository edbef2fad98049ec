"""Applies the rules of a mapping to one record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from stream_guard.decode.fields import Shape
from stream_guard.edge import fingerprint
from stream_guard.sketch import parse_sketch
from stream_guard.sources.texts import system_text, unpacked, user_text
from stream_guard.sources.values import find, fit, hashed, in_milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_guard.decode.fields import Field
    from stream_guard.sources.mapping import Rule


class Missing(Enum):
    """Why a field has no value."""

    ABSENT = "nothing is there"
    UNREADABLE = "something is there, and it cannot be read as the field"


@dataclass(frozen=True, slots=True)
class Origin:
    """One record of a source.

    Attributes:
        data: its content.
        line: the bytes that it came with.
        number: which record of the line it is, from 1.
        key: secret for fingerprints.
        absent: texts that stand for nothing.
    """

    data: dict[str, Any]
    line: bytes
    number: int
    key: bytes
    absent: frozenset[str]

    def is_absent(self, value: object) -> bool:
        """Whether a value stands for nothing."""
        return value is None or (isinstance(value, str) and value in self.absent)


def read_field(field: Field, rules: tuple[Rule, ...], origin: Origin) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """The first value that the rules lead to, or `Missing`.

    `prompt` is still text here, and nowhere after the bridge; `system_prompt_fp` and addresses are hashed already.
    """
    outcome = Missing.ABSENT
    for rule in rules:
        for raw in _raw(rule, origin):
            value = _value(field, rule, raw, origin)
            if not isinstance(value, Missing):
                return value
            if value is Missing.UNREADABLE:
                outcome = value
    return outcome


def _raw(rule: Rule, origin: Origin) -> Iterator[object]:
    if rule.value is not None:
        yield rule.value
    elif rule.digest:
        yield f"{hashlib.sha256(origin.line).hexdigest()[:32]}-{origin.number}"
    elif rule.join:
        parts = [fit(find(origin.data, pointer), Shape.TEXT) for pointer in rule.join]
        if not any(map(origin.is_absent, parts)):
            yield "-".join(parts)
    else:
        for pointer in rule.paths:
            raw = find(origin.data, pointer)
            if not origin.is_absent(raw):
                yield raw


def _value(field: Field, rule: Rule, raw: object, origin: Origin) -> Any:  # noqa: ANN401 - JSON in, JSON out
    if field.name == "prompt":
        return user_text(raw, origin.absent) or Missing.ABSENT
    if rule.hash == "system_prompt":
        text = system_text(raw, origin.absent, unsigned=not rule.messages)
        return fingerprint(origin.key, "system_prompt", text) if text else Missing.ABSENT
    chosen = _chosen(raw, rule)
    if chosen is None:
        return Missing.ABSENT
    value = _converted(field, rule, chosen, origin)
    if value is None or (field.name == "prompt_sketch" and not _is_sketch(value)):
        return Missing.UNREADABLE
    return value


def _chosen(raw: object, rule: Rule) -> object:
    """What pattern and choices leave; None for nothing."""
    if rule.pattern is not None:
        match = rule.pattern.search(raw) if isinstance(raw, str) else None
        raw = match[1] if match else None
    if rule.choices is None or raw is None:
        return raw
    chosen = [
        choice
        for item in (raw if isinstance(raw, list) else [raw])
        if (choice := rule.choices.get(fit(item, Shape.TEXT) or "", rule.default)) is not None
    ]
    if isinstance(raw, list):
        return chosen or None
    return chosen[0] if chosen else None


def _converted(field: Field, rule: Rule, raw: object, origin: Origin) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """The value with the field's type; None where that would be guessing."""
    if rule.count:
        raw = unpacked(raw)
        return len(raw) if isinstance(raw, list | dict) else None
    if rule.minus is not None:
        whole, less = number(raw), number(find(origin.data, rule.minus))
        if whole is None or less is None:
            return None
        raw = whole - less
    if rule.hash is not None:
        return hashed(raw, rule.hash, origin.key)
    if rule.unit is not None:
        return in_milliseconds(raw, rule.unit, field.shape)
    return fit(raw, field.shape)


def _is_sketch(text: str) -> bool:
    try:
        return bool(parse_sketch(text))
    except ValueError:
        return False
