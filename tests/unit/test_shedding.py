"""Too much comes: suspects are read whole, of the others always the same accounts, and what was left out is counted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_guard.app.shedding import Shedder
from stream_guard.decode import Decoder
from stream_guard.errors import StateUnavailableError
from stream_guard.nodes import AccountsNode
from stream_guard.policy import Policy
from stream_guard.ports import Envelope, Topic
from tests.support.events import START, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KEYS = [f"account-{number}" for number in range(2_000)]


class _Suspects:
    def __init__(self, *answers: frozenset[str] | None) -> None:
        self._answers = list(answers)

    async def members(self) -> frozenset[str]:
        answer = self._answers.pop(0)
        if answer is None:
            raise StateUnavailableError("away")
        return answer


async def refreshed(shedder: Shedder, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let it ask for suspects so many times."""
    asked = 0

    async def sleep(_: float) -> None:
        nonlocal asked
        asked += 1
        if asked == times:
            raise asyncio.CancelledError

    monkeypatch.setattr("stream_guard.app.shedding.pause", sleep)
    with suppress(asyncio.CancelledError):
        await shedder.run()


def kept(shedder: Shedder, partition: int = 0, keys: Sequence[str] = KEYS) -> NDArray[np.bool_]:
    mask = shedder.keep(partition, keys)
    assert mask is not None
    return mask


def test_everything_is_read_until_the_lag_passes_the_bound_and_again_when_it_has_halved() -> None:
    shedder = Shedder(1_000, 0.1, _Suspects())
    shedder.observe_lag(Topic.QUERIES, 0, 1_000)
    assert shedder.keep(0, KEYS) is None
    shedder.observe_lag(Topic.QUERIES, 0, 1_001)
    assert not kept(shedder).all()
    assert shedder.keep(1, KEYS) is None, "another partition keeps up"
    shedder.observe_lag(Topic.QUERIES, 0, 501)
    assert not kept(shedder).all()
    shedder.observe_lag(Topic.QUERIES, 0, 500)
    assert shedder.keep(0, KEYS) is None


def test_lag_between_the_stages_sheds_nothing() -> None:
    shedder = Shedder(1_000, 0.1, _Suspects())
    shedder.observe_lag(Topic.DELTAS, 0, 10_000)
    assert shedder.keep(0, KEYS) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_of_accounts_and_always_the_same_ones(share: float) -> None:
    shedder = Shedder(1, share, _Suspects())
    shedder.observe_lag(Topic.QUERIES, 0, 2)
    mask = kept(shedder)
    assert mask.mean() == pytest.approx(share, abs=0.03)
    assert (kept(shedder, keys=KEYS[::-1])[::-1] == mask).all()
    twice = kept(shedder, keys=[*KEYS, *KEYS])
    assert (twice == np.concatenate((mask, mask))).all()


async def test_suspects_are_read_also_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shedder = Shedder(1, 0.0, _Suspects(frozenset(KEYS[:3]), None))
    shedder.observe_lag(Topic.QUERIES, 0, 2)
    assert not kept(shedder).any()
    await refreshed(shedder, monkeypatch, times=2)
    assert kept(shedder).nonzero()[0].tolist() == [0, 1, 2]


def test_a_node_reads_what_is_kept_and_counts_the_rest() -> None:
    def keep(partition: int, keys: Sequence[str]) -> NDArray[np.bool_]:
        assert partition == 3
        return np.array([key == "suspect" for key in keys])

    node = AccountsNode(3, Policy(), 1, Decoder(), keep=keep)
    names = ("suspect", "other", "suspect", "third")
    values = [record(name, START + number, str(number)) for number, name in enumerate(names)]
    prepared = node.decode(Envelope(Topic.QUERIES, 3, range(4), values), latest_ts=START + 60.0)
    assert prepared.missing == [b"asuspect"]
    assert prepared.decoded.batch_index.tolist() == [0, 2]
    assert node.process(prepared).counts["shed"] == 2
    node.idle(START + 120.0)
    assert dict(zip(node.stage.table.keys, node.stage.table.rows["events"], strict=False)) == {"suspect": 2}
    assert node.checkpoint().positions == {Topic.QUERIES: 4}
