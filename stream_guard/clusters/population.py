"""What everyone else looks like: the active accounts that are not suspected, at the time of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream_guard.records import CAPABILITIES, KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_KINDS = tuple(Kind(number) for number in range(KINDS) if number not in {Kind.ADDRESS, Kind.TEMPLATE, Kind.ACCOUNT})


class StoredPopulation(msgspec.Struct, array_like=True):
    """A population as plain data: arrays as little-endian bytes, values and counts by kind."""

    accounts: int
    capability: bytes
    topic: bytes
    values: dict[int, tuple[bytes, bytes]]
    pairs: tuple[bytes, bytes]
    country: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Population:
    """Frequencies among presumed-honest accounts.

    Attributes:
        accounts: how many accounts stand behind the numbers.
        capability: (CAPABILITIES,) mean over accounts of each account's own mix, so heavy users do not dominate.
        topic: (TOPIC_BITS,) mean topic bit in [-1, 1].
        surprise: for each (country << 32 | language) seen, minus ln p(language | country).
    """

    accounts: int
    capability: Floats
    topic: Floats
    _values: Mapping[Kind, tuple[NDArray[np.uint32], NDArray[np.int64]]]
    _several: Mapping[Kind, tuple[NDArray[np.uint32], NDArray[np.int64]]]
    _pairs: tuple[NDArray[np.uint64], Floats]
    _country: tuple[NDArray[np.uint32], Floats]

    @classmethod
    def of(cls, rows: NDArray[np.void]) -> Population:
        """Count once through the rows; O(kinds * n log n)."""
        mix = capability_mix(rows["capability"])
        values = {kind: _count(rows["values"][:, kind]) for kind in _KINDS}
        several = {Kind.ADDRESS: _count(rows["addresses"]), Kind.TEMPLATE: _count(rows["templates"])}
        country, language = rows["values"][:, Kind.COUNTRY], rows["values"][:, Kind.LANGUAGE]
        both = (country != 0) & (language != 0)
        pair, pair_count = np.unique(_pair(country[both], language[both]), return_counts=True)
        of_country, country_count = np.unique(country[both], return_counts=True)
        total = country_count[np.searchsorted(of_country, (pair >> np.uint64(32)).astype(np.uint32))]
        languages = max(len(np.unique(language[both])), 1)
        return cls(
            accounts=len(rows),
            capability=(mix.sum(axis=0) + 1.0) / (len(rows) + CAPABILITIES),
            topic=rows["topic"].mean(axis=0) / 127.0 if len(rows) else np.zeros(rows["topic"].shape[1]),
            _values=values,
            _several=several,
            _pairs=(pair, -np.log((pair_count + 0.5) / (total + 0.5 * languages))),
            _country=(of_country, -np.log(0.5 / (country_count + 0.5 * languages))),
        )

    def dump(self) -> StoredPopulation:
        """Plain data: about four bytes a value and eight a count."""
        return StoredPopulation(
            self.accounts,
            self.capability.tobytes(),
            self.topic.tobytes(),
            {
                int(kind): (values.tobytes(), count.tobytes())
                for kind, (values, count) in (*self._values.items(), *self._several.items())
            },
            (self._pairs[0].tobytes(), self._pairs[1].tobytes()),
            (self._country[0].tobytes(), self._country[1].tobytes()),
        )

    @classmethod
    def load(cls, stored: StoredPopulation) -> Population:
        """Put back what `dump` gave.

        Raises:
            ValueError: the bytes are not what `dump` gives.
        """
        found = {
            Kind(kind): (np.frombuffer(values, "<u4"), np.frombuffer(count, "<i8"))
            for kind, (values, count) in stored.values.items()
        }
        several = (Kind.ADDRESS, Kind.TEMPLATE)
        if set(found) != {*_KINDS, *several}:
            raise ValueError("other kinds")
        return cls(
            accounts=stored.accounts,
            capability=np.frombuffer(stored.capability, "<f8"),
            topic=np.frombuffer(stored.topic, "<f8"),
            _values={kind: found[kind] for kind in _KINDS},
            _several={kind: found[kind] for kind in several},
            _pairs=(np.frombuffer(stored.pairs[0], "<u8"), np.frombuffer(stored.pairs[1], "<f8")),
            _country=(np.frombuffer(stored.country[0], "<u4"), np.frombuffer(stored.country[1], "<f8")),
        )

    def share(self, kind: Kind, value: NDArray[np.uint32]) -> Floats:
        """Share of the population that shows each value; never below half an account."""
        found, count = self._several.get(kind) or self._values[kind]
        seen = _look_up(found, count, value, 0.0)
        return np.asarray(np.maximum(seen, 0.5) / max(self.accounts, 1))

    def shares(self, kind: Kind) -> dict[int, float]:
        """Each value of a kind, with its share of the accounts that show one."""
        values, count = self._values[kind]
        total = max(int(count.sum()), 1)
        return {value: number / total for value, number in zip(values.tolist(), count.tolist(), strict=True)}

    def language_surprise(self, rows: NDArray[np.void]) -> Floats:
        """Minus ln p(language | country) of each row; NaN where either is unknown or the country is new here."""
        country, language = (rows["values"][:, kind].copy() for kind in (Kind.COUNTRY, Kind.LANGUAGE))
        unseen = _look_up(*self._country, country, np.nan)
        seen = _look_up(*self._pairs, _pair(country, language), np.nan)
        surprise = np.where(np.isnan(seen), unseen, seen)
        return np.asarray(np.where((country != 0) & (language != 0), surprise, np.nan))


def capability_mix(capability: NDArray[np.float32]) -> Floats:
    """Each account's capability counts as shares; all zero where there are none."""
    counts = capability.T.astype(np.float64, order="C")  # NumPy works along long rows faster than along short ones
    total = counts.sum(axis=0)
    return np.asarray(np.divide(counts, total, out=np.zeros_like(counts), where=total > 0).T)


def _count(values: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    unique, count = np.unique(values[values != 0], return_counts=True)
    return unique, count


def _pair(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return np.asarray((first.astype(np.uint64) << np.uint64(32)) | second)


def _look_up(
    sorted_keys: NDArray[np.generic], values: NDArray[np.generic], wanted: NDArray[np.generic], default: float
) -> Floats:
    if not len(sorted_keys):
        return np.full(len(wanted), default)
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.asarray(np.where(sorted_keys[place] == wanted, values[place], default))
