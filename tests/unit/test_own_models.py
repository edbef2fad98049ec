"""A group's move to another model, against its own past and everyone's move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_guard.clusters.own_models import OwnModels

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR = 3_600.0
USUAL = {1: 0.75, 2: 0.25}
MOVED = {1: 0.3, 2: 0.2, 3: 0.5}


def members(shares: dict[int, float], known: int) -> NDArray[np.uint32]:
    """Members of one group that use the models in these shares."""
    count = [round(share * known) for share in shares.values()]
    return np.repeat(np.array(list(shares), np.uint32), count)


def score(models: OwnModels, mine: dict[int, float], everyone: dict[int, float], now: float, known: int = 200) -> float:
    used = members(mine, known)
    choice = models.choice(np.zeros(len(used), np.int64), used, 1)
    return float(models.score([7], choice, everyone, now)[0])


def used_to(now: float = 12 * HOUR) -> OwnModels:
    """A group and everyone, unchanged for half a day."""
    models = OwnModels()
    for hour in range(int(now / HOUR) + 1):
        score(models, USUAL, USUAL, hour * HOUR)
    return models


def test_a_group_that_moves_alone_stands_out() -> None:
    assert score(used_to(), MOVED, USUAL, 13 * HOUR) == pytest.approx(0.5, abs=0.06)


def test_on_a_launch_day_that_moves_everyone_nobody_stands_out() -> None:
    assert score(used_to(), MOVED, MOVED, 13 * HOUR) < 0.01


def test_who_stays_while_everyone_moves_has_not_pivoted_to_anything_but_differs() -> None:
    assert score(used_to(), USUAL, {1: 0.70, 2: 0.25, 3: 0.05}, 13 * HOUR) < 0.06


def test_what_a_group_always_used_is_no_move() -> None:
    models = OwnModels()
    for hour in range(13):
        found = score(models, MOVED, USUAL, hour * HOUR)
    assert found == pytest.approx(0.0, abs=1e-9)


def test_a_move_is_forgotten_once_it_is_the_past() -> None:
    models = used_to()
    found = [score(models, MOVED, USUAL, (13 + hour) * HOUR) for hour in range(240)]
    assert found[0] > 0.4
    assert found[-1] < 0.05


def test_few_members_prove_little() -> None:
    assert np.isnan(score(used_to(), MOVED, USUAL, 13 * HOUR, known=9))
    assert score(used_to(), MOVED, USUAL, 13 * HOUR, known=10) < score(used_to(), MOVED, USUAL, 13 * HOUR, known=1_000)


def test_a_new_group_has_no_past() -> None:
    models = OwnModels()
    for hour in range(6):
        assert np.isnan(score(models, USUAL if hour < 3 else MOVED, USUAL, hour * HOUR))


def test_dead_groups_are_forgotten_and_everyone_is_kept() -> None:
    models = used_to()
    models.forget({8})
    assert np.isnan(score(models, MOVED, USUAL, 13 * HOUR))
    assert len(models.dump().groups) == 2


def test_the_state_survives() -> None:
    models, again = used_to(), OwnModels()
    again.load(models.dump())
    assert score(again, MOVED, USUAL, 13 * HOUR) == score(models, MOVED, USUAL, 13 * HOUR)


def test_shares_are_of_the_members_whose_model_is_known() -> None:
    of = np.array([0, 0, 0, 1, 1, 2])
    choice = OwnModels().choice(of, np.array([5, 5, 6, 6, 0, 0], np.uint32), 3)
    assert choice.shares[:, :2] == pytest.approx(np.array([[2 / 3, 1 / 3], [0.0, 1.0], [0.0, 0.0]]))
    assert choice.known.tolist() == [3, 1, 0]


def test_models_beyond_those_told_apart_are_one() -> None:
    choice = OwnModels().choice(np.zeros(40, np.int64), np.arange(1, 41, dtype=np.uint32), 1)
    assert choice.shares.shape == (1, 17)
    assert choice.shares[0, 16] == pytest.approx(24 / 40)


def test_parts_that_do_not_fit_are_refused() -> None:
    state = used_to().dump()
    state.groups.append(9)
    with pytest.raises(ValueError, match="different lengths"):
        OwnModels().load(state)
