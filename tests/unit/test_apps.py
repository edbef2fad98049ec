"""Users of one program are no campaign while nothing speaks for one hand."""

from __future__ import annotations

import numpy as np
import pytest

from stream_guard.clusters import SIGNALS, ClustersStage
from stream_guard.clusters.apps import explained_by_an_app
from stream_guard.policy import Policy
from stream_guard.records import Kind
from tests.support.events import DAY, START, delta, honest_rows

NOTHING = {signal.name: np.zeros(1) for signal in SIGNALS}


@pytest.mark.parametrize(
    ("terms", "excess", "explained"),
    [
        ({"shared_template": 2.0, "young_accounts": 1.5, "sign_up_burst": 1.4, "binding": 2.0}, 1.5, True),
        ({"shared_template": 2.0, "young_accounts": 1.5, "sign_up_burst": 1.4, "binding": 2.5}, 2.1, False),
        ({"shared_template": 2.0, "billing_reuse": 1.2}, 0.1, False),
        ({"disposable_mail": 0.6, "even_counts": 0.5}, 0.1, False),
        ({"disposable_mail": 0.6, "even_counts": -1.5}, 0.1, True),  # people who are used unevenly hide no other sign
        ({"cot_elicitation": 1.3}, 0.1, False),
    ],
)
def test_without_a_sign_of_one_hand_a_group_has_to_be_clear(
    terms: dict[str, float], excess: float, *, explained: bool
) -> None:
    given = NOTHING | {name: np.array([value]) for name, value in terms.items()}
    assert explained_by_an_app(given, np.array([excess])).tolist() == [explained]


def suspected(*, cards: int) -> set[Kind]:
    """Kinds of the suspicious groups among people, where forty of them, two days old, use one new program.

    They pay with `cards` cards; with 0 nothing is known about that.
    """
    rows, keys = honest_rows(40, 2)
    rows["created_at"] = START - 2.0 * DAY
    rows["templates"] = 0
    rows["templates"][:, 0] = 777
    rows["template_share"] = 0.97
    rows["capability"] = 0.0
    rows["capability"][:, 4] = rows["events"]
    rows["values"][:, [Kind.TLS, Kind.HEADER, Kind.CLIENT, Kind.COHORT, Kind.ASN, Kind.SYSTEM_PROMPT]] = 99
    rows["values"][:, Kind.EMAIL_CLASS] = 904
    rows["values"][:, Kind.PAYMENT] = np.arange(40) % cards + 1_000 if cards else 0
    epoch = int(START // 60.0)
    found = ClustersStage(0, 1, Policy()).apply(epoch, [delta(epoch, honest_rows(1_500, 1), (rows, keys))])
    assert found is not None
    return {item.kind for item in found.suspicions if not item.resold}


def test_users_of_a_new_program_are_suspicious_where_they_share_cards_and_not_where_nothing_ties_their_hands() -> None:
    assert Kind.TEMPLATE in suspected(cards=5)
    assert not suspected(cards=0)
