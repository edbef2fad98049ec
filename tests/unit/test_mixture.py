"""How much of a mixed pool's traffic is the extraction."""

from __future__ import annotations

import numpy as np
import pytest

from stream_guard.campaigns.mixture import extraction_share
from tests.support.events import honest_rows, pool_rows

PEOPLE, _ = honest_rows(400, 9)


def mixed(share: float, seed: int = 1, members: int = 60) -> np.ndarray:
    """Members whose prompts are the pool's template in `share` of the cases, and everyone's otherwise."""
    rows, _ = pool_rows(members, seed)
    own, _ = honest_rows(members, seed + 1)
    recurring = np.random.default_rng(seed).binomial(50, share, members) / 50.0
    rows["template_share"] = recurring + (1.0 - recurring) * own["template_share"]
    rows["prompts"] = 50
    return rows


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5, 1.0])
def test_the_share_is_found_within_ten_points(share: float) -> None:
    found = extraction_share(mixed(share), np.ones(60), PEOPLE)
    assert found == pytest.approx(share, abs=0.1)


def test_bystanders_do_not_count() -> None:
    people, _ = honest_rows(60, 5)
    people["templates"][:, 0] = 777  # they too show the template once in a while
    rows = np.concatenate((mixed(0.5), people))
    found = extraction_share(rows, np.repeat([0.95, 0.2], 60), PEOPLE)
    assert found == pytest.approx(0.5, abs=0.1)


def test_nothing_is_said_without_a_template_of_its_own() -> None:
    rows = mixed(0.5)
    rows["templates"] = np.random.default_rng(3).integers(1, 1 << 32, rows["templates"].shape)
    assert extraction_share(rows, np.ones(60), PEOPLE) is None
    everyones = PEOPLE.copy()
    everyones["templates"][:, 0] = 777
    assert extraction_share(mixed(0.5), np.ones(60), everyones) is None


def test_nothing_is_said_about_few_accounts_or_without_a_reference() -> None:
    assert extraction_share(mixed(0.5)[:4], np.ones(4), PEOPLE) is None
    assert extraction_share(mixed(0.5), np.ones(60), PEOPLE[:10]) is None
