"""River's half-space trees over the population of groups.

Features are squashed into [0, 1] by fixed limits, because the trees cut between fixed limits. A forest's state is the
mass of the last full window and of the one under way, so keeping those observations as plain data and learning them
again restores it exactly; nothing is pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from river import anomaly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_WINDOW = 250
_TREES = 10
_HEIGHT = 8
_SEED = 42

_LIMITS: Mapping[str, tuple[float, float]] = {
    "even_counts": (0.0, 3.0),
    "flat_day": (0.5, 1.0),
    "regular_gaps": (0.0, 3.0),
    "binding": (0.0, 4.0),
    "young_accounts": (0.0, 1.0),
    "sign_up_burst": (0.0, 1.0),
    "shared_template": (0.0, 1.0),
    "capability_focus": (0.0, 2.0),
}
_MISSING = 0.5


class GroupForest:
    """How rare a group is among groups. 0 until a window is full; then River's score, higher is rarer."""

    def __init__(self) -> None:
        self._trees = self._fresh()
        self._window: list[list[float]] = []
        self._before: list[list[float]] = []

    @property
    def ready(self) -> bool:
        """Whether one window has been learned in full."""
        return bool(self._before)

    def features(self, columns: Mapping[str, Floats], groups: Sequence[int]) -> list[list[float]]:
        """Squashed features of some groups; a statistic that is not ready stands in the middle."""
        index = np.asarray(groups, np.int64)
        table = [
            np.nan_to_num(np.clip((columns[name][index] - low) / (high - low), 0.0, 1.0), nan=_MISSING)
            for name, (low, high) in _LIMITS.items()
        ]
        listed: list[list[float]] = np.round(np.stack(table, axis=1), 4).tolist()
        return listed

    def score(self, features: Sequence[Sequence[float]]) -> Floats:
        """Scores of some groups; NaN until ready. About 20 microseconds a group."""
        if not self.ready:
            return np.full(len(features), np.nan)
        score = self._trees.score_one
        return np.array([score(dict(enumerate(vector))) for vector in features])  # type: ignore[no-untyped-call] # River's

    def learn(self, features: Sequence[Sequence[float]]) -> None:
        """Learn groups that are presumed honest."""
        for vector in features:
            self._trees.learn_one(dict(enumerate(vector)))  # type: ignore[no-untyped-call] # River's
            self._window.append(list(vector))
            if len(self._window) == _WINDOW:
                self._before, self._window = self._window, []

    def dump(self) -> list[list[float]]:
        """The observations that make up the state, oldest first."""
        return [*self._before, *self._window]

    def load(self, observations: Sequence[Sequence[float]]) -> None:
        """Learn the dumped observations again."""
        self._trees, self._window, self._before = self._fresh(), [], []
        self.learn(observations)

    @staticmethod
    def _fresh() -> anomaly.HalfSpaceTrees:
        return anomaly.HalfSpaceTrees(
            n_trees=_TREES,
            height=_HEIGHT,
            window_size=_WINDOW,
            limits=dict.fromkeys(range(len(_LIMITS)), (0.0, 1.0)),
            seed=_SEED,
        )
