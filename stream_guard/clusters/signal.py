"""A signal: one statistic of a group, turned into log-odds, as a River estimator.

The ramp between what honest groups show and what campaigns show comes from the literature and the published reports;
where it starts follows the traffic: the twentieth of honest groups that look worst today is presumed honest, so a value
that is common here today says nothing here today. What is learned about honest groups is a decayed histogram over
fixed limits, so that no single outlier moves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from river.base import AnomalyDetector

from stream_guard.records import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_BINS = 64
_MEMORY = 20_000.0  # group observations after which the older half weighs half
_READY = 200.0  # observations before the population may move the ramp
_QUANTILE = 0.95
_MAX_SHIFT = 0.5  # of the ramp: whoever trains the population gains no more than this


class Signal(AnomalyDetector):
    """Log-odds of one statistic against honest groups.

    Parameters:
        name: name of the signal and of the feature that it reads.
        honest: value up to which a group is ordinary.
        attack: value from which the full `gain` is given; below `honest` when low values are suspicious.
        gain: largest contribution, natural log-odds.
        loss: largest exoneration, natural log-odds; reached at `benign`.
        benign: value at which a group is as innocent as it gets.
        text: sentence with `{observed}` and `{expected}`.
        adapts: whether the start of the ramp follows the traffic.
        own_kinds: kinds of groups that have the statistic by construction; they are scored but teach nothing.
        measure: computes the statistic for all groups of a view; NaN where it is not ready.

    Cost: O(1) a group; `learn_many` and `score_many` are a few NumPy calls for all groups.

    >>> signal = Signal("share_young", honest=0.2, attack=0.9, gain=1.5)
    >>> signal.score_one({"share_young": 0.1}), signal.score_one({"share_young": 0.95})
    (0.0, 1.5)
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a signal is a table of numbers, and River clones by parameter
        self,
        name: str = "value",
        honest: float = 0.0,
        attack: float = 1.0,
        gain: float = 1.0,
        loss: float = 0.0,
        benign: float = 0.0,
        text: str = "{observed:.3g} against {expected:.3g} elsewhere",
        measure: Callable[[GroupView], Floats] | None = None,
        adapts: bool = True,  # noqa: FBT001, FBT002 - River clones estimators from plain keyword parameters
        own_kinds: Collection[int] | None = None,
    ) -> None:
        self.name = name
        self.honest = honest
        self.attack = attack
        self.gain = gain
        self.loss = loss
        self.benign = benign
        self.text = text
        self.measure = measure
        self.adapts = adapts
        self.own_kinds = own_kinds
        self._histogram: list[float] = [0.0] * _BINS

    @property
    def seen(self) -> float:
        """Weight of the observations behind `start`."""
        return sum(self._histogram)

    @property
    def start(self) -> float:
        """Where the ramp begins today: `honest`, or further towards `attack` when honest groups are there."""
        total = self.seen
        if total < _READY or not self.adapts:
            return self.honest
        position = float(np.searchsorted(np.cumsum(self._histogram), _QUANTILE * total)) / _BINS
        return self.honest + min(position, _MAX_SHIFT) * (self.attack - self.honest)

    def learn_one(self, x: Mapping[Any, float]) -> None:
        """Learn one group that is presumed honest."""
        if self.name in x:
            self.learn_many(np.array([x[self.name]], np.float64))

    def learn_many(self, values: Floats) -> None:
        """Learn many groups that are presumed honest; NaN is passed over."""
        position = (values[np.isfinite(values)] - self.honest) / (self.attack - self.honest)
        slot = np.clip(np.ceil(position * _BINS), 0, _BINS - 1).astype(np.int64)
        counts: Floats = np.asarray(self._histogram) + np.bincount(slot, minlength=_BINS)
        while counts.sum() > 2.0 * _MEMORY:
            counts *= 0.5
        self._histogram = counts.tolist()

    def score_one(self, x: Mapping[Any, float]) -> float:
        """Contribution of one group; 0 when the feature is missing."""
        value = x.get(self.name, float("nan"))
        return float(self.score_many(np.array([value], np.float64))[0])

    def score_many(self, values: Floats) -> Floats:
        """Contribution of each value in [-loss, gain]; 0 where it is NaN (not ready)."""
        start, span = self.start, self.attack - self.honest
        power = max((self.attack - start) / span, 0.0)  # a ramp squeezed by honest groups loses its strength
        position = (values - start) / ((self.attack - start) if power > 1e-9 else span)
        up = self.gain * power * np.clip(position, 0.0, 1.0)
        if self.loss:
            up = up - self.loss * np.clip((self.honest - values) / (self.honest - self.benign), 0.0, 1.0)
        return np.asarray(np.where(np.isfinite(values), up, 0.0))

    def explain(self, contribution: float, observed: float, expected: float | None = None) -> Evidence:
        """The term as evidence with a sentence; `expected` is today's `start`, which many terms share."""
        expected = self.start if expected is None else expected
        return Evidence(
            self.name, contribution, observed, expected, self.text.format(observed=observed, expected=expected)
        )

    def dump(self) -> list[float]:
        """What was learned, as plain data."""
        return list(self._histogram)

    def load(self, histogram: Mapping[int, float] | list[float]) -> None:
        """Put back what `dump` gave; another length starts cold."""
        if isinstance(histogram, list) and len(histogram) == _BINS:
            self._histogram = [float(value) for value in histogram]
