"""Pools that are resold to unrelated customers: bound together by money and machines, but used for everything.

A reseller shares cards and clients over accounts of many customers, and what they ask looks like what everyone asks.
Such a group is reported so that people can see it; it is never acted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MIN_MEMBERS = 20
_MIN_BILLING_REUSE = 0.6
_MIN_BINDING = 2.0
_MAX_SHARED_TEMPLATE = 0.2
_MAX_FOCUS = 0.5
_MIN_OTHER_ORGANISATIONS = 0.6
_MIN_PRIVATE = 0.1  # with institutional mail almost throughout it is one institution's own pool


def looks_resold(columns: Mapping[str, Floats], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which groups have the shape of a resold pool; a statistic that is not ready says no."""
    return np.asarray(
        (size >= _MIN_MEMBERS)
        & (columns["billing_reuse"] >= _MIN_BILLING_REUSE)
        & (columns["binding"] >= _MIN_BINDING)
        & (columns["one_organisation"] >= _MIN_OTHER_ORGANISATIONS)
        & (columns["institution"] >= _MIN_PRIVATE)
        & (columns["shared_template"] <= _MAX_SHARED_TEMPLATE)
        & (columns["capability_focus"] <= _MAX_FOCUS)
    )
