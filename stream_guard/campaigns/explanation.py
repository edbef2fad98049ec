"""The campaign's log-odds as an exact sum.

Each signal contributes the mean over the campaign's groups, weighted by members and by how suspicious the group is; the
prior stands once. Groups that independent causes tie together, and groups of other members, add terms of their own; the
same members counted again by another property of the same program do not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.campaigns.grouping import family_of
from stream_guard.records import Evidence, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_guard.records import Suspicion

_AGREEMENT_PER_CAUSE = 0.5
# One program sends the same headers and fills in the same template: client and content are one cause. A pair speaks for
# what it adds to the client.
_CAUSE = {"client": "software", "content": "software"}
_CAUSE_OF_PAIR = {Kind.CLIENT_ASN: "network", Kind.CLIENT_COUNTRY: "network", Kind.CLIENT_COHORT: "registration"}
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
    causes = {_cause_of(suspicion.kind) for suspicion in suspicions}
    if len(causes) > 1:
        evidence.append(
            Evidence(
                "agreement",
                round(_AGREEMENT_PER_CAUSE * (min(len(causes), 4) - 1), _DIGITS),
                float(len(causes)),
                1.0,
                f"suspicious groups of {len(causes)} independent kinds agree: {', '.join(sorted(causes))}",
            )
        )
    apart = _groups_apart(suspicions)
    if apart > 1.0:
        evidence.append(
            Evidence(
                "breadth",
                round(min(_BREADTH_PER_DOUBLING * math.log2(apart), _MAX_BREADTH), _DIGITS),
                apart,
                1.0,
                f"{len(suspicions)} groups are suspicious at once, with as many members as {apart:.1f} of them apart",
            )
        )
    evidence.sort(key=lambda term: (-abs(term.contribution), term.signal))
    return math.fsum(term.contribution for term in evidence), tuple(evidence)


def _cause_of(kind: Kind) -> str:
    """What ties the members of a group of this kind; groups with one cause do not confirm each other."""
    family = _CAUSE_OF_PAIR.get(kind) or family_of(kind)
    return _CAUSE.get(family, family)


def _groups_apart(suspicions: Sequence[Suspicion]) -> float:
    """As how many groups of median size, with no member in common, the suspicions are; at most their number."""
    accounts = len(np.unique(np.concatenate([suspicion.rows["account"] for suspicion in suspicions])))
    return min(accounts / float(np.median([len(suspicion.rows) for suspicion in suspicions])), float(len(suspicions)))
