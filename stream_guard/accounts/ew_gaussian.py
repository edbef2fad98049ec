"""The account's own past as a River estimator."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from river.base import AnomalyDetector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FLOOR = 1e-9


@lru_cache
def _weights(fading_factor: float, length: int) -> NDArray[np.float64]:
    """What each of so many values weighs, oldest first."""
    return np.asarray(fading_factor * (1.0 - fading_factor) ** np.arange(length - 1, -1, -1))


class EwGaussianTail(AnomalyDetector):
    """Surprise of a feature vector against its own exponentially weighted past.

    Keeps River's EWMean and EWVar of every feature and scores the root mean square of the standardised deviations,
    squashed to [0, 1) by `1 - exp(-z / 3)`. The table of accounts keeps the same recursion as columns (`ew_fold`).

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
        known = {name: value for name, value in x.items() if math.isfinite(value)}
        self._fold(tuple(known), np.array(list(known.values()), np.float64)[:, None])

    def learn_many(self, columns: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> None:
        """Fold a batch in, column by column; the same state as `learn_one` over its rows in order."""
        arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
        if len({len(array) for array in arrays.values()}) == 1:
            table = np.stack(list(arrays.values()))
            if math.isfinite(table.sum()):  # then every value is
                self._fold(tuple(arrays), table)
                return
        for name, array in arrays.items():
            self._fold((name,), array[np.isfinite(array)][None, :])

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

    def _fold(self, names: Sequence[Any], table: NDArray[np.float64]) -> None:
        """Fold (features, values) in, as `ew_fold` does for accounts: sums run over deviations from the old means."""
        if not table.size:
            return
        states = [self._state.get(name, (0.0, 0.0, 0)) for name in names]
        mean, var, count = np.array(states).T
        base = np.where(count > 0, mean, table[:, 0])
        deviation = table - base[:, None]
        length = table.shape[1]
        weight = _weights(self.fading_factor, length)
        first = deviation @ weight
        np.square(deviation, out=deviation)
        second = deviation @ weight + (1.0 - self.fading_factor) ** length * var
        new_mean, new_var = (base + first).tolist(), np.maximum(second - first * first, 0.0).tolist()
        for name, one, other, (_, _, seen) in zip(names, new_mean, new_var, states, strict=True):
            self._state[name] = (one, other, seen + length)
