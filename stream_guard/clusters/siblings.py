"""Groups of one kind that look alike, while their members have nothing of that kind in common.

One card with a dozen young accounts behind it is hardly worth a look. Thirty such cards whose accounts all come with
one rare client are one customer: each group alone stays below suspicion, and their number is the evidence. What counts
is the number beyond chance: in a large tenant some honest groups come close, with whatever client is common.
Cost: O(groups log groups) beside the tables that other signals need anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_KINDS = (Kind.PAYMENT, Kind.COHORT, Kind.ADDRESS)  # an account is in few groups of these, so the groups are apart
_ANCHORS = (Kind.CLIENT, Kind.TEMPLATE)
_CLOSE_LOG_ODDS = -2.5  # a group from here on is close to suspicion, which begins at 0
_SHOWN, _ELSEWHERE = 0.8, 0.1


def alike_groups(view: GroupView, total: Floats) -> Floats:
    """How many other groups of the kind are close to suspicion and show the same client or template, beyond chance.

    Args:
        view: the groups.
        total: (groups,) log-odds of each so far.

    Returns:
        (groups,) the number, less the expected one if close groups chose clients like everyone; NaN for kinds whose
        groups overlap.
    """
    fitting = np.isin(view.kind, _KINDS)
    found = np.where(fitting, 0.0, np.nan)
    close = fitting & (total >= _CLOSE_LOG_ODDS)
    if close.sum() < 2:
        return found
    of_kind = np.bincount(view.kind[close], minlength=int(view.kind.max()) + 1)[view.kind]
    for anchor in _ANCHORS:
        top = view.top(anchor)
        elsewhere = view.population.share(anchor, top.value)
        mine = close & (np.nan_to_num(top.share) >= _SHOWN) & (elsewhere <= _ELSEWHERE)
        key = (view.kind[mine] << 32) | top.value[mine]
        _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
        others = count[inverse] - 1.0 - of_kind[mine] * elsewhere[mine]
        found[mine] = np.maximum(found[mine], others)
    return found
