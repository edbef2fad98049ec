"""What the marks of all partitions ask for."""

from __future__ import annotations

from stream_guard.app.event_time import Mark, Pace, Pacing, pace

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
