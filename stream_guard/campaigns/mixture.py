"""How much of what a campaign's members send is the extraction, where a pool is also used for other things.

The members' traffic is a mixture `share * extraction + (1 - share) * honest`. A statistic that is 1 for the extraction
and known for honest traffic identifies the share (Blanchard, Lee and Scott, "Semi-supervised novelty detection", 2010);
ours is the share of prompts that show a template of their account, against presumed-honest accounts. So it is known
only where the members share a template that others lack; extraction without templates goes uncounted, which makes it
too low for campaigns that also ask bare questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MIN_PROMPTS = 5
_MIN_MEMBERS, _MIN_REFERENCE = 5, 30
_SHOWN = 0.2  # of the members show the campaign's template ...
_RARER = 5.0  # ... and this many times fewer elsewhere


def extraction_share(rows: NDArray[np.void], probability: Floats, reference: NDArray[np.void]) -> float | None:
    """Share of the members' recent prompts that are extraction; None where it cannot be told.

    Args:
        rows: accounts of the campaign (`ROW`).
        probability: membership of each.
        reference: rows of accounts that are presumed honest, a uniform sample.

    Returns:
        A number in [0, 1]. Cost: O(members log members).
    """
    members = rows[(probability > 0.5) & (rows["prompts"] >= _MIN_PROMPTS)]
    honest = reference[reference["prompts"] >= _MIN_PROMPTS]
    if not len(own_templates(members, honest)):
        return None
    base = float(honest["template_share"].mean())
    observed = float(members["template_share"].mean())
    return min(max((observed - base) / max(1.0 - base, 1e-6), 0.0), 1.0)


def own_templates(members: NDArray[np.void], honest: NDArray[np.void]) -> NDArray[np.uint32]:
    """Templates that many members show and that are much rarer among honest accounts; O(members log members).

    None where there are too few of either to tell.
    """
    if len(members) < _MIN_MEMBERS or len(honest) < _MIN_REFERENCE:
        return np.zeros(0, np.uint32)
    shown: NDArray[Any] = members["templates"]
    values, count = np.unique(shown[shown != 0], return_counts=True)
    share = count / len(members)
    likely, share = values[share >= _SHOWN], share[share >= _SHOWN]
    elsewhere = np.array([(honest["templates"] == value).any(axis=1).mean() for value in likely.tolist()])
    return np.asarray(likely[elsewhere * _RARER <= share] if len(likely) else likely, np.uint32)
