"""Many groups that are each below suspicion, and alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.groups import form_groups
from stream_guard.clusters.population import Population
from stream_guard.clusters.siblings import AlikeGroups
from stream_guard.clusters.view import GroupView
from stream_guard.records import Kind
from tests.support.events import START, honest_rows, pool_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.events import Rows

RELAY = 99
CARDS = 12
CLOSE, FAR = -2.0, -4.0
TURNS = 6


def crowd(cards: int, client: int | None, people: int = 2_000) -> Rows:
    """People, and cards of eight accounts each; `client` None leaves everyone the client of people."""
    rows, _ = honest_rows(people, 1)
    pool, _ = pool_rows(8 * cards, 2)
    pool["values"][:, Kind.PAYMENT] = 7_000 + np.arange(8 * cards) // 8
    pool["templates"] = 0
    if client is None:
        pool["values"][:, Kind.CLIENT] = 1 + np.arange(8 * cards) // 8
    else:
        pool["values"][:, Kind.CLIENT] = client
    together = np.concatenate((rows, pool))
    return together[np.argsort(together["account"])]


def of_cards(rows: Rows, cards: int) -> NDArray[np.bool_]:
    card = rows["values"][:, Kind.PAYMENT]
    return np.asarray((card >= 7_000) & (card < 7_000 + cards))


def view_of(rows: Rows) -> GroupView:
    return GroupView(rows, form_groups(rows, 5, 0, 1), Population.of(rows), START, {})


def counts(rows: Rows, log_odds: float, kind: Kind = Kind.PAYMENT) -> NDArray[np.float64]:
    view = view_of(rows)
    return np.asarray(AlikeGroups(TURNS).count(view, np.full(len(view), log_odds), 0)[view.kind == kind])


def halves() -> tuple[GroupView, GroupView]:
    """The cards of one relay, half of them in either view: what is judged in one evaluation, and in another."""
    view = view_of(crowd(CARDS, RELAY))
    cards = np.flatnonzero(view.kind == Kind.PAYMENT)
    first, second = np.zeros((2, len(view)), np.bool_)
    first[cards[: CARDS // 2]] = second[cards[CARDS // 2 :]] = True
    return view.subset(first), view.subset(second)


def judge(alike: AlikeGroups, view: GroupView, turn: int, log_odds: float = CLOSE) -> float:
    """The smallest count."""
    return float(alike.count(view, np.full(len(view), log_odds), turn).min())


def test_cards_of_one_rare_client_count_each_other() -> None:
    found = counts(crowd(CARDS, RELAY), CLOSE)
    assert len(found) == CARDS
    assert (found > CARDS - 2).all()


def test_cards_with_a_client_each_are_strangers() -> None:
    assert (counts(crowd(CARDS, None), CLOSE) <= 1.0).all()


def test_groups_that_nobody_would_look_at_do_not_count() -> None:
    assert not counts(crowd(CARDS, RELAY), FAR).any()


def test_a_common_client_binds_nobody() -> None:
    rows = crowd(CARDS, RELAY)
    rows["values"][:400, Kind.CLIENT] = RELAY
    assert not counts(rows, CLOSE).any()


def test_a_shared_template_binds_behind_many_clients() -> None:
    rows = crowd(CARDS, None)
    rows["templates"][of_cards(rows, CARDS), 0] = 777
    assert (counts(rows, CLOSE) > CARDS - 3).all()


def test_what_chance_explains_is_taken_off() -> None:
    """Of a hundred close cards whose clients are spread as everyone's, eleven share one that a tenth shows."""
    rng = np.random.default_rng(3)
    rows = crowd(100, RELAY, people=3_000)
    of_card = rng.integers(1, 15, 100)
    mine = of_cards(rows, 100)
    rows["values"][mine, Kind.CLIENT] = of_card[rows["values"][mine, Kind.PAYMENT].astype(np.int64) - 7_000]
    found = counts(rows, CLOSE)
    assert np.bincount(of_card).max() > 9
    assert found.max() < 6.0


def test_kinds_whose_groups_overlap_are_not_asked() -> None:
    assert np.isnan(counts(crowd(CARDS, RELAY), CLOSE, Kind.CLIENT)).all()


def test_groups_that_are_judged_in_turns_count_each_other() -> None:
    first, second = halves()
    alike = AlikeGroups(TURNS)
    assert judge(alike, first, 0) < CARDS / 2
    assert judge(alike, second, TURNS - 1) > CARDS - 2


def test_a_group_that_was_not_judged_for_long_is_forgotten() -> None:
    first, second = halves()
    alike = AlikeGroups(TURNS)
    judge(alike, first, 0)
    assert judge(alike, second, TURNS) < CARDS / 2


def test_a_group_counts_as_it_stands_today() -> None:
    first, second = halves()
    alike = AlikeGroups(TURNS)
    judge(alike, first, 0)
    judge(alike, first, 1, FAR)
    assert judge(alike, second, 2) < CARDS / 2
    judge(alike, second, 3)
    assert judge(alike, first, 4) > CARDS - 2


def test_close_groups_come_back_as_they_were() -> None:
    first, second = halves()
    alike, again = AlikeGroups(TURNS), AlikeGroups(TURNS)
    judge(alike, first, 0)
    again.load(alike.dump())
    assert len(again.dump()) == CARDS // 2
    assert again.dump() == alike.dump()
    assert judge(again, second, 1) == judge(alike, second, 1)
