"""What single signals measure, on groups made up for the purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_guard.clusters.groups import form_groups
from stream_guard.clusters.population import Population
from stream_guard.clusters.signals.content import ONE_SUBJECT, one_subject
from stream_guard.clusters.signals.lockstep import ONE_HAND, even_counts, flat_day, one_hand
from stream_guard.clusters.signals.organisation import INSTITUTION, institution
from stream_guard.clusters.view import GroupView
from stream_guard.records import Kind
from tests.support.events import DAY, START, honest_rows

if TYPE_CHECKING:
    from tests.support.events import Rows

CLIENT = 4_711
COUNTRY = 49
HOUR = 3_600.0
CORPORATE, EDU, FREE, HOME = 901, 902, 903, 904
CLASSES = {"corporate": np.array([CORPORATE], np.uint32), "edu": np.array([EDU], np.uint32)}


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
    return GroupView(rows, groups.subset(chosen), Population.of(rows), START, CLASSES)


class TestOneSubject:
    @staticmethod
    def measured(*, cards: int, moved: int, prompts: int = 20) -> float:
        """Sixty accounts of one client among 1,500 people, on so many cards, whose topics are moved."""
        people, _ = honest_rows(1_500, 1)
        group = one_client()
        group["account"] += np.uint64(1)
        group["values"][:, Kind.PAYMENT] = 10_000 + np.arange(60) % cards
        group["topic"] += np.int8(moved)
        rows = np.concatenate((people, group))
        rows["prompts"] = 20
        rows["prompts"][len(people) :] = prompts
        return float(one_subject(view_of(rows))[0])

    def test_one_hand_that_pays_for_one_line_of_work_speaks_for_a_campaign(self) -> None:
        assert ONE_SUBJECT.score_one({"one_subject": self.measured(cards=6, moved=60)}) == ONE_SUBJECT.gain

    def test_shared_cards_for_what_everyone_asks_say_nothing(self) -> None:
        assert ONE_SUBJECT.score_one({"one_subject": self.measured(cards=6, moved=0)}) == 0.0

    def test_people_who_ask_alike_and_pay_for_themselves_are_not_asked(self) -> None:
        assert np.isnan(self.measured(cards=60, moved=60))

    def test_a_handful_of_prompts_is_not_enough(self) -> None:
        assert np.isnan(self.measured(cards=6, moved=60, prompts=4))


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


class TestInstitution:
    @staticmethod
    def excuse(mail: int, cards: int = 60, organisations: int = 0) -> float:
        """What is taken off for sixty members with one kind of mail, on so many cards and in so many organisations."""
        rows = one_client()
        rows["values"][:, Kind.EMAIL_CLASS] = mail
        rows["values"][:, Kind.ASN_CLASS] = HOME
        rows["values"][:, Kind.PAYMENT] = 10_000 + np.arange(60) % cards if cards else 0
        rows["values"][:, Kind.ORG] = 20_000 + np.arange(60) % organisations if organisations else 0
        return float(INSTITUTION.score_many(institution(view_of(rows)))[0])

    def test_colleagues_are_excused(self) -> None:
        assert self.excuse(CORPORATE, cards=1) < -2.3
        assert self.excuse(CORPORATE, organisations=1) < -2.3
        assert self.excuse(EDU) < -2.3

    def test_a_corporate_domain_for_each_account_is_cheap(self) -> None:
        assert -1.4 < self.excuse(CORPORATE) < -1.0
        assert self.excuse(CORPORATE, organisations=60) == self.excuse(CORPORATE)

    def test_between_the_two_it_is_between(self) -> None:
        assert self.excuse(CORPORATE, cards=1) < self.excuse(CORPORATE, cards=30) < self.excuse(CORPORATE)

    def test_who_does_not_pay_is_no_stranger(self) -> None:
        assert self.excuse(CORPORATE, cards=0) < -2.3

    def test_free_mail_excuses_nobody(self) -> None:
        assert self.excuse(FREE) == 0.0


class TestOneHand:
    @staticmethod
    def group(cards: int, *, even: bool = True, company: bool = False) -> GroupView:
        """Sixty accounts on so many cards, used alike or as people are."""
        rows = one_client()
        rows["values"][:, Kind.PAYMENT] = 10_000 + np.arange(60) % cards
        rows["values"][:, Kind.ORG] = 20_000 if company else 0
        rows["last_ts"] = START
        rows["rate_1d"] = 20.0 if even else np.random.default_rng(1).lognormal(3.0, 1.2, 60)
        return view_of(rows)

    @classmethod
    def score(cls, cards: int, **shape: bool) -> float:
        return float(ONE_HAND.score_many(one_hand(cls.group(cards, **shape)))[0])

    def test_shared_cards_and_even_use_are_one_hand(self) -> None:
        assert self.score(10) > 0.5

    def test_users_of_a_scheduled_tool_pay_for_themselves(self) -> None:
        assert even_counts(self.group(60))[0] < ONE_HAND.honest
        assert self.score(60) == 0.0

    def test_families_on_one_card_differ(self) -> None:
        assert self.score(10, even=False) == 0.0

    def test_a_company_may_pay_and_drive(self) -> None:
        assert self.score(1, company=True) == 0.0
