"""Many groups that are each below suspicion, and alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_guard.clusters.groups import form_groups
from stream_guard.clusters.population import Population
from stream_guard.clusters.siblings import alike_groups
from stream_guard.clusters.view import GroupView
from stream_guard.records import Kind
from tests.support.events import START, honest_rows, pool_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.events import Rows

RELAY = 99
CARDS = 12
CLOSE, FAR = -2.0, -4.0


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


def counts(rows: Rows, log_odds: float, kind: Kind = Kind.PAYMENT) -> NDArray[np.float64]:
    view = GroupView(rows, form_groups(rows, 5, 0, 1), Population.of(rows), START, {})
    return np.asarray(alike_groups(view, np.full(len(view), log_odds))[view.kind == kind])


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
