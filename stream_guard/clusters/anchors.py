"""What most members of a group have in common, beside the fingerprint that formed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signals.binding import FAMILIES
from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

_ANCHOR_SHARE = 0.5
_ANCHOR_KINDS = (
    *(kind for kinds in FAMILIES.values() for kind in kinds),
    Kind.CLIENT,
    Kind.COUNTRY,
    Kind.ASN_CLASS,
    Kind.PLAN,
    Kind.LANGUAGE,
    Kind.MODEL,
    Kind.ORG,
    Kind.ACCESS_PATH,
)


def anchors_of(view: GroupView, chosen: NDArray[np.int64]) -> list[tuple[tuple[int, int, float, float], ...]]:
    """What most members of each chosen group show: kind, value, share of the members, share elsewhere."""
    if not len(chosen):
        return []
    view = view.subset(np.isin(np.arange(len(view)), chosen))
    columns = []
    for anchor in _ANCHOR_KINDS:
        top = view.top(anchor)
        value = top.value
        share = top.share * top.known / view.groups.size
        elsewhere = view.population.share(anchor, value)
        columns.append((int(anchor), value.tolist(), share.tolist(), elsewhere.tolist()))
    return [
        tuple(
            (kind, value[place], share[place], elsewhere[place])
            for kind, value, share, elsewhere in columns
            if share[place] >= _ANCHOR_SHARE
        )
        for place in range(len(chosen))
    ]
