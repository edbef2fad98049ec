"""Each live group's traffic against its own exponentially weighted past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FADING = 0.03
_GRACE = 12
_VARIANCE_FLOOR = 0.04


class OwnPast:
    """EW mean and variance of ln(1 + queries an hour) by fingerprint; River's recursion over arrays.

    Deviations are cut at three standard deviations before they are learned, and nothing is learned about a group
    while it is suspected.
    """

    def __init__(self) -> None:
        self._state: dict[int, tuple[float, float, int]] = {}

    def score(self, fingerprints: Iterable[int], per_hour: Floats) -> Floats:
        """Standard deviations above the own past; NaN before `_GRACE` observations."""
        old = [self._state.get(fingerprint, (0.0, 0.0, 0)) for fingerprint in fingerprints]
        if not old:
            return np.zeros(0)
        mean, var, count = (np.array(column) for column in zip(*old, strict=True))
        z = (np.log1p(per_hour) - mean) / np.sqrt(var + _VARIANCE_FLOOR)
        return np.where(count >= _GRACE, z, np.nan)

    def learn(self, fingerprints: Iterable[int], per_hour: Floats) -> None:
        """Fold the present in and forget the groups that are no longer alive."""
        kept: dict[int, tuple[float, float, int]] = {}
        for fingerprint, value in zip(fingerprints, np.log1p(per_hour).tolist(), strict=True):
            mean, var, count = self._state.get(fingerprint, (value, 0.0, 0))
            limit = 3.0 * (var + _VARIANCE_FLOOR) ** 0.5
            deviation = min(max(value - mean, -limit), limit)
            kept[fingerprint] = (
                mean + _FADING * deviation,
                (1.0 - _FADING) * (var + _FADING * deviation * deviation),
                count + 1,
            )
        self._state.update(kept)

    def forget(self, alive: set[int]) -> None:
        """Drop every group that is not in `alive`."""
        for fingerprint in self._state.keys() - alive:
            del self._state[fingerprint]

    def dump(self) -> dict[int, tuple[float, float, int]]:
        """Plain data."""
        return dict(self._state)

    def load(self, state: Mapping[int, tuple[float, float, int]]) -> None:
        """Put back what `dump` gave."""
        self._state = dict(state)
