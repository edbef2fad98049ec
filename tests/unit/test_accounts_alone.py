"""When a single account is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_guard.clusters.accounts_alone import AccountJudge
from stream_guard.policy import Accounts
from stream_guard.records import Flag, Kind
from tests.support.events import DAY, START, honest_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tests.support.events import Rows

POLICY = Accounts()
GREEDY = 7


def crowd(per_hour: float, *, elicits: bool = False) -> Rows:
    """People, and one account, a day old, that fills in one template so often."""
    rows, _ = honest_rows(400, 1)
    rows["values"][:, Kind.EMAIL_CLASS] = rows["values"][:, Kind.ASN_CLASS] = rows["values"][:, Kind.ORG] = 0
    rows["last_ts"] = START
    rows["rate_1h"][GREEDY] = rows["rate_1d"][GREEDY] = per_hour
    rows["created_at"][GREEDY], rows["first_ts"][GREEDY] = START - DAY, START - DAY / 2
    rows["evidence_events"][GREEDY], rows["prompts"][GREEDY], rows["template_share"][GREEDY] = 5_000, 5_000, 1.0
    rows["gap_var"][GREEDY], rows["quota"][GREEDY] = 0.3, 1_000.0
    rows["flags"][GREEDY] = 0
    rows["flags"][GREEDY, Flag.COT_ELICITATION] = 5_000 if elicits else 0
    return rows


def keys_of(rows: NDArray[np.int64]) -> list[str]:
    return [f"account-{row}" for row in rows.tolist()]


def reported(judge: AccountJudge, rows: Rows, turn: int) -> list[str]:
    found = judge.judge("default", rows, keys_of, START, turn, 0, 1, {})
    assert all(item.log_odds >= POLICY.fire_log_odds for item in found)
    return [key for item in found for key in item.keys]


EAGER, OVERWHELMING, CALM = crowd(1_000.0), crowd(20_000.0, elicits=True), crowd(5.0)
IT = [f"account-{GREEDY}"]


def test_an_account_must_stay_suspicious() -> None:
    judge = AccountJudge(POLICY)
    assert [reported(judge, EAGER, turn) for turn in range(POLICY.fire_evaluations + 1)] == [
        *([[]] * (POLICY.fire_evaluations - 1)), IT, IT,
    ]  # fmt: skip


def test_an_eager_hour_is_forgotten() -> None:
    judge = AccountJudge(POLICY)
    for turn in range(0, 40, POLICY.fire_evaluations):  # suspicious in all evaluations but every third
        assert [reported(judge, EAGER, turn + more) for more in range(POLICY.fire_evaluations - 1)] == [[], []]
        assert reported(judge, CALM, turn + POLICY.fire_evaluations - 1) == []


def test_overwhelming_evidence_need_not_stay() -> None:
    assert reported(AccountJudge(POLICY), OVERWHELMING, 0) == IT


def test_a_short_pause_ends_nothing_and_a_long_one_does() -> None:
    judge = AccountJudge(POLICY)
    assert reported(judge, OVERWHELMING, 0) == IT
    assert reported(judge, CALM, 3) == []
    assert reported(judge, EAGER, 6) == IT
    assert reported(judge, EAGER, 13) == []


@pytest.mark.parametrize("turns", [1, 2])
def test_the_streak_comes_back_as_it_was(turns: int) -> None:
    judge, again = AccountJudge(POLICY), AccountJudge(POLICY)
    for turn in range(turns):
        assert reported(judge, EAGER, turn) == []
    again.load(judge.dump())
    assert again.dump() == judge.dump() != {}
    assert reported(again, EAGER, turns) == reported(judge, EAGER, turns) == (IT if turns == 2 else [])


def test_nobody_else_is_reported() -> None:
    assert reported(AccountJudge(Accounts(fire_evaluations=1)), EAGER, 0) == IT
    assert reported(AccountJudge(Accounts(fire_evaluations=1)), CALM, 0) == []
