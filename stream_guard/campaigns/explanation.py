"""The campaign's log-odds as an exact sum.

Each signal contributes the mean over the campaign's groups, weighted by members and by how suspicious the group is; the
prior stands once. Groups of independent families that agree add a term of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.campaigns.grouping import family_of
from stream_guard.records import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Suspicion

_AGREEMENT_PER_FAMILY = 0.5
_BREADTH_PER_DOUBLING, _MAX_BREADTH = 0.25, 1.5
_DIGITS = 6


def explain(suspicions: Sequence[Suspicion]) -> tuple[float, tuple[Evidence, ...]]:
    """Log-odds of joined suspicions, and the evidence that adds up to them, largest first."""
    weights = np.array(
        [math.sqrt(len(suspicion.rows)) * math.exp(min(suspicion.log_odds, 4.0) / 2.0) for suspicion in suspicions]
    )
    weights /= weights.sum()
    terms: dict[str, list[tuple[float, Evidence]]] = {}
    for weight, suspicion in zip(weights.tolist(), suspicions, strict=True):
        for term in suspicion.evidence:
            terms.setdefault(term.signal, []).append((weight, term))
    evidence = []
    for signal, parts in terms.items():
        contribution = round(sum(weight * term.contribution for weight, term in parts), _DIGITS)
        telling = max(parts, key=lambda part: abs(part[0] * part[1].contribution))[1]
        evidence.append(Evidence(signal, contribution, telling.observed, telling.expected, telling.text))
    families = {family_of(suspicion.kind) for suspicion in suspicions}
    if len(families) > 1:
        names = ", ".join(sorted(families))
        evidence.append(
            Evidence(
                "agreement",
                round(_AGREEMENT_PER_FAMILY * (min(len(families), 4) - 1), _DIGITS),
                float(len(families)),
                1.0,
                f"suspicious groups of {len(families)} independent kinds agree: {names}",
            )
        )
    if len(suspicions) > 1:
        evidence.append(
            Evidence(
                "breadth",
                round(min(_BREADTH_PER_DOUBLING * math.log2(len(suspicions)), _MAX_BREADTH), _DIGITS),
                float(len(suspicions)),
                1.0,
                f"{len(suspicions)} groups with the same profile are suspicious at once",
            )
        )
    evidence.sort(key=lambda term: (-abs(term.contribution), term.signal))
    return math.fsum(term.contribution for term in evidence), tuple(evidence)
