"""Bundles as Kafka messages: msgpack, compressed, cut into parts that fit a message.

Layout of a message: msgpack `[version, source, epoch, part, parts, bytes]`. The joined bytes are a zstd frame of the
msgpack body. Rows are the raw bytes of `records.ROW` arrays; an unknown version raises StateError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
import zstandard

from stream_guard.errors import StateError
from stream_guard.records import ROW, DeltaBundle, Evidence, Kind, Suspicion, SuspicionBundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIRE_VERSION = 1
_PART_BYTES = 700_000
_MAX_BODY_BYTES = 1 << 30
Body = TypeVar("Body")
_Name = tuple[int, int, str]
_Term = tuple[str, float, float, float, str]
_Anchor = tuple[int, int, float, float]
_Suspicion = tuple[str, str, int, int, float, list[_Term], bytes, list[str], list[_Anchor], list[_Name], bool]
_DELTAS = msgspec.msgpack.Decoder(tuple[bytes, list[str], list[_Name]])


class _Suspicions(msgspec.Struct, array_like=True):
    """Body of a suspicion bundle. What was added later has a default, so bundles of earlier workers are read too."""

    suspicions: list[_Suspicion]
    traffic: dict[str, tuple[int, float]]
    reference: list[tuple[str, bytes]] = []
    confirming: bool = False


_SUSPICIONS = msgspec.msgpack.Decoder(_Suspicions)
_PART_DECODER = msgspec.msgpack.Decoder(tuple[int, int, int, int, int, bytes])


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a bundle."""

    source: int
    epoch: int
    part: int
    parts: int
    data: bytes


def encode_deltas(bundle: DeltaBundle) -> list[bytes]:
    """Messages of a delta bundle; at least one, so that an empty bundle still moves event time on."""
    names = [(kind, value, name) for (kind, value), name in bundle.names.items()]
    return _cut(bundle.source, bundle.epoch, [bundle.rows.tobytes(), list(bundle.keys), names])


def decode_deltas(source: int, epoch: int, data: bytes) -> DeltaBundle:
    """The bundle whose joined parts are `data`.

    Raises:
        StateError: they are something else.
    """
    rows, keys, names = _body(data, _DELTAS)
    return DeltaBundle(
        source, epoch, _rows(rows, len(keys)), keys, {(kind, value): name for kind, value, name in names}
    )


def encode_suspicions(bundle: SuspicionBundle) -> list[bytes]:
    """Messages of a suspicion bundle."""
    suspicions = [
        (
            item.cluster,
            item.tenant,
            int(item.kind),
            item.value,
            item.log_odds,
            [(term.signal, term.contribution, term.observed, term.expected, term.text) for term in item.evidence],
            item.rows.tobytes(),
            list(item.keys),
            item.anchors,
            [(kind, value, name) for (kind, value), name in item.names.items()],
            item.resold,
        )
        for item in bundle.suspicions
    ]
    reference = [(tenant, rows.tobytes()) for tenant, rows in bundle.reference.items()]
    return _cut(bundle.source, bundle.epoch, [suspicions, dict(bundle.traffic), reference, bundle.confirming])


def decode_suspicions(source: int, epoch: int, data: bytes) -> SuspicionBundle:
    """The bundle whose joined parts are `data`.

    Raises:
        StateError: they are something else.
    """
    body = _body(data, _SUSPICIONS)
    return SuspicionBundle(
        source,
        epoch,
        [
            Suspicion(
                cluster=cluster,
                tenant=tenant,
                kind=_kind(kind),
                value=value,
                log_odds=log_odds,
                evidence=tuple(Evidence(*term) for term in evidence),
                rows=_rows(rows, len(keys)),
                keys=keys,
                anchors=tuple(anchors),
                names={(kind_, value_): name for kind_, value_, name in names},
                resold=resold,
            )
            for cluster, tenant, kind, value, log_odds, evidence, rows, keys, anchors, names, resold in body.suspicions
        ],
        body.traffic,
        {tenant: _rows(rows, len(rows) // ROW.itemsize) for tenant, rows in body.reference},
        body.confirming,
    )


def decode_part(value: bytes, sources: int) -> Part:
    """One message.

    Raises:
        StateError: not a part, of another version, or from none of the `sources`.
    """
    try:
        version, source, epoch, part, parts, data = _PART_DECODER.decode(value)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError("bundle: not readable") from error
    if version != WIRE_VERSION:
        raise StateError(f"bundle: version {version} is not {WIRE_VERSION}")
    if not 0 <= source < sources or epoch < 0 or not 0 <= part < parts:
        raise StateError("bundle: impossible numbers")
    return Part(source, epoch, part, parts, data)


def _cut(source: int, epoch: int, body: list[Any]) -> list[bytes]:
    data = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(body))
    parts = max(1, -(-len(data) // _PART_BYTES))
    return [
        msgspec.msgpack.encode(
            (WIRE_VERSION, source, epoch, part, parts, data[part * _PART_BYTES : (part + 1) * _PART_BYTES])
        )
        for part in range(parts)
    ]


def _body(data: bytes, decoder: msgspec.msgpack.Decoder[Body]) -> Body:
    try:
        if zstandard.frame_content_size(data) > _MAX_BODY_BYTES:  # it would be allocated at once
            raise StateError("bundle: too large")
        return decoder.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_BODY_BYTES))
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError) as error:
        raise StateError("bundle: not readable") from error


def _rows(data: bytes, count: int) -> NDArray[np.void]:
    if len(data) != count * ROW.itemsize:
        raise StateError(f"bundle: {len(data)} bytes are not {count} rows")
    return np.frombuffer(data, ROW)


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError as error:
        raise StateError(f"bundle: kind {number} is unknown") from error
