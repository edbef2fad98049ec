"""Who belongs to a campaign, and how surely.

A suspicious group may hold bystanders: an honest neighbour behind the same proxy. So each account is weighed by what it
shows and by what it does. Shown: the values that most of the core shows and few others do, and the kinds of suspicious
groups it is in (naive Bayes over independent families; what is unknown says nothing). Done: whether it behaves like the
core or like everyone else, see `campaigns.likeness`. The core is found by expectation maximisation, starting from the
accounts that stand in suspicious groups of several kinds at once, or in the strongest where none does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stream_guard.campaigns.grouping import family_of
from stream_guard.campaigns.likeness import Likeness
from stream_guard.records import Kind, put_rows, take_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from stream_guard.records import Suspicion

    Floats = NDArray[np.float64]

_PROFILE_SHARE = 0.7
_SMOOTH = 0.02
_MAX_FOR, _MAX_AGAINST = 2.0, 3.0
_MAX_ABSENT = 2.0
_ROUNDS = 4
_AS_STRONG = 1.0  # log-odds below the strongest group: the core, where no account is in several kinds of groups
_COLUMN: dict[int, str] = {Kind.TEMPLATE: "templates", Kind.ADDRESS: "addresses"}


@dataclass(frozen=True, slots=True)
class Crowd:
    """The accounts of one campaign-to-be.

    Attributes:
        rows: newest row of each account, ascending by account hash.
        keys: account keys, aligned.
        probability: membership of each, in [0, 1].
        terms: log-odds by what speaks for or against each; their sum is that of the probability.
        kinds: bit set of the kinds of suspicious groups that each is in.
        plans: names of plans by their values, where known.
    """

    rows: NDArray[np.void]
    keys: Sequence[str]
    probability: Floats
    terms: Mapping[str, Floats] = field(default_factory=dict)
    kinds: Sequence[int] = ()
    plans: Mapping[int, str] = field(default_factory=dict)


def judge_members(suspicions: Sequence[Suspicion], reference: NDArray[np.void]) -> Crowd:
    """Merge the members of joined suspicions and weigh each account; O(accounts * kinds).

    Args:
        suspicions: groups that make up one campaign.
        reference: rows of accounts that are presumed honest; with too few of them behaviour says nothing.
    """
    accounts = np.concatenate([suspicion.rows["account"] for suspicion in suspicions])
    unique, first, position = np.unique(accounts, return_index=True, return_inverse=True)
    rows = _gather(suspicions, first)
    all_keys = [key for suspicion in suspicions for key in suspicion.keys]
    size = [len(suspicion.rows) for suspicion in suspicions]

    best = np.full(len(unique), -np.inf)
    np.maximum.at(best, position, np.repeat([suspicion.log_odds for suspicion in suspicions], size))
    families = sorted({family_of(suspicion.kind) for suspicion in suspicions})
    inside = np.zeros((len(families), len(unique)), np.bool_)
    for number, family in enumerate(families):
        inside[number, position[np.repeat([family_of(suspicion.kind) == family for suspicion in suspicions], size)]] = (
            True
        )
    count = inside.sum(axis=0)
    several = count >= 2
    core = count >= np.median(count[several]) if several.any() else best >= best.max() - _AS_STRONG
    groups = -1.0 + np.minimum(best, 4.0) / 4.0
    profile = _profile(rows, core, suspicions)
    shown = groups + (np.sum(list(profile.values()), axis=0) if profile else np.zeros(len(rows)))
    weight = core.astype(np.float64)
    likeness = Likeness(rows, reference)
    for _ in range(_ROUNDS):
        absent, behaviour = _absent(inside, weight), likeness.ratio(weight)
        probability = 1.0 / (1.0 + np.exp(-(shown + absent + behaviour)))
        weight = np.where(probability > 0.5, probability, 0.0)
    kinds = np.zeros(len(unique), np.int64)
    np.bitwise_or.at(kinds, position, np.repeat([1 << suspicion.kind for suspicion in suspicions], size))
    return Crowd(
        rows,
        [all_keys[index] for index in first.tolist()],
        probability,
        {"groups": groups, **profile, "absent": absent, "behaviour": behaviour},
        kinds.tolist(),
        {
            value: name
            for suspicion in suspicions
            for (kind, value), name in suspicion.names.items()
            if kind == Kind.PLAN
        },
    )


def _gather(suspicions: Sequence[Suspicion], first: NDArray[np.int64]) -> NDArray[np.void]:
    """The rows at some places of all suspicions in a row, without joining these: rows are wide."""
    end = np.cumsum([len(suspicion.rows) for suspicion in suspicions])
    of = np.searchsorted(end, first, side="right")
    rows = np.empty(len(first), suspicions[0].rows.dtype)
    for number in np.unique(of).tolist():
        mine = np.flatnonzero(of == number)
        part = suspicions[number].rows
        put_rows(rows, mine, take_rows(part, first[mine] - (end[number] - len(part))))
    return rows


def _absent(inside: NDArray[np.bool_], weight: Floats) -> Floats:
    """What it costs an account to be in no suspicious group of a family where most of the core is."""
    share = (inside * weight).sum(axis=1) / max(weight.sum(), 1.0)
    cost = np.clip(np.log(1.0 - share + _SMOOTH), -_MAX_ABSENT, 0.0)
    return np.asarray(((~inside) * cost[:, None]).sum(axis=0))


def _profile(rows: NDArray[np.void], core: NDArray[np.bool_], suspicions: Sequence[Suspicion]) -> dict[str, Floats]:
    """Log-odds of each account under the core's profile, by family."""
    elsewhere: dict[tuple[int, int], float] = {}
    for suspicion in suspicions:
        for kind, value, _, share in suspicion.anchors:
            elsewhere[kind, value] = max(share, elsewhere.get((kind, value), 0.0))
    by_family: dict[str, tuple[float, Floats]] = {}
    inner = take_rows(rows, core)
    among_core = {kind: _shares(inner, kind) for kind in {kind for kind, _ in elsewhere}}
    for (kind, value), share in sorted(elsewhere.items()):
        inside = among_core[kind].get(value, 0.0)
        if inside < _PROFILE_SHARE:
            continue
        shown, known = _shows(rows, kind, value)
        inside, outside = np.clip(inside, _SMOOTH, 1 - _SMOOTH), np.clip(share, _SMOOTH / 10, 1 - _SMOOTH)
        term = np.where(
            shown,
            np.clip(np.log(inside / outside), 0.0, _MAX_FOR),
            np.clip(np.log((1 - inside) / (1 - outside)), -_MAX_AGAINST, 0.0),
        )
        weight = float(inside * np.log(inside / outside))
        family = family_of(kind)
        if family not in by_family or weight > by_family[family][0]:
            by_family[family] = (weight, np.where(known, term, 0.0))
    return {family: term for family, (_, term) in by_family.items()}


def _shares(rows: NDArray[np.void], kind: int) -> dict[int, float]:
    """Share of the accounts that show each value of a kind, among those that show any."""
    values = rows[_COLUMN[kind]] if kind in _COLUMN else np.ascontiguousarray(rows["values"][:, kind])
    known = int((values != 0).any(axis=1).sum()) if values.ndim > 1 else int((values != 0).sum())
    found, count = np.unique(values[values != 0], return_counts=True)
    return {value: number / known for value, number in zip(found.tolist(), count.tolist(), strict=True)}


def _shows(rows: NDArray[np.void], kind: int, value: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which accounts show a value, and of which the kind is known."""
    if kind in _COLUMN:
        values = rows[_COLUMN[kind]]
        return (values == value).any(axis=1), (values != 0).any(axis=1)
    values = rows["values"][:, kind]
    return values == value, values != 0
