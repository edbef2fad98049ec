"""Which active accounts show the same fingerprint: groups as index arrays.

Fingerprints that everybody shows (country, plan, language) form no group of their own; pairs of a client with a
network, a country or a sign-up cohort do, so that a campaign behind a popular SDK is still a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEMBER_BITS, _MEMBER_MASK = np.uint64(27), np.uint64((1 << 27) - 1)  # 37 bits are left: kind and value
SAMPLE_MEMBERS = 1_024  # statistics of a larger group come from the members with the smallest hashes

_SINGLE = (
    Kind.PAYMENT,
    Kind.ASN,
    Kind.TLS,
    Kind.HEADER,
    Kind.USER_AGENT,
    Kind.CLIENT,
    Kind.SYSTEM_PROMPT,
    Kind.ORG,
    Kind.CREDIT,
    Kind.COHORT,
)
_PAIRS = (
    (Kind.CLIENT_ASN, Kind.CLIENT, Kind.ASN),
    (Kind.CLIENT_COUNTRY, Kind.CLIENT, Kind.COUNTRY),
    (Kind.CLIENT_COHORT, Kind.CLIENT, Kind.COHORT),
)
_SEVERAL = ((Kind.ADDRESS, "addresses"), (Kind.TEMPLATE, "templates"))


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups in compressed rows, ordered by fingerprint.

    Attributes:
        fingerprint: (groups,) kind in the upper, value in the lower 32 bits.
        size: (groups,) members.
        start: (groups,) where each group begins in `member`.
        member: indices into the rows, by ascending account hash inside a group.
    """

    fingerprint: NDArray[np.uint64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]
    member: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fingerprint)

    def sample(self) -> Groups:
        """The same groups with at most SAMPLE_MEMBERS members each: a uniform sample, the same in every process."""
        size = np.minimum(self.size, SAMPLE_MEMBERS)
        if (size == self.size).all():
            return self
        start = np.concatenate(([0], np.cumsum(size)[:-1]))
        inside = np.arange(int(size.sum())) - np.repeat(start, size)
        return Groups(self.fingerprint, size, start, self.member[np.repeat(self.start, size) + inside])

    def subset(self, chosen: NDArray[np.bool_]) -> Groups:
        """Some of the groups."""
        size = self.size[chosen]
        start = np.concatenate(([0], np.cumsum(size)[:-1])).astype(np.int64)
        return Groups(self.fingerprint[chosen], size, start, self.member[np.repeat(chosen, self.size)])

    def members(self, group: int) -> NDArray[np.int64]:
        """Members of one group."""
        return self.member[self.start[group] : self.start[group] + self.size[group]]


def kind_of(fingerprint: int) -> Kind:
    """Kind of a fingerprint."""
    return Kind(fingerprint >> 32)


def form_groups(
    rows: NDArray[np.void],
    min_members: int,
    partition: int,
    partitions: int,
    only: NDArray[np.uint64] | None = None,
) -> Groups:
    """Group rows by every fingerprint that belongs to this partition; O(n log n) in the number of (account, value).

    Args:
        rows: active rows, ascending by account hash.
        min_members: smaller groups are left out.
        partition: the fingerprints with `mix(fingerprint) % partitions == partition` are ours.
        partitions: number of clusters partitions.
        only: fingerprints to look for; None looks for all.
    """
    of_kind = rows["values"].T.copy()
    columns = [(kind, of_kind[kind]) for kind in _SINGLE]
    columns += [(pair, _combine(of_kind[first], of_kind[second])) for pair, first, second in _PAIRS]
    columns += [(kind, rows[name].ravel()) for kind, name in _SEVERAL]
    fingerprints, members = [], []
    for kind, values in columns:
        known = np.flatnonzero(values != 0)  # of a mask: NumPy finds what is not 0 in numbers several times slower
        fingerprints.append((np.uint64(kind) << np.uint64(32)) | values[known])
        members.append(known if len(values) == len(rows) else known // (len(values) // len(rows)))
    fingerprint = np.concatenate(fingerprints)
    member = np.concatenate(members)
    mixed = _mixed(fingerprint)
    if partitions > 1:
        ours = np.flatnonzero(_remainder(mixed, partitions) == np.uint64(partition))
        fingerprint, member, mixed = fingerprint[ours], member[ours], mixed[ours]
    # Most values that few accounts show go here, unsorted; more buckets than values only cost memory and time.
    bits = min(max(len(mixed).bit_length(), 8), 20)
    bucket = _bucket(mixed, bits)
    enough = np.bincount(bucket, minlength=1 << bits) >= min_members
    if only is not None:
        wanted = np.zeros(1 << bits, np.bool_)
        wanted[_bucket(_mixed(only), bits)] = True
        enough &= wanted
    keep = np.flatnonzero(enough[bucket])
    # Fingerprint and member in one number: sorting numbers is faster than sorting indices.
    packed = np.sort((fingerprint[keep] << _MEMBER_BITS) | member[keep].astype(np.uint64))
    fingerprint, member = packed >> _MEMBER_BITS, (packed & _MEMBER_MASK).astype(np.int64)
    start = np.flatnonzero(np.concatenate(([True], fingerprint[1:] != fingerprint[:-1]))) if len(packed) else member
    size = np.diff(np.append(start, len(fingerprint)))
    groups = Groups(fingerprint[start], size, start, member)
    chosen = size >= min_members
    return groups.subset(chosen if only is None else chosen & np.isin(groups.fingerprint, only))


def _mixed(fingerprint: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """31 bits of a multiplicative hash (Knuth, The Art of Computer Programming 3, 6.4)."""
    return np.asarray((fingerprint * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33))


def _bucket(mixed: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    return (mixed >> np.uint64(31 - bits)).astype(np.int64)


def owner_of(fingerprint: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """Clusters partition that judges each fingerprint."""
    return _remainder(_mixed(fingerprint), partitions).astype(np.int64)


def _remainder(numbers: NDArray[np.uint64], divisor: int) -> NDArray[np.uint64]:
    """`numbers % divisor`, faster: NumPy replaces a division by one number by a multiplication in `//`, not in `%`."""
    return np.asarray(numbers - numbers // np.uint64(divisor) * np.uint64(divisor))


def _combine(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """32-bit value of a pair; 0 where either is unknown."""
    mixed = (first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ (
        second.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    )
    value = np.maximum((mixed >> np.uint64(32)).astype(np.uint32), np.uint32(1))
    return np.where((first != 0) & (second != 0), value, np.uint32(0))
