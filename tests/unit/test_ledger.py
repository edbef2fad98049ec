"""Who joins a campaign's books, and who leaves them."""

from __future__ import annotations

import numpy as np
import pytest

from stream_guard.campaigns.ledger import Ledger
from stream_guard.campaigns.membership import Crowd
from stream_guard.policy import Policy
from tests.support.events import START, honest_rows

SURE, LIKELY, UNLIKELY = 0.97, 0.7, 0.3


def admitted(*memberships: float, behaviour: float) -> list[bool]:
    """Whether the account is a member after each evaluation."""
    rows, keys = honest_rows(1, 1)
    ledger, seen = Ledger("cmp_1", "default", START, START), []
    for turn, membership in enumerate(memberships):
        crowd = Crowd(rows, keys, np.array([membership]), {"behaviour": np.array([behaviour])})
        ledger.admit(crowd, START + 600.0 * turn, Policy().campaigns)
        seen.append(keys[0] in ledger.member_keys)
    return seen


@pytest.mark.parametrize(
    ("memberships", "member"),
    [
        ((LIKELY,), [False]),
        ((SURE, LIKELY, UNLIKELY), [True, True, False]),
        ((SURE, UNLIKELY, LIKELY, SURE), [True, False, False, True]),
    ],
)
def test_who_can_be_compared_joins_when_it_is_sure_and_stays_while_it_is_likely(
    memberships: tuple[float, ...], member: list[bool]
) -> None:
    assert admitted(*memberships, behaviour=0.4) == member


def test_who_cannot_be_compared_joins_when_it_is_likely() -> None:
    assert admitted(LIKELY, UNLIKELY, LIKELY, behaviour=0.0) == [True, False, True]


def books(name: str, account: int, *, fired: bool) -> Ledger:
    """A campaign with one member."""
    rows, keys = honest_rows(1, account)
    ledger = Ledger(name, "default", START, START, fired=fired)
    ledger.admit(Crowd(rows, keys, np.array([SURE])), START, Policy().campaigns)
    return ledger


@pytest.mark.parametrize("fired", [True, False])
def test_only_a_campaign_that_fired_remembers_who_left(*, fired: bool) -> None:
    ledger = books("cmp_1", 1, fired=fired)
    rows, keys = honest_rows(1, 1)
    ledger.admit(Crowd(rows, keys, np.array([UNLIKELY])), START + 600.0, Policy().campaigns)
    assert not ledger.member_keys
    assert list(ledger.members) == (keys if fired else [])


@pytest.mark.parametrize(
    ("mine", "others", "kept"), [(True, True, 2), (False, False, 2), (True, False, 1), (False, True, 1)]
)
def test_a_campaign_that_fired_takes_no_guesses_over(*, mine: bool, others: bool, kept: int) -> None:
    one, other = books("cmp_1", 1, fired=mine), books("cmp_2", 2, fired=others)
    known = {*(one.members if mine or not others else ()), *(other.members if others or not mine else ())}
    one.absorb(other)
    assert len(one.members) == kept
    assert set(one.members) == known
    assert one.fired == (mine or others)
