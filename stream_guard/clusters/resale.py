"""Pools that are resold to unrelated customers: bound together by money and machines, but used for everything.

A reseller shares cards and clients over accounts of many customers, and what they ask looks like what everyone asks.
Such a group is reported so that people can see it; it is never acted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signals.content import prompt_difference
from stream_guard.records import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_MIN_MEMBERS = 20  # fewer are not worth a report
_MIN_BILLING_REUSE = 0.6
_MIN_BINDING = 2.0
_MAX_SHARED_TEMPLATE = 0.2
_MAX_FOCUS = 0.5
_MIN_OTHER_ORGANISATIONS = 0.6
_MIN_PRIVATE = 0.1  # with institutional mail almost throughout it is one institution's own pool
_MAX_OWN_TEMPLATE = 0.08  # customers have templates of their own, not the same
_MAX_DIFFERENCE = 0.6  # of what is asked from what everyone asks, at least
_MAX_PURPOSE = 1.0  # log-odds
_CLEARLY = 2.0  # log-odds beyond suspicion
_PURPOSE = ("cot_elicitation", "foreign_thinking_signature", "edited_context", "flat_day")


def looks_resold(columns: Mapping[str, Floats], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which groups have the shape of a resold pool; a statistic that is not ready says no.

    What few members ask for differs from everyone's mix by chance alone: by (classes - 1) / (2 * members) nats in the
    mean if each member asks for one thing (Miller 1955).
    """
    by_chance = (CAPABILITIES - 1) / (2.0 * size)
    return np.asarray(
        (columns["billing_reuse"] >= _MIN_BILLING_REUSE)
        & (columns["binding"] >= _MIN_BINDING)
        & (columns["one_organisation"] >= _MIN_OTHER_ORGANISATIONS)
        & (columns["institution"] >= _MIN_PRIVATE)
        & (columns["shared_template"] <= _MAX_SHARED_TEMPLATE)
        & (columns["capability_focus"] <= _MAX_FOCUS + by_chance)
    )


def worth_a_report(size: NDArray[np.int64], total: Floats, prior_log_odds: float) -> NDArray[np.bool_]:
    """Which groups people should see if they are resold: large, and bound beyond what the prior takes away."""
    return np.asarray((size >= _MIN_MEMBERS) & (total >= prior_log_odds))


def explained_by_resale(
    columns: Mapping[str, Floats], terms: Mapping[str, Floats], view: GroupView, excess: Floats
) -> NDArray[np.bool_]:
    """Which suspicious groups are no campaign, however closely bound: nothing that they ask speaks against resale.

    Cards, machines and sign-ups in common are what a reseller has to have. What a campaign adds is a purpose: it asks
    something else than everyone asks, in a template, day and night, or for the model's reasoning. A template or other
    prompts may also be those of one large customer, so they count only against a pool that is clearly suspicious. The
    prompts are compared only where everything else is explained, which is seldom.

    Args:
        columns: statistics of the groups.
        terms: their contributions, log-odds.
        view: the groups.
        excess: by how much each group's log-odds pass what makes it suspicious; negative where it is not.
    """
    purpose = sum(np.maximum(terms[name], 0.0) for name in _PURPOSE)
    template = columns["shared_template"] > _MAX_OWN_TEMPLATE + 1.0 / view.groups.size  # one member's own is not shared
    resold = (excess >= 0.0) & looks_resold(columns, view.groups.size) & (purpose < _MAX_PURPOSE)
    clearly = excess >= _CLEARLY
    explained = np.asarray(resold & clearly & ~template)
    if explained.any():
        explained[explained] = ~(prompt_difference(view.subset(explained)) > _MAX_DIFFERENCE)
    return explained | (resold & ~clearly)
