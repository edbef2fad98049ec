"""Attempts to lift the model's reasoning, from flags that the gateway set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.signal import Signal
from stream_guard.records import Flag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_guard.clusters.view import GroupView

    Floats = NDArray[np.float64]

_MEMBER_WEIGHT = 50.0  # one talkative member must not speak for the group


def flag_share(view: GroupView, flag: Flag) -> Floats:
    """Share of the group's queries that carry `flag`, each member weighing at most 50 queries."""
    events = view.column("evidence_events").astype(np.float64)
    weight = np.minimum(1.0, _MEMBER_WEIGHT / np.maximum(events, 1.0))
    flagged = view.total(view.column("flags")[:, flag] * weight)
    total = view.total(events * weight)
    spread = view.total(view.column("flags")[:, flag] > 0)
    return np.where((total >= 30) & ((spread >= 3) | (flagged == 0)), flagged / np.maximum(total, 1.0), np.nan)


COT_ELICITATION = Signal(
    "cot_elicitation",
    honest=0.05,
    attack=0.3,
    gain=1.5,
    text="{observed:.1%} of the queries try to draw out the reasoning, at most {expected:.1%} in ordinary groups",
    measure=partial(flag_share, flag=Flag.COT_ELICITATION),
)
FOREIGN_THINKING = Signal(
    "foreign_thinking_signature",
    honest=0.001,
    attack=0.01,
    gain=4.0,
    text="{observed:.2%} of the queries replay thinking signed for someone else, at most {expected:.2%} elsewhere",
    measure=partial(flag_share, flag=Flag.FOREIGN_THINKING_SIGNATURE),
)
EDITED_CONTEXT = Signal(
    "edited_context",
    honest=0.01,
    attack=0.08,
    gain=1.5,
    text="{observed:.1%} of the queries edit the context before a thinking block, at most {expected:.1%} elsewhere",
    measure=partial(flag_share, flag=Flag.EDITED_CONTEXT),
)
