"""Users of one program are no campaign while nothing speaks for one hand."""

from __future__ import annotations

import numpy as np
import pytest

from stream_guard.clusters import SIGNALS
from stream_guard.clusters.apps import explained_by_an_app

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
