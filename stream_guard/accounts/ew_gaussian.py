"""The account's own past as a River estimator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from river.base import AnomalyDetector

from stream_guard.accounts.segments import Segments, ew_fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FLOOR = 1e-9


class EwGaussianTail(AnomalyDetector):
    """Surprise of a feature vector against its own exponentially weighted past.

    Keeps River's EWMean and EWVar of every feature and scores the root mean square of the standardised deviations,
    squashed to [0, 1) by `1 - exp(-z / 3)`. The table of accounts keeps the same recursion as columns and folds it
    with the same kernel (`ew_fold`).

    Parameters:
        fading_factor: weight of the newest value, as in `river.stats.EWMean`.
        grace_period: values a feature needs before it takes part; until then the score is 0 and `ready` False.

    Cost: O(features) a value; `learn_many` folds a whole batch in a few NumPy calls.

    >>> model = EwGaussianTail(fading_factor=0.1, grace_period=5)
    >>> for value in (1.0, 1.2, 0.9, 1.1, 1.0, 0.95):
    ...     model.learn_one({"rate": value})
    >>> model.score_one({"rate": 1.0}) < 0.3 < 0.9 < model.score_one({"rate": 9.0})
    True
    """

    def __init__(self, fading_factor: float = 0.05, grace_period: int = 20) -> None:
        self.fading_factor = fading_factor
        self.grace_period = grace_period
        self._state: dict[str, tuple[float, float, int]] = {}

    @property
    def ready(self) -> bool:
        """Whether at least one feature has passed its grace period."""
        return any(count >= self.grace_period for _, _, count in self._state.values())

    def learn_one(self, x: Mapping[Any, float]) -> None:
        """Fold one observation in; values that are not finite are passed over."""
        for name, value in x.items():
            if math.isfinite(value):
                self._fold(name, np.array([value], np.float64))

    def learn_many(self, columns: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> None:
        """Fold a batch in, column by column; the same state as `learn_one` over its rows in order."""
        for name, values in columns.items():
            array = np.asarray(values, np.float64)
            finite = array[np.isfinite(array)]
            if len(finite):
                self._fold(name, finite)

    def score_one(self, x: Mapping[Any, float]) -> float:
        """Surprise in [0, 1); changes nothing."""
        squares = [
            (value - mean) ** 2 / (var + _FLOOR + 1e-4 * mean * mean)
            for name, value in x.items()
            for mean, var, count in (self._state.get(name, (0.0, 0.0, 0)),)
            if count >= self.grace_period and math.isfinite(value)
        ]
        if not squares:
            return 0.0
        return 1.0 - math.exp(-math.sqrt(sum(squares) / len(squares)) / 3.0)

    def score_many(self, columns: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> NDArray[np.float64]:
        """Surprise of every row, without learning in between."""
        length = max((len(values) for values in columns.values()), default=0)
        total, used = np.zeros(length), np.zeros(length)
        for name, values in columns.items():
            mean, var, count = self._state.get(name, (0.0, 0.0, 0))
            if count < self.grace_period:
                continue
            array = np.asarray(values, np.float64)
            finite = np.isfinite(array)
            square = (np.where(finite, array, mean) - mean) ** 2 / (var + _FLOOR + 1e-4 * mean * mean)
            total += square
            used += finite
        z = np.sqrt(np.divide(total, used, out=np.zeros(length), where=used > 0))
        return np.asarray(1.0 - np.exp(-z / 3.0))

    def _fold(self, name: str, values: NDArray[np.float64]) -> None:
        mean, var, count = self._state.get(name, (0.0, 0.0, 0))
        segments = Segments.from_sorted(np.zeros(len(values), np.int64))
        new_mean, new_var = ew_fold(
            np.array([mean]), np.array([var]), np.array([count > 0]), segments, values, self.fading_factor
        )
        self._state[name] = (float(new_mean[0]), float(new_var[0]), count + len(values))
