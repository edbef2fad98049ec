"""Lines of a source to query records, encoded and checked against the contract."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.decode.careful import UNREADABLE, read_fields
from stream_guard.decode.fields import QUERY
from stream_guard.decode.reasons import DeadLetterReason
from stream_guard.edge import fingerprint
from stream_guard.errors import DecodeError
from stream_guard.sketch import sketch_texts
from stream_guard.sources.otlp import unfold
from stream_guard.sources.reading import Missing, Origin, read_field
from stream_guard.sources.values import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stream_guard.sources.mapping import Mapping

MOST_LINE_BYTES: Final = 64 << 20  # a batch of spans with their prompts is long
MOST_RECORD_BYTES: Final = 900_000  # brokers take a megabyte
_DECODE: Final = msgspec.json.Decoder().decode
_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that could not become a record; the error quotes nothing.

    Attributes:
        line: from 1.
        record: which one of the line, from 1.
        error: with a `DeadLetterReason`.
        raw: the line.
    """

    line: int
    record: int
    error: DecodeError
    raw: bytes


@dataclass(slots=True)
class Mapped:
    """What became of some lines.

    Attributes:
        records: key and value of each record, in order.
        refused: what was wrong, in order.
        skipped: records that are no queries.
        left_out: optional fields whose values could not be read, by name; the records went on without them.
    """

    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Bridge:
    """Maps lines of one source. Keeps nothing between calls.

    Cost: 100 to 200 microseconds a record, with the sketch of a short prompt.
    """

    def __init__(self, mapping: Mapping, key: bytes, *, hash_accounts: bool = False) -> None:
        """Make a bridge.

        Args:
            mapping: of the source.
            key: secret for fingerprints, at least 16 bytes.
            hash_accounts: put the account's fingerprint in its place; gateways then have to do the same.

        Raises:
            ValueError: the key is too short.
        """
        fingerprint(key, "account", "probe")  # a short key is told now and not line by line
        self._mapping = mapping
        self._key = key
        self._hash_accounts = hash_accounts

    def map(self, lines: Sequence[bytes], first_line: int = 1) -> Mapped:
        """Map lines in order. Never raises, whatever the bytes.

        Args:
            lines: without their ends; blank ones are passed over.
            first_line: number of the first one.
        """
        mapped = Mapped()
        found: list[tuple[int, int, bytes, dict[str, Any]]] = []
        for place, line in enumerate(lines, first_line):
            for number, record in enumerate(self._line(line, mapped), 1):
                if record is None:
                    mapped.skipped += 1
                elif isinstance(record, DecodeError):
                    mapped.refused.append(Refused(place, number, record, line))
                else:
                    found.append((place, number, line, record))
        _sketch_prompts([record for _, _, _, record in found])
        for place, number, line, record in found:
            try:
                mapped.records.append(_encoded(record))
            except DecodeError as error:
                mapped.refused.append(Refused(place, number, error, line))
        mapped.refused.sort(key=lambda one: (one.line, one.record))
        return mapped

    def _line(self, line: bytes, mapped: Mapped) -> Iterator[dict[str, Any] | DecodeError | None]:
        """Records of a line; an error for each bad one, None for each that is no query."""
        if line and not line.isspace():
            for number, item in enumerate(self._items(line), 1):
                yield self._record(item, line, number, mapped) if isinstance(item, dict) else item

    def _items(self, line: bytes) -> list[dict[str, Any] | DecodeError | None]:
        if len(line) > MOST_LINE_BYTES:
            return [DecodeError(DeadLetterReason.TOO_LARGE, f"more than {MOST_LINE_BYTES} bytes")]
        try:
            data = _DECODE(line)
            return list(unfold(data) if self._mapping.otlp else self._plain(data))
        except RecursionError:
            return [DecodeError(DeadLetterReason.NOT_JSON, "nested too deep")]
        except UNREADABLE:
            return [DecodeError(DeadLetterReason.NOT_JSON)]

    def _plain(self, data: object) -> Iterable[dict[str, Any] | DecodeError | None]:
        inner = find(data, self._mapping.records)
        for item in inner if isinstance(inner, list) else [inner]:
            yield item if isinstance(item, dict) else DecodeError(DeadLetterReason.NOT_AN_OBJECT)

    def _record(
        self, data: dict[str, Any], line: bytes, number: int, mapped: Mapped
    ) -> dict[str, Any] | DecodeError | None:
        """The record; None where it is no query."""
        mapping, origin = self._mapping, Origin(data, line, number, self._key, self._mapping.absent)
        for pointer, wanted in mapping.select:
            value = find(data, pointer)
            if origin.is_absent(value) or (wanted is not None and not (isinstance(value, str) and value in wanted)):
                return None
        read = {target: read_field(target, rules, origin) for target, rules in mapping.rules.items()}
        record = {target.name: value for target, value in read.items() if not isinstance(value, Missing)}
        if not mapping.skip_without <= record.keys():
            return None
        for target, value in read.items():
            if value is Missing.UNREADABLE:
                if target.required:
                    return DecodeError(DeadLetterReason.WRONG_TYPE, f"{target.name} must be {target.shape.value}")
                mapped.left_out[target.name] += 1
        if self._hash_accounts and record.get("account_id"):
            record["account_id"] = fingerprint(self._key, "account", record["account_id"])
        return record


def _sketch_prompts(records: list[dict[str, Any]]) -> None:
    """Put sketches in the place of prompts; a sketch that the source made itself stays."""
    with_prompts = [record for record in records if "prompt" in record]
    prompts = [record.pop("prompt") for record in with_prompts]
    for record, sketch in zip(with_prompts, sketch_texts(prompts) if prompts else (), strict=True):
        record.setdefault("prompt_sketch", sketch)


def _encoded(record: dict[str, Any]) -> tuple[bytes, bytes]:
    """Key and value.

    Raises:
        DecodeError: our own decoder would refuse the record.
    """
    try:
        value = _ENCODE(record)
        key = str(record.get("account_id", "")).encode()
    except UNREADABLE:  # lone surrogates
        raise DecodeError(DeadLetterReason.BAD_VALUE, "text that is not Unicode") from None
    if len(value) > MOST_RECORD_BYTES:
        raise DecodeError(DeadLetterReason.TOO_LARGE, f"the record has more than {MOST_RECORD_BYTES} bytes")
    read_fields(value, QUERY)
    return key, value
