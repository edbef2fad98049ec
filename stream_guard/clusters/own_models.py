"""Each live group's choice of model against its own past, less everyone else's move.

A campaign follows the capability that it copies: half of one moved to a new model within a day, another left a hardened
model for a weaker one. On a launch day everybody moves, so only the difference counts. A new model needs no calendar
here: it is a model that the group's past lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Past = dict[int, float]  # share of each model

_MEMORY_SECONDS = 172_800.0  # a move that takes a day must still be one against the past
_GRACE_SECONDS = 21_600.0
_MODELS = 32  # the most common ones; all others are one
_MIN_KNOWN = 10
_EVERYONE = -1  # no fingerprint is negative


class OwnModels:
    """Exponentially weighted model shares by fingerprint, and of everyone. Cost: O(models) a group."""

    def __init__(self) -> None:
        self._state: dict[int, tuple[float, float, Past]] = {}

    def score(
        self, fingerprints: Sequence[int], shares: Sequence[Past], known: Sequence[int], everyone: Past, now: float
    ) -> Floats:
        """By how much each group's choice moved beyond everyone's, then fold the present in.

        Args:
            fingerprints: of the groups.
            shares: of each group's members that use each model; see `model_shares`.
            known: members whose model is known.
            everyone: the same shares of the population.
            now: event time.

        Returns:
            Half the summed absolute difference of the two moves, in [0, 1], less one standard error of the group's
            shares; NaN for groups of fewer than ten known members, and in a group's first six hours.
        """
        moved = self._move(_EVERYONE, everyone, now)[1]
        found = np.full(len(fingerprints), np.nan)
        for index, (fingerprint, mine, count) in enumerate(zip(fingerprints, shares, known, strict=True)):
            if count < _MIN_KNOWN:
                continue
            age, move = self._move(fingerprint, mine, now)
            if age >= _GRACE_SECONDS:
                apart = sum(abs(move.get(model, 0.0) - moved.get(model, 0.0)) for model in move.keys() | moved.keys())
                error = sum((share * (1.0 - share) / count) ** 0.5 for share in mine.values())
                found[index] = max(0.5 * (apart - error), 0.0)
        return found

    def forget(self, alive: set[int]) -> None:
        """Drop every group that is not in `alive`."""
        for fingerprint in self._state.keys() - alive - {_EVERYONE}:
            del self._state[fingerprint]

    def dump(self) -> dict[int, tuple[float, float, Past]]:
        """Plain data: first seen, last seen, shares."""
        return dict(self._state)

    def load(self, state: Mapping[int, tuple[float, float, Past]]) -> None:
        """Put back what `dump` gave."""
        self._state = dict(state)

    def _move(self, fingerprint: int, shares: Past, now: float) -> tuple[float, Past]:
        """How long a group is known, and its shares less its past ones; the past takes the present in."""
        first, last, past = self._state.get(fingerprint, (now, now, shares))
        move = {model: shares.get(model, 0.0) - past.get(model, 0.0) for model in shares.keys() | past.keys()}
        weight = 1.0 - float(np.exp(-max(now - last, 0.0) / _MEMORY_SECONDS))
        kept = {model: round(past.get(model, 0.0) + weight * step, 6) for model, step in move.items()}
        self._state[fingerprint] = (first, now, {model: share for model, share in kept.items() if share > 0.0})
        return now - first, move


def model_shares(of: NDArray[np.int64], models: NDArray[np.uint32], groups: int) -> tuple[list[Past], list[int]]:
    """Shares of the models in each group, and how many members are known.

    Args:
        of: (members,) group of each member.
        models: (members,) model of each; 0 = unknown.
        groups: number of groups.
    """
    common = _common(models)
    place = np.searchsorted(common, models)
    place = np.where(common[np.minimum(place, len(common) - 1)] == models, place, len(common)) if len(common) else place
    width = len(common) + 1
    shown = models != 0
    table = np.bincount(of[shown] * width + place[shown], minlength=groups * width).reshape(groups, width)
    known = table.sum(axis=1)
    names = [*common.tolist(), 0]
    shares = table / np.maximum(known, 1)[:, None]
    return [_nonzero(names, row) for row in shares.tolist()], known.tolist()


def _common(models: NDArray[np.uint32]) -> NDArray[np.uint32]:
    values, count = np.unique(models[models != 0], return_counts=True)
    return np.sort(values[np.argsort(-count, kind="stable")[:_MODELS]])


def _nonzero(names: Iterable[int], shares: Iterable[float]) -> Past:
    return {name: share for name, share in zip(names, shares, strict=True) if share > 0.0}
