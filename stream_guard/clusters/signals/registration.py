"""How the accounts came to be and how they are used at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signal import Signal
from stream_guard.clusters.view import DAY_SECONDS
from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_YOUNG_SECONDS = 30 * DAY_SECONDS
_BURST_SECONDS = 4 * DAY_SECONDS
_COHORTS = (Kind.COHORT, Kind.CLIENT_COHORT)


def young_accounts(view: GroupView) -> Floats:
    """Share of members that signed up in the last 30 days; unknown sign-ups stay out."""
    created = view.column("created_at")
    return view.mean(np.where(np.isnan(created), np.nan, (view.now - created < _YOUNG_SECONDS).astype(np.float64)))


def sign_up_burst(view: GroupView) -> Floats:
    """Share of members that signed up inside the fullest four days, of two interleaved grids.

    Says nothing about a group that was formed by the time of sign-up.
    """
    created = view.column("created_at") / _BURST_SECONDS
    known = ~np.isnan(created)
    shares = []
    for offset in (0.0, 0.5):
        bucket = np.zeros(len(created), np.uint32)
        bucket[known] = np.floor(created[known] + offset)
        shares.append(view.top_of(bucket).share)
    return np.where(np.isin(view.kind, _COHORTS), np.nan, np.maximum(*shares))


def disposable_mail(view: GroupView) -> Floats:
    """Share of members with a throwaway mail address."""
    return view.class_share(Kind.EMAIL_CLASS, "disposable")


def quota_use(view: GroupView) -> Floats:
    """Share of members that use at least 70 % of what their plan entitles them to."""
    quota = view.column("quota").astype(np.float64)
    return view.mean(np.where(quota > 0, (view.per_day >= 0.7 * quota).astype(np.float64), np.nan))


YOUNG_ACCOUNTS = Signal(
    "young_accounts",
    honest=0.3,
    attack=0.9,
    gain=1.5,
    loss=1.2,
    benign=0.02,
    text="{observed:.0%} of the members signed up in the last 30 days, at most {expected:.0%} in ordinary groups",
    measure=young_accounts,
    own_kinds=frozenset(_COHORTS),
)
SIGN_UP_BURST = Signal(
    "sign_up_burst",
    honest=0.2,
    attack=0.8,
    gain=1.5,
    loss=0.4,
    benign=0.05,
    text="{observed:.0%} of the members signed up within four days, at most {expected:.0%} in ordinary groups",
    measure=sign_up_burst,
)
DISPOSABLE_MAIL = Signal(
    "disposable_mail",
    honest=0.1,
    attack=0.6,
    gain=1.5,
    loss=0.2,
    benign=0.0,
    text="{observed:.0%} of the members use throwaway mail, at most {expected:.0%} in ordinary groups",
    measure=disposable_mail,
)
QUOTA_USE = Signal(
    "quota_use",
    honest=0.1,
    attack=0.7,
    gain=1.2,
    loss=0.0,
    benign=0.0,
    text="{observed:.0%} of the members use their plan to the limit, at most {expected:.0%} in ordinary groups",
    measure=quota_use,
)
