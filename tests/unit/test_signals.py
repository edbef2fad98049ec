"""What single signals measure, on groups made up for the purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_guard.clusters.groups import form_groups
from stream_guard.clusters.population import Population
from stream_guard.clusters.signals.lockstep import flat_day
from stream_guard.clusters.view import GroupView
from stream_guard.records import Kind
from tests.support.events import DAY, START, honest_rows

if TYPE_CHECKING:
    from tests.support.events import Rows

CLIENT = 4_711
COUNTRY = 49
HOUR = 3_600.0


def one_client(members: int = 60) -> Rows:
    """People with cards of their own, all with one client and new."""
    rows, _ = honest_rows(members, 3)
    rows["values"][:, Kind.CLIENT] = CLIENT
    rows["values"][:, Kind.COUNTRY] = COUNTRY
    rows["values"][:, Kind.ORG] = 0
    rows["values"][:, Kind.PAYMENT] = np.arange(members) + 10_000
    rows["created_at"] = START - 3 * DAY
    return rows


def view_of(rows: Rows, kind: Kind = Kind.CLIENT, value: int = CLIENT) -> GroupView:
    rows = rows[np.argsort(rows["account"])]
    groups = form_groups(rows, 5, 0, 1)
    chosen = groups.fingerprint == np.uint64((kind << 32) | value)
    assert chosen.sum() == 1
    return GroupView(rows, groups.subset(chosen), Population.of(rows), START, {})


class TestFlatDay:
    @staticmethod
    def group(new: int, hours: float, bins: int) -> Rows:
        """Sixty members used evenly in so many of the day's eight parts; the `new` ones were first seen lately."""
        rows = one_client()
        rows["day_shape"] = 0.0
        rows["day_shape"][:, :bins] = 10.0
        rows["first_ts"] = START - 3 * DAY
        rows["first_ts"][:new] = START - hours * HOUR
        return rows

    def test_people_who_sleep_speak_for_themselves(self) -> None:
        assert flat_day(view_of(self.group(0, 0.0, 4)))[0] == pytest.approx(np.log(4) / np.log(8))

    def test_an_old_bystander_does_not_make_this_mornings_accounts_sleepers(self) -> None:
        assert np.isnan(flat_day(view_of(self.group(58, 2.0, 4)))).all()

    def test_a_pool_whose_accounts_are_replaced_is_still_seen_to_work_round_the_clock(self) -> None:
        assert flat_day(view_of(self.group(58, 10.0, 8)))[0] == pytest.approx(1.0)
