"""Exact intervals for a handful of seeds; nothing here assumes a normal distribution or draws at random.

* Rates: Clopper and Pearson (Biometrika 26, 1934), from the binomial distribution itself.
* Medians: the distribution-free interval between two order statistics (Thompson, Annals of Mathematical Statistics 7,
  1936). Five values cannot give 95 %: their whole range holds the median with 93.75 %, and the interval says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.95
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval around it, with the confidence that the interval really has."""

    estimate: float
    low: float
    high: float
    confidence: float


def rate_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Clopper-Pearson interval of a rate; O(min(hits, trials - hits)) a halving.

    Args:
        hits: how often it happened.
        trials: how often it could have; at least one.
        confidence: of the interval; it holds the rate at least this often.

    >>> found = rate_interval(5, 5)
    >>> round(found.low, 3), found.high
    (0.478, 1.0)
    """
    tail = (1.0 - confidence) / 2
    low = 0.0 if hits == 0 else 1.0 - _rate_where(trials - hits, trials, tail)
    high = 1.0 if hits == trials else _rate_where(hits, trials, tail)
    return Interval(hits / trials, low, high, confidence)


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Interval of the median between two order statistics, the narrowest with the confidence where there is one.

    Args:
        values: independent observations; at least one.
        confidence: that is wanted; the whole range is given where the values are too few for it.

    >>> median_interval([4.0, 1.0, 2.0, 5.0, 3.0])
    Interval(estimate=3.0, low=1.0, high=5.0, confidence=0.9375)
    """
    ordered = sorted(values)
    count = len(ordered)
    outside, reached = 0, 1.0 - 2.0 * 0.5**count
    below = 0.5**count  # chance that no more than `outside` values lie below the median
    while 2 * (outside + 1) < count:
        below += math.comb(count, outside + 1) * 0.5**count
        if 1.0 - 2.0 * below < confidence:
            break
        outside, reached = outside + 1, 1.0 - 2.0 * below
    return Interval(float(median(ordered)), ordered[outside], ordered[count - 1 - outside], max(reached, 0.0))


def _rate_where(hits: int, trials: int, tail: float) -> float:
    """The rate at which `hits` or fewer of `trials` have the chance `tail`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(hits, trials, middle) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(hits: int, trials: int, rate: float) -> float:
    """Chance of `hits` or fewer."""
    if 2 * hits > trials:
        return 1.0 - _at_most(trials - hits - 1, trials, 1.0 - rate) if hits < trials else 1.0
    term = trials * math.log1p(-rate)
    odds = math.log(rate) - math.log1p(-rate)
    total = 0.0
    for number in range(hits + 1):
        total += math.exp(term)
        term += math.log((trials - number) / (number + 1)) + odds if number < trials else 0.0
    return min(total, 1.0)
