"""Users of one program that has become popular: new accounts, one client, one template, perhaps one server.

People who bring their own keys to an app look like a campaign in everything that the app does for them. What they lack
is a common hand: each pays for itself, has mail of its own, and asks when it wants. So a group without any sign of one
hand has to be clearly suspicious.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ONE_HAND = (
    "even_counts",
    "one_hand",
    "flat_day",
    "regular_gaps",
    "billing_reuse",
    "disposable_mail",
    "quota_use",
    "cot_elicitation",
    "foreign_thinking_signature",
    "edited_context",
)
_ANY_SIGN = 1.0  # log-odds
_CLEARLY = 2.0  # log-odds beyond suspicion


def explained_by_an_app(terms: Mapping[str, Floats], excess: Floats) -> NDArray[np.bool_]:
    """Which suspicious groups may just use the same program: nothing speaks for one hand, and they are not clear.

    Args:
        terms: contributions of the signals, log-odds.
        excess: by how much each group's log-odds pass what makes it suspicious.
    """
    signs = sum(np.maximum(terms[name], 0.0) for name in _ONE_HAND)
    return np.asarray((signs < _ANY_SIGN) & (excess < _CLEARLY))
