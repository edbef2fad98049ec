"""Rows of a structured array by their places.

NumPy copies a structured row field by field; as opaque bytes it goes many times as fast, with equal results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.void]


def take_rows(rows: Rows, places: NDArray[Any]) -> Rows:
    """A copy of some rows.

    Args:
        rows: contiguous, of any structured type without objects.
        places: indices, or a mask.
    """
    index = np.flatnonzero(places) if places.dtype == np.bool_ else places
    return np.asarray(np.take(_opaque(rows), index).view(rows.dtype))


def put_rows(rows: Rows, places: NDArray[np.int64], values: Rows) -> None:
    """Replace some rows in place; of equal places the last wins."""
    _opaque(rows)[places] = _opaque(np.ascontiguousarray(values))


def _opaque(rows: Rows) -> Rows:
    return np.asarray(rows.view(np.dtype((np.void, rows.dtype.itemsize))))
