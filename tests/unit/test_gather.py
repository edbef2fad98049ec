"""Rows by their places, as NumPy itself would give them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_guard.records import ROW, put_rows, take_rows

SIZE = 50


def random_rows(seed: int, size: int = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, size * ROW.itemsize, np.uint8)
    return noise.view(ROW)


@given(st.integers(0, 99), st.lists(st.integers(0, SIZE - 1)))
def test_taking_is_indexing(seed: int, places: list[int]) -> None:
    rows, index = random_rows(seed), np.array(places, np.int64)
    assert take_rows(rows, index).tobytes() == rows[index].tobytes()


@given(st.integers(0, 99), st.lists(st.booleans(), min_size=SIZE, max_size=SIZE))
def test_a_mask_is_a_mask(seed: int, chosen: list[bool]) -> None:
    rows, mask = random_rows(seed), np.array(chosen)
    assert take_rows(rows, mask).tobytes() == rows[mask].tobytes()


@given(st.integers(0, 99), st.lists(st.integers(0, SIZE - 1)))
def test_putting_is_assignment(seed: int, places: list[int]) -> None:
    mine, theirs = random_rows(seed), random_rows(seed)
    index, values = np.array(places, np.int64), random_rows(seed + 1, len(places))
    put_rows(mine, index, values)
    theirs[index] = values
    assert mine.tobytes() == theirs.tobytes()


def test_what_was_taken_is_a_copy() -> None:
    rows = random_rows(1)
    before = rows.tobytes()
    take_rows(rows, np.arange(SIZE))["events"] += 1
    assert rows.tobytes() == before
