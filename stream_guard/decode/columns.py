"""Good queries to the columns of `EventBatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stream_guard.decode.interning import (
    COHORT_SECONDS,
    ClientInterner,
    Interner,
    Names,
    RowInterner,
    address_prefix,
    event_hashes,
)
from stream_guard.decode.times import parse_time
from stream_guard.records import KINDS, Capability, EventBatch, Flag, Kind
from stream_guard.sketch import sketch_prompts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Columns = Mapping[str, Sequence[Any]]

_FIELD_OF: Final = {
    Kind.PAYMENT: "payment_fp",
    Kind.ADDRESS: "ip",
    Kind.ASN: "asn",
    Kind.ASN_CLASS: "asn_class",
    Kind.COUNTRY: "country",
    Kind.TLS: "tls_fp",
    Kind.HEADER: "header_fp",
    Kind.USER_AGENT: "user_agent",
    Kind.SYSTEM_PROMPT: "system_prompt_fp",
    Kind.ORG: "org_id",
    Kind.EMAIL_CLASS: "email_class",
    Kind.CREDIT: "credit_program",
    Kind.PLAN: "plan",
    Kind.ACCESS_PATH: "access_path",
    Kind.LANGUAGE: "language",
    Kind.MODEL: "model",
}
_CLIENT: Final = (Kind.TLS, Kind.HEADER, Kind.USER_AGENT)  # the order that `ClientInterner` wants
_TOGETHER: Final = (  # what usually comes in few combinations is looked up in one step
    (Kind.ADDRESS, Kind.ASN, Kind.ASN_CLASS, Kind.COUNTRY),
    (Kind.EMAIL_CLASS, Kind.CREDIT, Kind.PLAN, Kind.ACCESS_PATH, Kind.LANGUAGE, Kind.MODEL),
)
_ALONE: Final = (Kind.PAYMENT, Kind.SYSTEM_PROMPT, Kind.ORG)
_TEXT_OF: Final = {Kind.ADDRESS: address_prefix, Kind.COUNTRY: str.upper, Kind.LANGUAGE: str.lower}
_MAX_ENTRIES: Final = 1 << 15
_MAX_REMEMBERED: Final = 64  # characters or flags
BAD_TIME: Final = float("inf")


class _Remembered(dict[Any, Any]):
    """A bounded memory of a pure function of short values."""

    def remember(self, shown: Any, result: Any) -> None:  # noqa: ANN401 - values of JSON
        if len(self) >= _MAX_ENTRIES:
            self.clear()
        self[shown] = result


class CreatedAt(_Remembered):
    """Sign-up times as Unix seconds; NaN when absent, `BAD_TIME` when unreadable."""

    def __missing__(self, shown: int | str | None) -> float:
        parsed = float("nan") if shown is None else parse_time(shown)
        result = BAD_TIME if parsed is None else parsed
        if not isinstance(shown, str) or len(shown) <= _MAX_REMEMBERED:
            self.remember(shown, result)
        return result


class _Capabilities(_Remembered):
    def __missing__(self, shown: str | None) -> int:
        if not shown:
            return int(Capability.UNTAGGED)
        result = _CAPABILITIES.get(shown.lower(), int(Capability.OTHER))
        if len(shown) <= _MAX_REMEMBERED:
            self.remember(shown, result)
        return result


_CAPABILITIES: Final = {
    value.name.lower(): int(value) for value in Capability if value not in {Capability.UNTAGGED, Capability.OTHER}
}
_FLAG_BITS: Final = {flag.name.lower(): 1 << flag for flag in Flag}


class _Flags(_Remembered):
    def __missing__(self, shown: tuple[str, ...] | None) -> int:
        result = 0
        for name in shown or ():
            result |= _FLAG_BITS.get(name, 0)
        if shown is None or (len(shown) <= len(Flag) and all(name in _FLAG_BITS for name in shown)):
            self.remember(shown, result)
        return result


def _numbers(column: Sequence[int | None]) -> NDArray[np.float64]:
    return np.array(column, np.float64)  # None becomes NaN


class ColumnMaker:
    """Makes batches; remembers texts it has met. One per decoder."""

    def __init__(self, hash_key: bytes) -> None:
        self._names: Names = {}
        self._interners = {kind: Interner(kind, self._names, hash_key, _TEXT_OF.get(kind, str)) for kind in _FIELD_OF}
        self._cohorts = Interner(Kind.COHORT, self._names, hash_key)
        self._together = [(kinds, RowInterner([self._interners[kind] for kind in kinds])) for kinds in _TOGETHER]
        self._clients = RowInterner(
            [*(self._interners[kind] for kind in _CLIENT), ClientInterner(self._names, hash_key)]
        )
        self._capabilities = _Capabilities()
        self._flags = _Flags()

    def batch(
        self,
        columns: Columns,
        keys: tuple[Sequence[str], Sequence[str]],
        times: tuple[NDArray[np.float64], NDArray[np.float64]],
        sketched: tuple[NDArray[np.int64], NDArray[np.void]],
    ) -> EventBatch:
        """Make a batch of good queries.

        Args:
            columns: fields as they came, by name.
            keys: of accounts and of events.
            times: `ts` and sign-up.
            sketched: which rows came sketched, and their sketches.
        """
        ts, created_at = times
        n = len(ts)
        places, sketches = sketched
        if len(places) == n:
            sketch = sketches
        else:
            sketch = sketch_prompts(columns["prompt"])
            sketch[places] = sketches
        quota = _numbers(columns["quota_per_day"])
        quota[quota <= 0] = np.nan
        return EventBatch(
            key=keys[0],
            event=event_hashes(keys[1]),
            ts=ts,
            created_at=created_at,
            quota=quota,
            input_tokens=_numbers(columns["input_tokens"]),
            output_tokens=_numbers(columns["output_tokens"]),
            status=np.fromiter((status or 0 for status in columns["status"]), np.int16, n),
            limited=np.fromiter(map(bool, columns["limited_by"]), np.bool_, n),
            flags=np.fromiter(map(self._flags.__getitem__, columns["flags"]), np.uint8, n),
            capability=np.fromiter(map(self._capabilities.__getitem__, columns["capability"]), np.uint8, n),
            values=self._values(columns, created_at),
            sketch=sketch,
            names=self._new_names(),
        )

    def _values(self, columns: Columns, created_at: NDArray[np.float64]) -> NDArray[np.uint32]:
        values = np.zeros((len(created_at), KINDS), np.uint32)
        for kind in _ALONE:
            values[:, kind] = self._interners[kind].column(columns[_FIELD_OF[kind]])
        for kinds, interner in self._together:
            values[:, kinds] = interner.columns(*(columns[_FIELD_OF[kind]] for kind in kinds))
        values[:, (*_CLIENT, Kind.CLIENT)] = self._clients.columns(*(columns[_FIELD_OF[kind]] for kind in _CLIENT))
        cohort = np.where(np.isnan(created_at), -1, created_at // COHORT_SECONDS).astype(np.int64)
        values[:, Kind.COHORT] = self._cohorts.column(cohort.tolist())
        return values

    def _new_names(self) -> Names:
        names = dict(self._names)
        self._names.clear()
        return names
