"""When honest accounts speak: day and week rhythm, sessions, turns, bursts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate.model import HOUR, MINUTE, Bools, Floats, Ints, Rng
from stream_guard.simulate.personas import INDEX, PERSONAS, PROFILES

if TYPE_CHECKING:
    from stream_guard.simulate.cohort import Cohort
    from stream_guard.simulate.world import World

# Shape of the day-to-day variation: many customers are silent on most days (ServeGen: the median client is
# active in 7 to 41 % of its ten-minute windows, depending on the pool).
_DAY_SHAPE: Final = 0.7


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times of honest requests: row of the cohort, session number, turn within the session."""

    ts: Ints
    row: Ints
    session: Ints
    turn: Ints


def _first_hours(rng: Rng, persona: Ints) -> Floats:
    """Draw hours of the local day, in [0, 24), from each persona's profile."""
    hours = np.zeros(len(persona))
    for number, kind in enumerate(PERSONAS):
        chosen = persona == number
        count = int(chosen.sum())
        if count:
            hour = rng.choice(24, size=count, p=PROFILES[kind.hours])
            minute = rng.random(count)
            if kind.name == "batch":  # cron: at the full hour, or a quarter of it, give or take seconds
                minute = rng.choice([0.0, 0.0, 0.0, 0.25, 0.5], size=count) + rng.random(count) * 0.006
            hours[chosen] = hour + minute
    return hours


def _weekday_factor(persona: Ints, day: Ints) -> Floats:
    weekend = np.array([kind.weekend for kind in PERSONAS])
    friday = np.where(day % 7 == 4, 0.9, 1.0)
    factor: Floats = np.where(day % 7 >= 5, weekend[persona], friday)
    return factor


def timeline(world: World, cohort: Cohort, rng: Rng, lengths: Ints | None = None) -> Timeline:
    """Draw the requests of a cohort within the simulated time.

    Args:
        world: start and end of time.
        cohort: who.
        rng: where choices come from.
        lengths: observed lengths of conversations, to draw from; None draws them from the personas.

    Returns:
        Times, ordered by cohort row, session and turn.
    """
    local_days = np.arange(-1, int(np.ceil(world.options.days)) + 1, dtype=np.int64)
    turns = np.array([kind.turns for kind in PERSONAS])[cohort.persona]
    lively = rng.gamma(_DAY_SHAPE, 1.0 / _DAY_SHAPE, size=(len(cohort), len(local_days)))
    steady = (cohort.persona == INDEX["service"]) | (cohort.persona == INDEX["batch"])
    lively[steady] = rng.gamma(12.0, 1.0 / 12.0, size=(int(steady.sum()), len(local_days)))
    week = np.stack([_weekday_factor(cohort.persona, np.full(len(cohort), day)) for day in local_days.tolist()], axis=1)
    sessions = rng.poisson((cohort.rate / turns)[:, None] * lively * week)
    silent = np.flatnonzero(sessions[:, 1:-1].sum(axis=1) == 0)  # a population is counted by who shows up
    sessions[silent, rng.integers(1, max(2, sessions.shape[1] - 1), size=len(silent))] = 1
    row, which = np.nonzero(sessions)
    counts = sessions[row, which]
    row = np.repeat(row, counts)
    day = np.repeat(local_days[which], counts)
    persona = cohort.persona[row]
    begin = world.start + ((day * 24 + _first_hours(rng, persona) - cohort.zone[row]) * HOUR).astype(np.int64)
    begin += rng.integers(0, 1000, size=len(begin))
    begin = _clump(rng, begin, persona == INDEX["service"])
    inside = (begin >= np.maximum(world.start, cohort.starts[row])) & (begin < world.end)
    row, begin, persona = row[inside], begin[inside], persona[inside]
    if lengths is None:
        length = np.minimum(rng.geometric(1.0 / turns[row]), 120)
    else:
        length = lengths[rng.integers(len(lengths), size=len(row))]
    length = np.where(turns[row] <= 1.0, 1, length)
    return _turns(world, rng, (row, begin, persona, length))


def _clump(rng: Rng, begin: Ints, service: Bools) -> Ints:
    """Draw a part of service requests towards shared minutes, which makes them bursty (ServeGen: median CV 1.2)."""
    pulled = service & (rng.random(len(begin)) < 0.25)
    clumped = begin // (20 * MINUTE) * (20 * MINUTE) + rng.integers(0, MINUTE, size=len(begin))
    result: Ints = np.where(pulled, clumped, begin)
    return result


def _turns(world: World, rng: Rng, sessions: tuple[Ints, Ints, Ints, Ints]) -> Timeline:
    row, begin, persona, length = sessions
    total = int(length.sum())
    session = np.repeat(np.arange(len(row), dtype=np.int64), length)
    first = np.cumsum(length) - length
    turn = np.arange(total, dtype=np.int64) - first[session]
    median = np.array([kind.gap_seconds for kind in PERSONAS])[persona][session]
    gap = (median * np.exp(rng.normal(0.0, 1.0, size=total)) * 1000).astype(np.int64) + 700
    gap[turn == 0] = 0
    elapsed = np.cumsum(gap)
    ts = begin[session] + elapsed - elapsed[first][session] if total else begin[session]
    keep = ts < world.end
    return Timeline(ts[keep], row[session][keep], session[keep], turn[keep])
