"""Accounts that are run, not used: counts too even, days too flat, gaps too regular.

People differ: queries per person are spread over orders of magnitude, so counts in an honest group have a squared
coefficient of variation well above 1. A scheduler that takes the least recently used account first makes them more
even than independent Poisson counts, and jitter of 30 % adds only 0.03. The Poisson part is taken out, so thin
accounts can be judged too (Cox and Lewis 1966, index of dispersion).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signal import Signal
from stream_guard.clusters.signals.binding import paid_together
from stream_guard.records import DAY_BINS, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_MIN_COUNT = 2.0  # mean queries a member: below, Poisson noise hides everything
_FULL_DAY_SECONDS = 20 * 3_600.0
_HONEST_FLATNESS = 0.94


def even_counts(view: GroupView) -> Floats:
    """Squared coefficient of variation of members' recent counts beyond Poisson, with a margin for small groups.

    Counts above three times the mean are cut there: a few heavy honest users must not hide a pool.
    """
    return view.once("even_counts", _even_counts)


def _even_counts(view: GroupView) -> Floats:
    count = view.per_day
    size = view.groups.size
    mean = view.total(count) / size
    cut = np.minimum(count, 3.0 * view.spread(mean))
    mean = view.total(cut) / size
    variance = view.total((cut - view.spread(mean)) ** 2) / np.maximum(size - 1, 1)
    # A decayed count of a Poisson stream in balance has half the variance of a plain count of the same mean.
    excess = (variance - 0.5 * mean) / np.maximum(mean, 1e-9) ** 2
    return np.where(mean >= _MIN_COUNT, excess + 2.0 / np.sqrt(size), np.nan)


def one_hand(view: GroupView) -> Floats:
    """`even_counts` where most members pay with cards that others use: one hand pays and one hand drives.

    Users of one scheduled tool can be as even, but they pay for themselves.
    """
    return np.where(paid_together(view), even_counts(view), np.nan)


def flat_day(view: GroupView) -> Floats:
    """Evenness of the group's day, 0 to 1, for groups of one country that were seen for most of a day.

    People of many countries make a flat day together; people of one country sleep. An uneven day says nothing while
    most members are new: one old bystander would make a pool of this morning look like people who slept.
    """
    shape = view.total(view.column("day_shape"))
    weight = shape.sum(axis=1)
    share = shape / np.maximum(weight, 1e-9)[:, None]
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1) / np.log(DAY_BINS)
    first = view.column("first_ts")
    longest, mean = view.now - view.least(first), view.now - view.total(first) / view.groups.size
    telling = (longest >= _FULL_DAY_SECONDS) & ((mean >= _FULL_DAY_SECONDS) | (entropy > _HONEST_FLATNESS))
    country = view.top(Kind.COUNTRY).share
    return np.where((weight >= 80) & telling & (country >= 0.7), entropy, np.nan)


def regular_gaps(view: GroupView) -> Floats:
    """Mean over members of the standard deviation of ln(gap). People: about 2; Poisson: 1.28; a timer: 0."""
    deviation = np.sqrt(np.maximum(view.column("gap_var").astype(np.float64), 0.0))
    return view.mean(np.where(view.column("evidence_events") >= 10, deviation, np.nan))


EVEN_COUNTS = Signal(
    "even_counts",
    honest=0.7,
    attack=0.15,
    gain=2.5,
    loss=1.5,
    benign=1.6,
    text="members are used too evenly: squared variation of their counts {observed:.2f}, "
    "{expected:.2f} or more among people",
    measure=even_counts,
)
ONE_HAND = Signal(
    "one_hand",
    honest=0.4,
    attack=0.15,
    gain=1.5,
    text="members that pay with each other's cards are used in lockstep, too: squared variation of their counts "
    "{observed:.2f}, {expected:.2f} or more elsewhere",
    measure=one_hand,
)
FLAT_DAY = Signal(
    "flat_day",
    honest=_HONEST_FLATNESS,
    attack=0.995,
    gain=1.0,
    loss=0.8,
    benign=0.7,
    text="one country, yet used round the clock: day flatness {observed:.2f}, up to {expected:.2f} elsewhere",
    measure=flat_day,
)
REGULAR_GAPS = Signal(
    "regular_gaps",
    honest=1.3,
    attack=0.5,
    gain=0.8,
    loss=0.5,
    benign=2.2,
    text="queries come like clockwork: spread of ln(gap) {observed:.2f}, {expected:.2f} or more among people",
    measure=regular_gaps,
)
