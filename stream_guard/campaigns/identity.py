"""Which campaign a group of suspicions is: identity outlives the accounts.

A campaign remembers the fingerprints it was seen with and its members. When members are banned and siblings take over,
the fingerprints that stay (a template, a client, a payment instrument) carry the id; when fingerprints rotate, the
members do.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MATCH = 0.25

Traits = tuple[frozenset[str], frozenset[str]]
"""Fingerprint clusters and account keys."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Which campaigns each group continues.

    Attributes:
        of_campaign: for each known campaign the groups that continue it; a group stands under one campaign only.
        merged: campaigns that turn out to be one with an older campaign.
        new: groups that continue nothing.
    """

    of_campaign: Mapping[str, tuple[int, ...]]
    merged: Mapping[str, str]
    new: tuple[int, ...]


def new_id(tenant: str, clusters: Sequence[str], epoch: int) -> str:
    """Id of a new campaign; the same evidence at the same event time gives the same id."""
    text = "\x1f".join((tenant, str(epoch), *sorted(clusters)))
    return "cmp_" + blake2b(text.encode(), digest_size=8).hexdigest()


def match(groups: Sequence[Traits], known: Mapping[str, Traits]) -> Matching:
    """Match groups to campaigns, `known` oldest first.

    A group that continues several campaigns makes them one, and the oldest id stays.
    """
    of_campaign: dict[str, list[int]] = {}
    merged: dict[str, str] = {}
    new: list[int] = []
    for number, (clusters, members) in enumerate(groups):
        continued = [
            campaign
            for campaign, (old_clusters, old_members) in known.items()
            if _containment(clusters, old_clusters) + _containment(members, old_members) >= _MATCH
        ]
        if not continued:
            new.append(number)
            continue
        roots = list(dict.fromkeys(_root(campaign, merged) for campaign in continued))
        oldest = min(roots, key=list(known).index)
        for younger in roots:
            if younger != oldest:
                merged[younger] = oldest
                of_campaign.setdefault(oldest, []).extend(of_campaign.pop(younger, []))
        of_campaign.setdefault(oldest, []).append(number)
    return Matching(
        {campaign: tuple(sorted(numbers)) for campaign, numbers in of_campaign.items()},
        {younger: _root(older, merged) for younger, older in merged.items()},
        tuple(new),
    )


def _root(campaign: str, merged: Mapping[str, str]) -> str:
    while campaign in merged:
        campaign = merged[campaign]
    return campaign


def _containment(first: frozenset[str], second: frozenset[str]) -> float:
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller else 0.0
