"""A cohort: honest accounts with what the schedule needs to know about each, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stream_guard.simulate.model import Floats, Ints


@dataclass(frozen=True, slots=True)
class Cohort:
    """Columns, one row per account.

    ``home`` and ``away`` are addresses, ``away_share`` the chance that a session comes from the second.
    ``second_client`` is what it uses away.
    ``own`` is the prompt source of the account's own template, ``system`` its system prompt or -1.
    ``taste`` in [0, 1) fixes preferences (model, capability) for the life of the account.
    """

    account: Ints
    persona: Ints
    rate: Floats
    zone: Ints
    home: Ints
    away: Ints
    away_share: Floats
    client: Ints
    second_client: Ints
    language: Ints
    english: Floats
    own: Ints
    system: Ints
    taste: Floats
    starts: Ints

    def __len__(self) -> int:
        return len(self.account)


def stack(cohorts: list[Cohort]) -> Cohort:
    """Join cohorts.

    Args:
        cohorts: at least one.

    Returns:
        One cohort.
    """
    return Cohort(
        **{item.name: np.concatenate([getattr(one, item.name) for one in cohorts]) for item in fields(Cohort)}
    )
