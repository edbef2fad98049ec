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

_MIN_MEMBERS = 20  # fewer are not worth a report
_MIN_BILLING_REUSE = 0.6
_MIN_BINDING = 2.0
_MAX_SHARED_TEMPLATE = 0.2
_MAX_FOCUS = 0.5
_MIN_OTHER_ORGANISATIONS = 0.6
_MAX_OWN_TEMPLATE = 0.08  # customers of their own have templates, but not the same
_MAX_DISCREPANCY = 0.6  # of what is asked; three of four ordinary groups are below
_MAX_PURPOSE = 1.0  # log-odds
_PURPOSE = (
    "shared_template",
    "capability_focus",
    "cot_elicitation",
    "foreign_thinking_signature",
    "edited_context",
    "flat_day",
)
_MIN_PRIVATE = 0.1  # with institutional mail almost throughout it is one institution's own pool


def looks_resold(
    columns: Mapping[str, Floats], total: Floats, size: NDArray[np.int64], prior_log_odds: float
) -> NDArray[np.bool_]:
    """Which groups are reported as resold pools: large enough, and rather a campaign than before any evidence."""
    return np.asarray((size >= _MIN_MEMBERS) & (total >= prior_log_odds) & _shape(columns))


def _shape(columns: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """Which groups have the shape of a resold pool; a statistic that is not ready says no."""
    return np.asarray(
        (columns["billing_reuse"] >= _MIN_BILLING_REUSE)
        & (columns["binding"] >= _MIN_BINDING)
        & (columns["one_organisation"] >= _MIN_OTHER_ORGANISATIONS)
        & (columns["institution"] >= _MIN_PRIVATE)
        & (columns["shared_template"] <= _MAX_SHARED_TEMPLATE)
        & (columns["capability_focus"] <= _MAX_FOCUS)
    )


def resale_explains(
    columns: Mapping[str, Floats], terms: Mapping[str, Floats], size: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which groups are no campaign, however closely bound: resale binds, and nothing they ask speaks against it.

    Cards, machines and sign-ups in common are what a reseller has to have. What a campaign adds is a purpose: it asks
    something else than everyone asks, in templates, of one kind, day and night.
    """
    purpose = sum(np.maximum(terms[name], 0.0) for name in _PURPOSE if name in terms)
    return np.asarray(
        _shape(columns)
        & ~(columns["shared_template"] > _MAX_OWN_TEMPLATE + 1.0 / size)  # what one member shows is not shared
        & ~(columns["prompt_distribution"] > _MAX_DISCREPANCY)
        & (purpose < _MAX_PURPOSE)
    )
