"""A mapping: where each field of a query record comes from. One TOML file; `docs/sources.md` has its language."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from stream_guard.decode.fields import QUERY, Field, Shape
from stream_guard.errors import ConfigurationError
from stream_guard.sources.values import MILLISECONDS, Pointer, parse_pointer

BUILT_IN: Final = ("otel", "litellm", "envoy")
"""Mappings that travel with the package."""

ALWAYS_HASHED: Final = {"ip": "ip", "payment_fp": "payment", "system_prompt_fp": "system_prompt"}
"""Fields that are hashed unless the rule says that they are opaque already; `ip` always."""

_FIELDS: Final = {field.name: field for field in QUERY if field.name != "type"}
_Hash = Literal["account", "api_key", "payment", "ip", "headers", "system_prompt"]
_Table = dict[str, Any]


class _RuleFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One rule as it stands in the file."""

    path: str | list[str] | None = None
    join: Annotated[list[str], msgspec.Meta(min_length=2)] | None = None
    value: str | int | float | list[str] | None = None
    digest: bool = False
    minus: str | None = None
    unit: Literal["s", "ms", "us", "ns"] | None = None
    hash: _Hash | None = None
    opaque: bool = False
    messages: bool = False
    count: bool = False
    pattern: str | None = None
    map: dict[str, str] | None = None
    default: str | None = None


class _SourceFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `[source]` table."""

    format: Literal["json", "otlp"] = "json"
    records: str = ""
    absent: list[str] = msgspec.field(default_factory=lambda: [""])
    skip_without: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to a field; the first that leads to something counts.

    Attributes:
        paths: where to look, first hit first.
        join: values that together are one, when all are there.
        value: the same for every record.
        digest: a hash of the line, for records without an id of their own.
        minus: what is taken off before the unit counts.
        unit: of the number found; the field has milliseconds.
        hash: kind of fingerprint that takes the value's place.
        messages: a system prompt is looked for among messages only.
        count: how many entries there are.
        pattern: the first group of its first match takes the text's place.
        choices: what takes the place of a text; without a `default`, others are left out.
    """

    paths: tuple[Pointer, ...] = ()
    join: tuple[Pointer, ...] = ()
    value: str | int | float | list[str] | None = None
    digest: bool = False
    minus: Pointer | None = None
    unit: str | None = None
    hash: str | None = None
    messages: bool = False
    count: bool = False
    pattern: re.Pattern[str] | None = None
    choices: dict[str, str] | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """All rules of a source.

    Attributes:
        name: for messages.
        rules: by field, in the contract's order.
        select: what a record has to hold to be a query at all: one of these texts, or anything where there are none.
        otlp: lines are export requests of OTLP.
        records: where the records are within a line.
        absent: texts that stand for nothing.
        skip_without: fields without which a record is no query rather than a bad one.
    """

    name: str
    rules: dict[Field, tuple[Rule, ...]]
    select: tuple[tuple[Pointer, frozenset[str] | None], ...]
    otlp: bool
    records: Pointer
    absent: frozenset[str]
    skip_without: frozenset[str]


def load_mapping(source: str) -> Mapping:
    """Read a mapping by its name or its file.

    Raises:
        ConfigurationError: there is no such mapping, or it is wrong; the message names the key.
    """
    if source in BUILT_IN:
        return parse_mapping(files(__package__).joinpath(f"{source}.toml").read_text(encoding="utf-8"), source)
    if not source.endswith(".toml"):
        raise ConfigurationError(
            f"no source {source!r}: it is one of {', '.join(BUILT_IN)}, or a file that ends in .toml"
        )
    try:
        return parse_mapping(Path(source).read_text(encoding="utf-8"), Path(source).stem)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None


def parse_mapping(text: str, name: str) -> Mapping:
    """Read the text of a mapping.

    Raises:
        ConfigurationError: it is wrong; the message names the key.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"not TOML: {error}") from None
    unknown = sorted(data.keys() - {"source", "select", "fields"})
    if unknown:
        raise ConfigurationError(f"[{unknown[0]}] is unknown: there are [source], [select] and [fields]")
    head = _convert(data.get("source", {}), _SourceFile, "[source]")
    fields = _convert(data.get("fields", {}), dict[str, Any], "[fields]")
    _known({*fields, *head.skip_without})
    missing = [field.name for field in QUERY if field.required and field.name not in fields]
    if missing:
        raise ConfigurationError(f"[fields] lacks {missing[0]}, which every record needs")
    return Mapping(
        name=name,
        rules={field: _rules(field, fields[field.name]) for field in _FIELDS.values() if field.name in fields},
        select=_select(data.get("select", {})),
        otlp=head.format == "otlp",
        records=parse_pointer(head.records),
        absent=frozenset(head.absent),
        skip_without=frozenset(head.skip_without),
    )


def _known(names: set[str]) -> None:
    unknown = sorted(names - _FIELDS.keys())
    if unknown:
        raise ConfigurationError(f"{unknown[0]!r} is no field of a query record; there are {', '.join(_FIELDS)}")


def _select(data: object) -> tuple[tuple[Pointer, frozenset[str] | None], ...]:
    table = _convert(data, dict[str, list[str] | Literal["present"]], "[select]")
    return tuple(
        (parse_pointer(at), None if wanted == "present" else frozenset(wanted)) for at, wanted in table.items()
    )


def _rules(field: Field, data: object) -> tuple[Rule, ...]:
    listed = data if isinstance(data, list) and not (data and isinstance(data[0], str)) else [data]
    if not listed:
        raise ConfigurationError(f"{field.name}: no rule")
    return tuple(_rule(field, one) for one in listed)


def _rule(field: Field, data: object) -> Rule:
    where = f"{field.name}"
    found = _convert({"path": data} if isinstance(data, str | list) else data, _RuleFile, where)
    ways = [found.path is not None, found.join is not None, found.value is not None, found.digest]
    if sum(ways) != 1:
        raise ConfigurationError(f"{where}: one of path, join, value and digest is needed, and only one")
    if found.unit and field.shape not in {Shape.TIME, Shape.NUMBER, Shape.INTEGER}:
        raise ConfigurationError(f"{where}: a text has no unit ({', '.join(MILLISECONDS)})")
    if found.default is not None and found.map is None:
        raise ConfigurationError(f"{where}: default needs map")
    kind = found.hash or (None if found.opaque else ALWAYS_HASHED.get(field.name))
    if field.name == "ip":
        kind = "ip"
    paths = [found.path] if isinstance(found.path, str) else found.path or []
    return Rule(
        paths=tuple(map(parse_pointer, paths)),
        join=tuple(map(parse_pointer, found.join or ())),
        value=found.value,
        digest=found.digest,
        minus=None if found.minus is None else parse_pointer(found.minus),
        unit=found.unit,
        hash=kind,
        messages=found.messages,
        count=found.count,
        pattern=_pattern(found.pattern, where),
        choices=found.map,
        default=found.default,
    )


def _pattern(text: str | None, where: str) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise ConfigurationError(f"{where}: {text!r} is no regular expression: {error}") from None
    if compiled.groups != 1:
        raise ConfigurationError(f"{where}: the pattern needs one group, around what is to be kept")
    return compiled


def _convert(data: object, kind: Any, where: str) -> Any:  # noqa: ANN401 - the caller names the type
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
