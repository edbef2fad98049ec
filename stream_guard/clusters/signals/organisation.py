"""What speaks for an honest group: one declared organisation, institutional mail and addresses.

Such terms only exonerate. They are the ones that an attacker must pay for: a corporate domain, one name for all.
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


def institution(view: GroupView) -> Floats:
    """Share of members with corporate or education mail, or behind a corporate or education network."""
    mail = np.nan_to_num(view.class_share(Kind.EMAIL_CLASS, "corporate", "edu"))
    network = np.nan_to_num(view.class_share(Kind.ASN_CLASS, "corporate", "education"))
    return np.asarray(1.0 - np.maximum(mail, network))


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
