"""What the signals look at: every group at once, through sums over members."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from stream_guard.clusters.groups import Groups
    from stream_guard.clusters.population import Population

    Floats = NDArray[np.float64]

DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0
_UPPER, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Top:
    """The most common value of one kind in each group.

    Attributes:
        value: (groups,) 0 where nobody shows one.
        share: (groups,) of the members that show any; NaN where fewer than half do.
        distinct: (groups,) different values.
        known: (groups,) members that show any.
    """

    value: NDArray[np.uint32]
    share: Floats
    distinct: NDArray[np.int64]
    known: NDArray[np.int64]


def how_many(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of each row's few flags are set; column by column, many times as fast as along the rows."""
    return np.asarray(sum(flags.T, np.zeros(len(flags), np.int64)))


class GroupView:
    """Groups, their members' rows and the population at time `now`. All results have one entry a group.

    A mean is NaN where fewer than half of the members, or fewer than five, have a value: not ready is not zero.
    """

    def __init__(
        self,
        rows: NDArray[np.void],
        groups: Groups,
        population: Population,
        now: float,
        classes: Mapping[str, NDArray[np.uint32]],
    ) -> None:
        self.all_rows = rows
        self.groups = groups
        self.population = population
        self.now = now
        self._classes = classes
        self._member = groups.member
        self._of = np.repeat(np.arange(len(groups)), groups.size)
        self._top: dict[Kind, Top] = {}
        self._columns: dict[str, NDArray[Any]] = {}
        self._once: dict[str, Floats] = {}

    def __len__(self) -> int:
        return len(self.groups)

    def subset(self, chosen: NDArray[np.bool_]) -> GroupView:
        """The same view of some of the groups; what is known about them is not counted again."""
        part = GroupView(self.all_rows, self.groups.subset(chosen), self.population, self.now, self._classes)
        part._top = {
            kind: Top(top.value[chosen], top.share[chosen], top.distinct[chosen], top.known[chosen])
            for kind, top in self._top.items()
        }
        return part

    def column(self, name: str) -> NDArray[Any]:
        """One field of the members' rows, group after group."""
        if name not in self._columns:
            self._columns[name] = np.ascontiguousarray(self.all_rows[name]).take(self._member, axis=0)
        return self._columns[name]

    def values(self, kind: Kind) -> NDArray[np.uint32]:
        """What the members showed last of one kind."""
        return np.asarray(self._of_kind[kind][self._member])

    @cached_property
    def _of_kind(self) -> NDArray[np.uint32]:
        """(kinds, accounts): rows are wide, and reading each once is faster than once a kind."""
        return self.all_rows["values"].T.copy()

    @cached_property
    def kind(self) -> NDArray[np.int64]:
        """Kind of fingerprint that formed each group."""
        return np.asarray(self.groups.fingerprint >> np.uint64(32), np.int64)

    @cached_property
    def per_day(self) -> Floats:
        """Members' queries in the last day or so, decayed to now."""
        return np.asarray(self.all_rows["rate_1d"] * np.exp(-(self.now - self.all_rows["last_ts"]) / DAY_SECONDS))[
            self._member
        ]

    @cached_property
    def per_hour(self) -> Floats:
        """Members' queries in the last hour or so, decayed to now."""
        return np.asarray(self.all_rows["rate_1h"] * np.exp(-(self.now - self.all_rows["last_ts"]) / HOUR_SECONDS))[
            self._member
        ]

    def once(self, name: str, measure: Callable[[GroupView], Floats]) -> Floats:
        """A statistic that several signals need, computed once."""
        if name not in self._once:
            self._once[name] = measure(self)
        return self._once[name]

    def spread(self, of_groups: NDArray[Any]) -> NDArray[Any]:
        """Give each member its group's value."""
        return np.asarray(of_groups[self._of])

    def total(self, of_members: NDArray[np.generic]) -> Floats:
        """Sum over the members of each group."""
        if not len(self.groups):
            return np.zeros((0, *of_members.shape[1:]))
        return np.asarray(np.add.reduceat(of_members, self.groups.start, axis=0, dtype=np.float64))

    def least(self, of_members: NDArray[np.generic]) -> Floats:
        """Minimum over the members of each group."""
        return np.asarray(np.minimum.reduceat(of_members, self.groups.start), np.float64)

    def mean(self, of_members: Floats) -> Floats:
        """Mean over the members that have a value."""
        missing = np.isnan(of_members)
        if missing.any():
            count, total = self.total(~missing), self.total(np.where(missing, 0.0, of_members))
        else:
            count, total = self.groups.size.astype(np.float64), self.total(of_members)
        enough = (count >= 5) & (count * 2 >= self.groups.size)
        return np.asarray(np.divide(total, count, out=np.full(len(self), np.nan), where=enough))

    def class_share(self, kind: Kind, *names: str) -> Floats:
        """Share of members whose value of `kind` is one of the named classes, among those that show one."""
        values = self.values(kind)
        wanted = [self._classes[name] for name in names if name in self._classes]
        hit = np.isin(values, np.concatenate(wanted)) if wanted else np.zeros(len(values), np.bool_)
        return self.mean(np.where(values != 0, hit.astype(np.float64), np.nan))

    def population_class_share(self, kind: Kind, *names: str) -> float:
        """The same share among everyone."""
        wanted = [self._classes[name] for name in names if name in self._classes]
        return float(self.population.share(kind, np.concatenate(wanted)).sum()) if wanted else 0.0

    def top(self, kind: Kind) -> Top:
        """Most common value of a kind; templates and addresses count once a member."""
        if kind not in self._top:
            column = {Kind.TEMPLATE: "templates", Kind.ADDRESS: "addresses"}.get(kind)
            self._top[kind] = self.top_of(self.column(column) if column else self.values(kind))
        return self._top[kind]

    def top_of(self, values: NDArray[np.uint32]) -> Top:
        """Most common of the members' values, (members,) or (members, several); O(n log n)."""
        groups = len(self.groups)
        shown = values != 0
        known = self.total(shown if shown.ndim == 1 else how_many(shown) > 0).astype(np.int64)
        pair, owner, count = self.counted(values)
        most, value = np.zeros(groups), np.zeros(groups, np.uint32)
        distinct = np.zeros(groups, np.int64)
        if len(pair):
            first = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
            best = np.maximum.reduceat((count.astype(np.uint64) << _UPPER) | (pair & _LOWER), first)  # ties: the larger
            most[owner[first]] = best >> _UPPER
            value[owner[first]] = best & _LOWER
            distinct[owner[first]] = np.diff(np.append(first, len(pair)))
        enough = (known * 2 >= self.groups.size) & (known > 0)
        share = np.divide(most, known, out=np.full(groups, np.nan), where=enough)
        return Top(value, share, distinct, known)

    def keyed(self, values: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """Members' values, (members,) or (members, several), each below its group's number: group << 32 | value."""
        return np.asarray((self._keys if values.ndim == 1 else self._keys[:, None]) | values)

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        """(members,) number of the group, in the upper 32 bits."""
        return np.asarray(self._of.astype(np.uint64) << _UPPER)

    def counted(self, values: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """What members show as `keyed`, ascending, each once; its group; how often it is shown. 0 is no value."""
        shown = np.flatnonzero(values != 0)
        member = shown if values.ndim == 1 else shown // values.shape[1]
        pair = self._keys[member] | values.ravel()[shown]
        pair.sort()  # vectorised, and faster than the stable sort though the groups already stand in order
        start = np.flatnonzero(np.concatenate(([len(pair) > 0], pair[1:] != pair[:-1])))
        count = np.diff(np.append(start, len(pair)))
        pair = pair[start]
        return pair, (pair >> _UPPER).astype(np.int64), count
