"""Arithmetic over runs of equal accounts in a sorted batch.

A batch is sorted by account; the events of one account are a *segment*. Every recursion that an account keeps is
linear, so a whole segment is folded in closed form and the result does not depend on who else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the segments of a sorted batch lie.

    Attributes:
        start: index of the first event of each segment.
        length: events in each segment.
        of: for each event the number of its segment.
        after: for each event how many events of its segment follow it.
    """

    start: Ints
    length: Ints
    of: Ints
    after: Ints

    @classmethod
    def from_sorted(cls, ids: NDArray[np.int64]) -> Segments:
        """Find the runs of equal values in `ids`; O(n)."""
        count = len(ids)
        if not count:
            empty = np.zeros(0, np.int64)
            return cls(empty, empty, empty, empty)
        start = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
        length = np.diff(np.append(start, count))
        of = np.repeat(np.arange(len(start)), length)
        after = np.repeat(start + length, length) - np.arange(count) - 1
        return cls(start, length, of, after)

    def sum(self, values: NDArray[np.generic]) -> Floats:
        """Sum of each segment, in float64; works on the first axis."""
        if not len(self.start):
            return np.zeros((0, *values.shape[1:]))
        return np.asarray(np.add.reduceat(values, self.start, axis=0, dtype=np.float64))


def ew_fold(  # noqa: PLR0913, PLR0917 - a kernel over columns; each column is an argument
    mean: Floats, var: Floats, seen: NDArray[np.bool_], segments: Segments, values: Floats, fading_factor: float
) -> tuple[Floats, Floats]:
    """Fold each segment's values into exponentially weighted means and variances.

    Gives what River's `stats.EWMean` and `stats.EWVar` give after the same values one by one: the first value
    initialises the mean, then `m = a * x + (1 - a) * m`, and the variance is `EW(x ** 2) - EW(x) ** 2`. Sums run over
    deviations from the old mean, so that large means do not cancel.

    Args:
        mean: (segments,) old means.
        var: (segments,) old variances.
        seen: (segments,) whether any value came before.
        segments: where the events lie; `values` has one value an event, without gaps.
        values: (n,) new values.
        fading_factor: weight of the newest value, River's `fading_factor`.

    Returns:
        New means and variances.
    """
    base = np.where(seen, mean, values[segments.start])
    deviation = values - base[segments.of]
    weight = fading_factor * (1.0 - fading_factor) ** segments.after
    keep = (1.0 - fading_factor) ** segments.length
    first = segments.sum(weight * deviation)
    second = segments.sum(weight * deviation * deviation) + keep * np.where(seen, var, 0.0)
    return base + first, np.maximum(second - first * first, 0.0)
