from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from stream_guard.decode.times import parse_time, parse_times

GOOD: list[tuple[int | str, float]] = [
    ("2025-11-24T15:00:00Z", 1_763_996_400.0),
    ("2025-11-24t15:00:00z", 1_763_996_400.0),
    ("2025-11-24 15:00:00Z", 1_763_996_400.0),
    ("2025-11-24T15:00:00.5Z", 1_763_996_400.5),
    ("2025-11-24T15:00:00.123456789Z", 1_763_996_400.123456),
    ("2025-11-24T17:30:00+02:30", 1_763_996_400.0),
    ("2024-02-29T00:00:00Z", 1_709_164_800.0),
    ("2000-01-01T00:00:00Z", 946_684_800.0),
    ("2100-12-31T23:59:59.999Z", 4_133_980_799.999),
    (1_763_996_400_250, 1_763_996_400.25),
]
BAD: list[int | str] = [
    "",
    "now",
    "2025-11-24",
    "2025-11-24T15:00:00",
    "2025-02-29T00:00:00Z",
    "2025-13-01T00:00:00Z",
    "2025-00-01T00:00:00Z",
    "2025-01-00T00:00:00Z",
    "2025-11-24T24:30:00Z",
    "2025-11-24T15:60:00Z",
    "2025-11-24T15:00:60Z",
    "2025-11-24T15:00:00.Z",
    "2025-11-24T15:00:00.12xZ",
    "2025-11-24T15:00:00.1/3Z",
    "20251124T150000.000000Z",
    "2025-W48-1T15:00:00.000Z",
    "2025-11-24T15:00:0\u0660Z",
    "1999-12-31T23:59:59Z",
    "2101-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2" * 70,
    0,
    -1,
    10**40,
]


@pytest.mark.parametrize(("value", "seconds"), GOOD)
def test_times(value: int | str, seconds: float) -> None:
    assert parse_time(value) == seconds
    assert parse_times([value] * 20).tolist() == [seconds] * 20


@pytest.mark.parametrize("value", BAD)
def test_no_times(value: int | str) -> None:
    assert parse_time(value) is None
    assert np.isnan(parse_times([value] * 20)).all()


@pytest.mark.parametrize("value", [None, True, 1.5, b"2025-11-24T15:00:00Z", []])
def test_other_types_are_no_times(value: object) -> None:
    assert parse_time(value) is None


def test_forms_mixed_in_one_batch_keep_their_places() -> None:
    values = [value for value, _ in GOOD] * 10 + BAD
    parsed = parse_times(values)
    assert parsed[: 10 * len(GOOD)].tolist() == [seconds for _, seconds in GOOD] * 10
    assert np.isnan(parsed[10 * len(GOOD) :]).all()


def test_every_day_of_the_range() -> None:
    days = [f"{year}-{month:02d}-{day:02d}T12:34:56.789Z" for year in range(2000, 2101) for month in range(1, 13)
            for day in (1, 28, 29, 30, 31)]  # fmt: skip
    for text, seconds in zip(days, parse_times(days).tolist(), strict=True):
        try:
            wanted = datetime.fromisoformat(text).timestamp()
        except ValueError:
            assert np.isnan(seconds)
        else:
            assert seconds == wanted
