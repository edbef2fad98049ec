"""What speaks for an honest group: one declared organisation, institutional mail and addresses.

Such terms only exonerate. They are the ones that an attacker must pay for: a corporate domain, one name for all. A
domain for each account is cheap, so corporate mail says less where no two members pay together or belong together.
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


# Of the share with corporate mail, where every member has a card and an organisation of its own: half of the excuse.
_STRANGERS_LOSE = 0.35


def institution(view: GroupView) -> Floats:
    """Share of members without corporate or education mail, nor behind a corporate or education network."""
    edu = np.nan_to_num(view.class_share(Kind.EMAIL_CLASS, "edu"))
    corporate = np.nan_to_num(view.class_share(Kind.EMAIL_CLASS, "corporate")) * (1.0 - _STRANGERS_LOSE * _apart(view))
    network = np.nan_to_num(view.class_share(Kind.ASN_CLASS, "corporate", "education"))
    return np.asarray(1.0 - np.maximum(edu + corporate, network))


def _apart(view: GroupView) -> Floats:
    """How far members are strangers: 1 where nobody's card or organisation is another's, 0 where cards are unknown."""
    card, org = view.top(Kind.PAYMENT), view.top(Kind.ORG)
    own_card = np.where(np.isnan(card.share), 0.0, card.distinct / np.maximum(card.known, 1))
    own_org = np.where(org.known > 0, org.distinct / np.maximum(org.known, 1), 1.0)
    return np.asarray(own_card * own_org)


def one_organisation(view: GroupView) -> Floats:
    """Share of members outside the group's largest organisation."""
    org = view.top(Kind.ORG)
    return np.asarray(1.0 - np.nan_to_num(org.share) * org.known / view.groups.size)


INSTITUTION = Signal(
    "institution",
    honest=0.6,
    attack=1.0,
    gain=0.0,
    loss=2.5,
    benign=0.1,
    text="only {observed:.0%} of the members have neither institutional mail nor an institutional network",
    measure=institution,
    adapts=False,
)
ONE_ORGANISATION = Signal(
    "one_organisation",
    honest=0.4,
    attack=1.0,
    gain=0.0,
    loss=2.0,
    benign=0.05,
    text="only {observed:.0%} of the members are outside one declared organisation",
    measure=one_organisation,
    adapts=False,
)
