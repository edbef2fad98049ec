"""What tells a resold pool from a campaign that is bound as closely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_guard.clusters.resale import looks_resold, resale_explains

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRIOR = -6.0
RESOLD = {
    "billing_reuse": 0.9,
    "binding": 3.0,
    "one_organisation": 1.0,
    "institution": 0.25,
    "shared_template": 0.04,
    "capability_focus": 0.2,
    "prompt_distribution": 0.1,
}


def columns(**changed: float) -> dict[str, NDArray[np.float64]]:
    return {name: np.array([value]) for name, value in (RESOLD | changed).items()}


def explained(*, size: float = 40.0, purpose: float = 0.0, **changed: float) -> bool:
    terms = {"flat_day": np.array([purpose])}
    return bool(resale_explains(columns(**changed), terms, np.array([size]))[0])


def test_a_pool_that_asks_what_everyone_asks_is_explained_by_resale() -> None:
    assert explained()
    assert explained(prompt_distribution=float("nan"))  # too few prompts to tell a difference


@pytest.mark.parametrize(
    "purpose",
    [
        {"prompt_distribution": 1.2},
        {"shared_template": 0.15},
        {"capability_focus": 1.3},
        {"capability_focus": float("nan")},
        {"purpose": 1.5},
    ],
)
def test_a_purpose_is_not_explained_by_resale(purpose: dict[str, float]) -> None:
    assert not explained(**purpose)


def test_a_template_that_one_member_of_few_shows_is_not_shared() -> None:
    assert explained(size=8, shared_template=0.125)
    assert not explained(size=40, shared_template=0.125)


@pytest.mark.parametrize(("total", "size", "reported"), [(-3.0, 20, True), (-3.0, 19, False), (-9.0, 600, False)])
def test_only_what_is_large_and_bound_beyond_chance_is_reported(total: float, size: int, *, reported: bool) -> None:
    found = looks_resold(columns(), np.array([total]), np.array([size]), PRIOR)
    assert bool(found[0]) is reported
