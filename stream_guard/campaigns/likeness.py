"""How much an account behaves like a campaign's core rather than like everyone else.

Accounts behind one pool get their queries from one queue, so their prompts, token counts, pace and age follow one
distribution; an honest neighbour behind the same proxy follows everyone's. Each feature is compared under two normal
distributions, the core's and the reference's: quadratic discriminant on single features; for prompts and capabilities
on the projection that separates the means best with diagonal covariance (Bickel and Levina 2004). The core is described
for each account without that account (leave-one-out, Stone 1974): a core of eight describes each of its eight too well.
The log-likelihood ratios are summed with a discount, because features depend on each other.

Cost: O(accounts * features).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.records import Capability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MIN_EVENTS = 4
_MIN_CORE, _MIN_REFERENCE = 5.0, 30
_DISCOUNT = 0.7  # features are not independent
_RIDGE = 0.02  # variance added in every dimension: small cores must not find directions by chance
_STANDARD_ERRORS = 2.0  # a mean counts as different from this many standard errors on
_TOPIC_LIMITS, _MIX_LIMITS, _NUMBER_LIMITS = (-4.0, 4.0), (-4.0, 2.0), (-2.0, 1.0)
_DAY = 86_400.0


class Likeness:
    """Compares rows with a core, of which several are tried, and with a reference.

    Args:
        rows: accounts to judge (`ROW`).
        reference: rows of accounts that are presumed honest, a uniform sample.
    """

    def __init__(self, rows: NDArray[np.void], reference: NDArray[np.void]) -> None:
        self._accounts = len(rows)
        self._blocks = tuple(zip(_blocks(rows), _blocks(reference), (_TOPIC_LIMITS, _MIX_LIMITS), strict=True))
        self._numbers = tuple(zip(_numbers(rows).T, _numbers(reference).T, strict=True))

    def ratio(self, weight: Floats) -> Floats:
        """Log-likelihood ratio of each row, core against reference; 0 where nothing can be said.

        Args:
            weight: how surely each row is part of the core, in [0, 1].
        """
        total = np.zeros(self._accounts)
        for own, others, limits in self._blocks:
            projected = _project(own, others, weight)
            if projected is not None:
                total += _ratio(*projected, weight, limits, least_spread=0.02)
        for own, others in self._numbers:
            total += _ratio(own, others, weight, _NUMBER_LIMITS, least_spread=0.05)
        return _DISCOUNT * total


def _blocks(rows: NDArray[np.void]) -> tuple[Floats, Floats]:
    """Mean topic bits, and the square roots of the capability mix; NaN rows where too little was seen."""
    topic = rows["topic"].astype(np.float64) / 127.0
    topic[rows["prompts"] < _MIN_EVENTS] = np.nan
    counts = rows["capability"].astype(np.float64)
    total = counts.sum(axis=1)
    mix = np.sqrt(counts / np.maximum(total, 1.0)[:, None])
    mix[(total < _MIN_EVENTS) | (counts[:, Capability.UNTAGGED] > 0.5 * total)] = np.nan
    return topic, mix


def _numbers(rows: NDArray[np.void]) -> Floats:
    """Single features, one column each; NaN where too little was seen."""
    seen = rows["evidence_events"] >= _MIN_EVENTS
    columns = [
        rows["out_mean"],
        rows["in_mean"],
        rows["gap_mean"],
        np.sqrt(np.maximum(rows["gap_var"], 0.0)),
        np.log1p(rows["rate_1d"]),
        rows["template_share"],
    ]
    numbers = np.where(seen[:, None], np.stack(columns, axis=1).astype(np.float64), np.nan)
    age = np.log(np.maximum(rows["last_ts"] - rows["created_at"], 3_600.0) / _DAY)
    return np.asarray(np.column_stack((numbers, age)))


def _project(own: Floats, others: Floats, weight: Floats) -> tuple[Floats, Floats] | None:
    """Both blocks on the line that tells the core's mean from the reference's; None without one, or with too few rows.

    The line of each row is found without that row: in many dimensions a small core lies, by chance, towards each of its
    members.
    """
    known = np.asarray(~np.isnan(own).any(axis=1))
    others = others[~np.isnan(others).any(axis=1)]
    core = weight * known
    if core.sum() < _MIN_CORE or len(others) < _MIN_REFERENCE:
        return None
    other_mean, other_var = others.mean(axis=0), others.var(axis=0)

    def direction(mean: Floats, var: Floats, rows: Floats | float) -> Floats:
        error = np.sqrt(var / rows + other_var / len(others))
        apart = np.where(np.abs(mean - other_mean) > _STANDARD_ERRORS * error, mean - other_mean, 0.0)
        return np.asarray(apart / (0.5 * (var + other_var) + _RIDGE))

    values = np.where(known[:, None], own, 0.0)
    line = direction(*_moments(values, core), core.sum())
    if not line.any():
        return None  # nothing tells the core from everyone
    lines = direction(*_without_each(values, core), (core.sum() - core)[:, None])
    return np.einsum("ij,ij->i", own - other_mean, lines), (others - other_mean) @ line


def _ratio(own: Floats, others: Floats, weight: Floats, limits: tuple[float, float], *, least_spread: float) -> Floats:
    """Log-likelihood ratio of one feature under two normal distributions, within limits; nobody vouches for himself."""
    known, others = ~np.isnan(own), others[~np.isnan(others)]
    core = weight * known
    if core.sum() < _MIN_CORE or len(others) < _MIN_REFERENCE:
        return np.zeros(len(own))
    value = np.where(known, own, 0.0)
    other_mean, other_var = float(others.mean()), float(others.var()) + 1e-9
    mean, var = _without_each(value, core)
    var = np.maximum(var, least_spread * other_var)
    ratio = (
        0.5 * np.log(other_var / var)
        - (value - mean) ** 2 / (2.0 * var)
        + (value - other_mean) ** 2 / (2.0 * other_var)
    )
    return np.asarray(np.where(known, np.clip(ratio, *limits), 0.0))


def _moments(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    total = weight.sum()
    mean = np.tensordot(weight, values, axes=1) / total
    return mean, np.tensordot(weight, (values - mean) ** 2, axes=1) / total


def _without_each(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted means and variances of the other rows, for each row."""
    mean, var = _moments(values, weight)
    total, own = weight.sum(), weight.reshape(-1, *[1] * (values.ndim - 1))
    deviation = values - mean
    shift = -own * deviation / (total - own)
    rest = (total * var - own * deviation**2) / (total - own) - shift**2
    return mean + shift, np.maximum(rest, 0.0)  # among equals rounding could leave less than nothing
