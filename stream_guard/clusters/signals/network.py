"""Where the queries come from, against who they say they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signal import Signal
from stream_guard.records import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]


def datacentre_exits(view: GroupView) -> Floats:
    """Share of members behind a datacentre address."""
    return view.class_share(Kind.ASN_CLASS, "datacenter", "datacentre", "hosting")


def language_mismatch(view: GroupView) -> Floats:
    """How much less usual the members' languages are for their country than elsewhere, in nats."""
    everyone = view.population.language_surprise(view.all_rows)
    known = everyone[~np.isnan(everyone)]
    usual = float(known.mean()) if len(known) else 0.0
    return view.mean(everyone[view.groups.member]) - usual


DATACENTRE_EXITS = Signal(
    "datacentre_exits",
    honest=0.4,
    attack=0.95,
    gain=0.7,
    loss=0.1,
    benign=0.0,
    text="{observed:.0%} of the members come from datacentre addresses, at most {expected:.0%} in ordinary groups",
    measure=datacentre_exits,
)
LANGUAGE_MISMATCH = Signal(
    "language_mismatch",
    honest=0.4,
    attack=1.8,
    gain=1.2,
    loss=0.2,
    benign=-0.5,
    text="languages do not fit the countries: {observed:.2f} nats above usual, "
    "at most {expected:.2f} in ordinary groups",
    measure=language_mismatch,
)
