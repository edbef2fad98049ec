"""The group against its own past, and against the population of groups.

These columns are kept by the judge, because they need state a group or what all groups add up to: see
`clusters.own_past`, `clusters.own_models`, `clusters.siblings` and `clusters.forest`.
"""

from __future__ import annotations

from stream_guard.clusters.signal import Signal

GROWTH = Signal(
    "growth",
    honest=3.0,
    attack=8.0,
    gain=0.8,
    text="traffic is {observed:.1f} standard deviations above the group's own past, up to {expected:.1f} elsewhere",
)
ALIKE_GROUPS = Signal(
    "alike_groups",
    honest=6.0,
    attack=18.0,
    gain=2.5,
    text="about {observed:.0f} other groups of the kind look the same and share a rare client or template, "
    "at most {expected:.0f} elsewhere",
)
RARITY = Signal(
    "rarity",
    honest=0.8,
    attack=1.0,
    gain=0.6,
    text="half-space trees find the group as a whole rarer ({observed:.2f}) than others ({expected:.2f})",
)
MODEL_PIVOT = Signal(
    "model_pivot",
    honest=0.12,
    attack=0.35,
    gain=0.8,
    text="{observed:.0%} of the choice of models moved within a day beyond everyone's own move, at most {expected:.0%} "
    "elsewhere",
)
