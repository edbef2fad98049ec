"""Honest kinds of customers: how much, when and what they ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from stream_guard.simulate.model import Floats


@dataclass(frozen=True, slots=True)
class Persona:
    """One kind of customer.

    Token numbers are means and deviations of the logarithm. Chat: fitted to the one-hour conversation trace of
    Azure LLM inference 2023 (input 6.6/1.0, output 5.0/0.9). Coding: its code trace (input 7.0/1.4), with longer
    answers than the completions in there. Rate deviations: people 1.2 to 1.4; services a Pareto tail of exponent
    0.9 (ServeGen clients: deviation of the logarithm 1.6 to 2.7, Hill exponent 0.6 to 1.1 in four of five pools).
    """

    name: str
    share: float
    rate_per_day: float
    rate_sigma: float
    turns: float
    gap_seconds: float
    hours: str
    weekend: float
    capabilities: tuple[float, ...]
    models: tuple[float, ...]
    tokens_in: tuple[float, float]
    tokens_out: tuple[float, float]
    kinds_first: tuple[float, ...]
    kinds_later: tuple[float, ...]


_HOURS: Final = {
    "evening": (
        2, 1, 0.6, 0.4, 0.3, 0.5, 1.2, 2.2, 3, 3.4, 3.6, 3.8,
        4, 4, 3.9, 4, 4.3, 4.8, 5.4, 6.2, 6.8, 6.4, 5, 3.3,
    ),
    "office": (
        0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.6, 2, 6, 9, 9.5, 8.5,
        5.5, 7.5, 9, 8.6, 7.4, 4.6, 1.6, 0.8, 0.6, 0.4, 0.3, 0.2,
    ),
    "coder": (
        1.6, 1, 0.6, 0.4, 0.3, 0.3, 0.6, 1.4, 3.6, 6.6, 7.6, 7.2,
        5, 6.4, 7.8, 7.6, 7, 5.4, 4, 3.8, 4.2, 4.2, 3.6, 2.6,
    ),
    "student": (
        3, 1.8, 0.9, 0.5, 0.3, 0.3, 0.7, 1.6, 3, 4.4, 5, 5,
        4, 4.6, 5.4, 5.6, 5.4, 5, 5, 5.8, 6.6, 7, 6.2, 4.6,
    ),
    "users": (
        3, 2.4, 2, 1.8, 1.8, 2, 2.6, 3.4, 4.6, 5.4, 5.8, 5.8,
        5.6, 5.6, 5.8, 5.8, 5.6, 5.4, 5.4, 5.4, 5.2, 4.8, 4.2, 3.6,
    ),
    "flat": (1.0,) * 24,
}  # fmt: skip
PROFILES: Final[dict[str, Floats]] = {name: np.array(row) / sum(row) for name, row in _HOURS.items()}

# capabilities: chat, coding, agentic, reasoning, tool_use, vision; models: large, mid, small, reason, next (unreleased)
# kinds: chat, short, follow-up, code, agent, support, maths, own template
PERSONAS: Final = (
    Persona("home", 0.40, 0.7, 1.3, 3.2, 70, "evening", 1.15,
            (0.84, 0.02, 0, 0.06, 0.01, 0.07), (0.25, 0.45, 0.25, 0.05, 0), (6.2, 1.0), (5.1, 0.9),
            (0.84, 0.12, 0, 0.02, 0, 0, 0.02, 0), (0.36, 0.12, 0.5, 0.02, 0, 0, 0, 0)),
    Persona("student", 0.13, 1.2, 1.2, 4.0, 60, "student", 0.85,
            (0.6, 0.16, 0, 0.2, 0, 0.04), (0.25, 0.45, 0.1, 0.2, 0), (6.3, 0.9), (5.4, 0.8),
            (0.62, 0.06, 0, 0.14, 0, 0, 0.18, 0), (0.3, 0.1, 0.46, 0.08, 0, 0, 0.06, 0)),
    Persona("office", 0.25, 1.6, 1.2, 2.8, 90, "office", 0.1,
            (0.78, 0.04, 0.04, 0.08, 0.03, 0.03), (0.35, 0.45, 0.15, 0.05, 0), (6.7, 1.0), (5.2, 0.9),
            (0.82, 0.05, 0, 0.03, 0, 0, 0, 0.1), (0.36, 0.08, 0.53, 0.03, 0, 0, 0, 0)),
    Persona("developer", 0.13, 4.0, 1.4, 9.0, 16, "coder", 0.35,
            (0.05, 0.52, 0.28, 0.05, 0.1, 0), (0.5, 0.3, 0.1, 0.1, 0), (8.1, 1.2), (5.3, 1.0),
            (0.05, 0.02, 0, 0.83, 0.1, 0, 0, 0), (0.02, 0.04, 0.1, 0.34, 0.5, 0, 0, 0)),
    Persona("service", 0.03, 110.0, 0.0, 1.0, 5, "users", 0.75,
            (0.5, 0.12, 0.1, 0.1, 0.14, 0.04), (0.15, 0.35, 0.45, 0.05, 0), (6.9, 1.1), (4.6, 1.0),
            (0, 0, 0, 0, 0, 0.04, 0, 0.96), (0, 0, 0, 0, 0, 0.04, 0, 0.96)),
    Persona("batch", 0.01, 60.0, 0.6, 14.0, 2, "flat", 0.8,
            (0.3, 0.2, 0.05, 0.35, 0.1, 0), (0.2, 0.3, 0.4, 0.1, 0), (6.6, 0.8), (5.0, 0.8),
            (0, 0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 0, 1)),
    Persona("trial", 0.05, 0.6, 1.4, 4.0, 45, "evening", 1.0,
            (0.7, 0.14, 0.04, 0.08, 0.02, 0.02), (0.4, 0.4, 0.1, 0.1, 0), (6.0, 0.9), (5.2, 0.9),
            (0.7, 0.18, 0, 0.08, 0, 0, 0.04, 0), (0.4, 0.14, 0.4, 0.06, 0, 0, 0, 0)),
)  # fmt: skip
INDEX: Final = {persona.name: number for number, persona in enumerate(PERSONAS)}
