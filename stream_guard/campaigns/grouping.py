"""Which suspicious groups belong together.

Two groups are joined when they share members, or when what they share otherwise is too rare to be chance: the sum over
independent families of fingerprints of ln(1 / share elsewhere). So a hundred cards with fifty accounts each become one
campaign when the same proxies, clients or templates are behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stream_guard.policy import Campaigns
    from stream_guard.records import Suspicion

_FAMILY: dict[int, str] = {
    Kind.PAYMENT: "billing",
    Kind.CREDIT: "billing",
    Kind.ADDRESS: "network",
    Kind.ASN: "network",
    Kind.COUNTRY: "network",
    Kind.ASN_CLASS: "network",
    Kind.TLS: "client",
    Kind.HEADER: "client",
    Kind.USER_AGENT: "client",
    Kind.CLIENT: "client",
    Kind.SYSTEM_PROMPT: "content",
    Kind.TEMPLATE: "content",
    Kind.COHORT: "registration",
    Kind.EMAIL_CLASS: "registration",
    Kind.PLAN: "registration",
    Kind.LANGUAGE: "use",
    Kind.MODEL: "use",
    Kind.ACCESS_PATH: "use",
    Kind.ORG: "organisation",
}
_MAX_FAMILY_LIFT = 3.0
_MIN_SHARED = 5


def family_of(kind: int) -> str:
    """Family of a kind: kinds of one family are not independent evidence."""
    return _FAMILY.get(kind, "other")


def group_suspicions(suspicions: Sequence[Suspicion], policy: Campaigns) -> list[list[int]]:
    """Partition the suspicions into campaigns-to-be; indices, each part ascending, parts by their first index.

    Cost: one product of the (suspicions x accounts) incidence with itself.
    """
    count = len(suspicions)
    if count < 2:
        return [[index] for index in range(count)]
    joined = _share_members(suspicions, policy.join_overlap) | (_common_lift(suspicions) >= policy.join_log_lift)
    label = np.arange(count)
    while True:  # spread the smallest label over each component
        spread = np.where(joined, label[None, :], count).min(axis=1)
        spread = np.minimum(spread, label)
        if (spread == label).all():
            break
        label = spread
    return [np.flatnonzero(label == first).tolist() for first in np.unique(label).tolist()]


def _share_members(suspicions: Sequence[Suspicion], overlap: float) -> NDArray[np.bool_]:
    size = np.array([len(suspicion.rows) for suspicion in suspicions])
    accounts = np.concatenate([suspicion.rows["account"] for suspicion in suspicions])
    unique, position = np.unique(accounts, return_inverse=True)
    incidence = np.zeros((len(suspicions), len(unique)), np.float32)
    incidence[np.repeat(np.arange(len(suspicions)), size), position] = 1.0
    shared = incidence @ incidence.T
    return np.asarray((shared >= _MIN_SHARED) & (shared >= overlap * np.minimum(size[:, None], size[None, :])))


def _common_lift(suspicions: Sequence[Suspicion]) -> NDArray[np.float64]:
    total = np.zeros((len(suspicions), len(suspicions)))
    columns: dict[tuple[int, int], int] = {}
    shown = [
        (row, columns.setdefault((kind, value), len(columns)), inside, elsewhere)
        for row, suspicion in enumerate(suspicions)
        for kind, value, inside, elsewhere in suspicion.anchors
    ]
    if not shown:
        return total
    rows, column, inside, elsewhere = (np.array(part) for part in zip(*shown, strict=True))
    share = np.zeros((len(suspicions), len(columns)))
    share[rows, column] = inside
    lift = np.zeros(len(columns))
    np.maximum.at(lift, column, -np.log(np.clip(elsewhere, 1e-6, 1.0)))
    kinds = np.array([kind for kind, _ in columns])
    families: dict[str, list[int]] = {}
    for kind in dict.fromkeys(kinds.tolist()):
        families.setdefault(family_of(kind), []).append(kind)
    for members in families.values():
        best = np.zeros_like(total)
        for kind in members:  # inside a family only the most telling kind counts
            mine = kinds == kind
            both = (share[:, mine] * np.minimum(lift[mine], _MAX_FAMILY_LIFT)) @ share[:, mine].T
            best = np.maximum(best, np.minimum(both, _MAX_FAMILY_LIFT))
        total += best
    np.fill_diagonal(total, 0.0)
    return total
