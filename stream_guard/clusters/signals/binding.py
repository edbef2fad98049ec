"""What ties the members together beyond the fingerprint that formed the group.

Popular values weigh little: a value shared by the group and by everyone says nothing. Kinds that go together by nature
(TLS and header set, address and network) form one family and count once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signal import Signal
from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

FAMILIES: dict[str, tuple[Kind, ...]] = {
    "billing": (Kind.PAYMENT, Kind.CREDIT),
    "network": (Kind.ADDRESS, Kind.ASN),
    "client": (Kind.TLS, Kind.HEADER, Kind.USER_AGENT),
    "content": (Kind.SYSTEM_PROMPT, Kind.TEMPLATE),
    "registration": (Kind.COHORT, Kind.EMAIL_CLASS),
}
_PAID_TOGETHER = 0.5  # share of the members whose card is another's, too
_FULL_LIFT = 4.0  # nats: a value that everyone in the group and one account in 55 elsewhere shows


def lift(view: GroupView, kind: Kind) -> Floats:
    """Share of the group that shows its top value, times ln(share in the group / share elsewhere); at least 0."""
    top = view.top(kind)
    elsewhere = view.population.share(kind, top.value)
    share = np.nan_to_num(top.share)
    ratio = np.log(np.maximum(share, 1e-9) / np.minimum(elsewhere, 1.0))
    return np.asarray(np.clip(share * ratio, 0.0, _FULL_LIFT))


def binding(view: GroupView) -> Floats:
    """How many families of fingerprints the members share beyond chance; each counts from 0 to 1."""
    families = [np.max([lift(view, kind) for kind in kinds], axis=0) / _FULL_LIFT for kinds in FAMILIES.values()]
    return np.asarray(np.sum(families, axis=0))


def billing_reuse(view: GroupView) -> Floats:
    """Share of members whose payment instrument another member uses, unless they are one organisation."""
    payment = view.top(Kind.PAYMENT)
    reused = 1.0 - payment.distinct / np.maximum(payment.known, 1)
    one_org = np.nan_to_num(view.top(Kind.ORG).share) * view.top(Kind.ORG).known / view.groups.size
    return np.where(np.isnan(payment.share), np.nan, reused * (1.0 - one_org))


def paid_together(view: GroupView) -> NDArray[np.bool_]:
    """Where at least half of the members pay with cards that others use: one hand pays."""
    return np.asarray(billing_reuse(view) >= _PAID_TOGETHER)


BINDING = Signal(
    "binding",
    honest=1.2,
    attack=3.0,
    gain=2.5,
    loss=0.8,
    benign=0.3,
    text="members share {observed:.1f} independent kinds of fingerprint beyond chance, up to {expected:.1f} elsewhere",
    measure=binding,
)
BILLING_REUSE = Signal(
    "billing_reuse",
    honest=0.15,
    attack=0.8,
    gain=2.0,
    loss=0.5,
    benign=0.0,
    text="{observed:.0%} of the members pay with a card that other members use, at most {expected:.0%} elsewhere",
    measure=billing_reuse,
    own_kinds=frozenset({Kind.PAYMENT}),
)
