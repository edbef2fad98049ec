"""Groups of one kind that look alike, while their members have nothing of that kind in common.

One card with a dozen young accounts behind it is hardly worth a look. Thirty such cards whose accounts all come with
one rare client are one customer: each group alone stays below suspicion, and their number is the evidence. What counts
is the number beyond chance: in a large tenant some honest groups come close, with whatever client is common.
Not every group is judged at every evaluation, so how each stood when it was judged last counts, for a while.
Cost: O(groups log groups) beside the tables that other signals need anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_KINDS = (Kind.PAYMENT, Kind.COHORT, Kind.ADDRESS)  # an account is in few groups of these, so the groups are apart
_ANCHORS = (Kind.CLIENT, Kind.TEMPLATE)
_CLOSE_LOG_ODDS = -2.5  # a group from here on is close to suspicion, which begins at 0
_SHOWN, _ELSEWHERE = 0.8, 0.1
# An anchor is 0 where the members show none that is telling.
_CLOSE = np.dtype([("fingerprint", "<u8"), ("turn", "<i8"), ("anchor", "<u4", len(_ANCHORS))])


class AlikeGroups:
    """Which groups were close to suspicion when they were judged last, and how many of them stand alike.

    Args:
        turns: evaluations after which a group that was not judged again is forgotten.
    """

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._close = np.zeros(0, _CLOSE)

    def count(self, view: GroupView, total: Floats, turn: int) -> Floats:
        """How many other groups of the kind are close to suspicion and show the same client or template, beyond chance.

        Args:
            view: the groups that are judged now.
            total: (groups,) log-odds of each so far.
            turn: number of the evaluation.

        Returns:
            (groups,) the number, less the expected one if close groups chose clients like everyone; NaN for kinds whose
            groups overlap.
        """
        fitting = np.isin(view.kind, _KINDS)
        found = np.where(fitting, 0.0, np.nan)
        here = np.flatnonzero(fitting & (total >= _CLOSE_LOG_ODDS))
        judged_now = np.isin(self._close["fingerprint"], view.groups.fingerprint)
        kept = self._close[~judged_now & (turn - self._close["turn"] < self._turns)]
        close = np.zeros(len(here) + len(kept), _CLOSE)
        close[len(here) :] = kept
        close["fingerprint"][: len(here)], close["turn"][: len(here)] = view.groups.fingerprint[here], turn
        kind = (close["fingerprint"] >> np.uint64(32)).astype(np.int64)
        of_kind = np.bincount(kind, minlength=1)
        for place, anchor in enumerate(_ANCHORS):
            top = view.top(anchor)
            elsewhere = view.population.share(anchor, top.value)
            telling = (np.nan_to_num(top.share) >= _SHOWN) & (elsewhere <= _ELSEWHERE)
            shown = close["anchor"][:, place]
            shown[: len(here)] = np.where(telling, top.value, 0)[here]
            _, inverse, count = np.unique((kind << 32) | shown, return_inverse=True, return_counts=True)
            mine = here[telling[here]]
            others = count[inverse[: len(here)][telling[here]]] - 1.0 - of_kind[view.kind[mine]] * elsewhere[mine]
            found[mine] = np.maximum(found[mine], others)
        self._close = close
        return found

    def dump(self) -> list[tuple[int, int, int, int]]:
        """Fingerprint, turn, client and template of each close group, as plain data."""
        client, template = (self._close["anchor"][:, place].tolist() for place in range(len(_ANCHORS)))
        group, turn = self._close["fingerprint"].tolist(), self._close["turn"].tolist()
        return list(zip(group, turn, client, template, strict=True))

    def load(self, close: Sequence[tuple[int, int, int, int]]) -> None:
        """Put back what `dump` gave."""
        stored = [(group, turn, (client, template)) for group, turn, client, template in close]
        self._close = np.array(stored, _CLOSE)
