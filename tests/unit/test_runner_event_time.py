"""What the marks of all partitions ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from stream_guard.app.event_time import Mark, Pace, Pacing, pace
from stream_guard.app.health import NullMetrics
from stream_guard.app.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_guard.app.partitions import Partitions

PACING = Pacing(idle_seconds=2.0, idle_close_seconds=5.0, max_lead_seconds=600.0, lateness_seconds=5.0)
NOW = 1_000.0


def test_no_marks_ask_for_nothing() -> None:
    assert pace({}, 2, NOW, PACING) == Pace(None, None)


def test_idle_partitions_follow_the_greatest_and_the_fast_wait_for_the_slowest() -> None:
    marks = {
        "accounts:0": Mark(5_000.0, None, NOW),
        "accounts:1": Mark(9_000.0, None, NOW),
        "accounts:2": Mark(100.0, NOW - 3, NOW),
    }
    assert pace(marks, 3, NOW, PACING) == Pace(8_995.0, 5_600.0)


def test_when_all_are_idle_long_enough_the_open_epoch_closes_too() -> None:
    marks = {"accounts:0": Mark(5_000.0, NOW - 9, NOW), "accounts:1": Mark(None, NOW - 6, NOW)}
    assert pace(marks, 2, NOW, PACING) == Pace(5_010.0, None)
    assert pace(marks, 2, NOW - 2, PACING) == Pace(4_995.0, None)


def test_a_partition_that_nobody_speaks_for_keeps_the_epoch_open() -> None:
    marks = {"accounts:0": Mark(5_000.0, NOW - 9, NOW)}
    assert pace(marks, 2, NOW, PACING) == Pace(4_995.0, None)
    stale = {**marks, "accounts:1": Mark(4_000.0, NOW - 900, NOW - 800)}
    assert pace(stale, 2, NOW, PACING) == Pace(4_995.0, None)


def test_marks_survive_the_board() -> None:
    mark = Mark(1.5, None, 3.0)
    assert Mark.decode(mark.encode()) == mark
    for rubbish in (b"", b"{}", b"[1]", b'["a",null,1]', b"[1,2,null]"):
        assert Mark.decode(rubbish) is None


class _Board:
    """What another worker wrote, on a clock of its own."""

    def __init__(self) -> None:
        self.marks: dict[str, bytes] = {}

    async def exchange(self, mine: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**self.marks, **mine}


@pytest.mark.parametrize("skew_seconds", [-86_400.0, -31.0, 0.0, 31.0, 86_400.0])
async def test_clocks_of_other_workers_may_be_wrong(skew_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark is fresh while it changes, and idle for as long as its writer says."""
    clock = [NOW]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    board, idle = _Board(), SimpleNamespace(runners={}, health=SimpleNamespace(nodes={}, degraded=False))
    pacer = Pacer(
        cast("Partitions", idle),
        paced_stages=frozenset({"accounts"}),
        expected=1,
        board=board,
        pacing=PACING,
        metrics=NullMetrics(),
    )
    for second in range(9):
        clock[0] = NOW + second
        theirs = clock[0] + skew_seconds
        board.marks["accounts:0"] = Mark(5_000.0, theirs - second, theirs).encode()
        await pacer.tick()
        assert pacer._marks["accounts:0"] == Mark(5_000.0, NOW, clock[0])
    assert pace(pacer._marks, 1, clock[0], PACING) == Pace(5_010.0, None)
    clock[0] += 31.0  # its worker has died
    await pacer.tick()
    assert pace(pacer._marks, 1, clock[0], PACING) == Pace(4_995.0, None)
