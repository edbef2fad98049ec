"""Each live group's choice of model against its own past, less everyone else's move.

A campaign follows the capability that it copies: half of one moved to a new model within a day, another left a hardened
model for a weaker one. On a launch day everybody moves, so only the difference counts. A new model needs no calendar
here: it is a model that the group's past lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MEMORY_SECONDS = 172_800.0  # a move that takes a day must still be one against the past
_GRACE_SECONDS = 21_600.0
_MODELS = 16  # told apart; whatever comes later is one
_MIN_KNOWN = 10
_EVERYONE = 0  # kind 0, value 0: no group has this fingerprint


class StoredModels(msgspec.Struct, array_like=True):
    """Plain data: the models by column, the groups by row; arrays as little-endian bytes."""

    models: list[int] = []
    groups: list[int] = []
    first: bytes = b""
    last: bytes = b""
    past: bytes = b""


class Choice(NamedTuple):
    """What the members of some groups use.

    Attributes:
        shares: (groups, models + 1) of the members whose model is known; the last column is all other models.
        known: (groups,) such members.
    """

    shares: Floats
    known: NDArray[np.int64]


class OwnModels:
    """Exponentially weighted model shares by fingerprint, and of everyone. Cost: O(models) a group, in NumPy."""

    def __init__(self) -> None:
        self._models: list[int] = []
        self._row: dict[int, int] = {}
        self._first: Floats = np.zeros(0)
        self._last: Floats = np.zeros(0)
        self._past: NDArray[np.float32] = np.zeros((0, _MODELS + 1), np.float32)

    def choice(self, of: NDArray[np.int64], models: NDArray[np.uint32], groups: int) -> Choice:
        """Count who uses what.

        Args:
            of: (members,) group of each member.
            models: (members,) model of each; 0 = unknown.
            groups: number of groups.
        """
        values, place = np.unique(models, return_inverse=True)
        self._meet(values[values != 0].tolist())
        column = {model: number for number, model in enumerate(self._models)}
        columns = np.array([column.get(value, _MODELS) for value in values.tolist()], np.int64)
        shown = models != 0
        slot = of[shown] * (_MODELS + 1) + columns[place[shown]]
        table = np.bincount(slot, minlength=groups * (_MODELS + 1)).reshape(groups, _MODELS + 1)
        known = table.sum(axis=1)
        return Choice(table / np.maximum(known, 1)[:, None], known)

    def score(self, fingerprints: Sequence[int], choice: Choice, everyone: Mapping[int, float], now: float) -> Floats:
        """By how much each group's choice moved beyond everyone's; then the past takes the present in.

        Args:
            fingerprints: of the groups.
            choice: what their members use.
            everyone: share of each model in the population.
            now: event time.

        Returns:
            Half the summed absolute difference of the two moves, in [0, 1], less one standard error of the group's
            shares; NaN for groups of fewer than ten known members, and in a group's first six hours.
        """
        self._meet(everyone)
        all_shares = np.zeros((1, _MODELS + 1))
        for model, share in everyone.items():
            all_shares[0, self._models.index(model) if model in self._models else _MODELS] += share
        enough = np.flatnonzero(choice.known >= _MIN_KNOWN)
        shares = choice.shares[enough]
        found = np.full(len(fingerprints), np.nan)
        moved = self._move([_EVERYONE], all_shares, now)[1]
        age, move = self._move([fingerprints[index] for index in enough.tolist()], shares, now)
        error = np.sqrt(shares * (1.0 - shares) / choice.known[enough][:, None]).sum(axis=1)
        apart = 0.5 * (np.abs(move - moved).sum(axis=1) - error)
        found[enough] = np.where(age >= _GRACE_SECONDS, np.maximum(apart, 0.0), np.nan)
        return found

    def forget(self, alive: set[int]) -> None:
        """Drop every group that is not in `alive`."""
        kept = [group for group in self._row if group in alive or group == _EVERYONE]
        rows = [self._row[group] for group in kept]
        self._row = {group: number for number, group in enumerate(kept)}
        self._first, self._last, self._past = self._first[rows], self._last[rows], self._past[rows]

    def dump(self) -> StoredModels:
        """Plain data."""
        return StoredModels(
            list(self._models),
            list(self._row),
            self._first.tobytes(),
            self._last.tobytes(),
            self._past.tobytes(),
        )

    def load(self, state: StoredModels) -> None:
        """Put back what `dump` gave.

        Raises:
            ValueError: the bytes are not what `dump` gives.
        """
        first, last = np.frombuffer(state.first, "<f8"), np.frombuffer(state.last, "<f8")
        past = np.frombuffer(state.past, "<f4").reshape(-1, _MODELS + 1)
        if not len(state.groups) == len(first) == len(last) == len(past) or len(state.models) > _MODELS:
            raise ValueError("own models: parts of different lengths")
        self._models = list(state.models)
        self._row = {group: number for number, group in enumerate(state.groups)}
        self._first, self._last, self._past = first.copy(), last.copy(), past.copy()

    def _meet(self, models: Collection[int]) -> None:
        """Give new models a column each while there are any left."""
        for model in sorted(set(models) - set(self._models)):
            if len(self._models) < _MODELS:
                self._models.append(model)

    def _move(self, groups: list[int], shares: Floats, now: float) -> tuple[Floats, Floats]:
        """How long each group is known, and its shares less its past ones; the past takes the present in."""
        new = [index for index, group in enumerate(groups) if group not in self._row]
        if new:
            start = len(self._row)
            self._row |= {groups[index]: start + number for number, index in enumerate(new)}
            self._first = np.append(self._first, np.full(len(new), now))
            self._last = np.append(self._last, np.full(len(new), now))
            self._past = np.concatenate((self._past, shares[new].astype(np.float32)))
        rows = np.array([self._row[group] for group in groups], np.int64)
        move = shares - self._past[rows]
        weight = 1.0 - np.exp(-np.maximum(now - self._last[rows], 0.0) / _MEMORY_SECONDS)
        self._past[rows] += (weight[:, None] * move).astype(np.float32)
        self._last[rows] = now
        return now - self._first[rows], move
