"""What honest accounts ask: from times to full columns of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stream_guard.simulate.model import Block, Floats, Ints, Rng
from stream_guard.simulate.personas import INDEX, PERSONAS
from stream_guard.simulate.prompts import OWN, PromptBook
from stream_guard.simulate.schedule import Timeline, timeline

if TYPE_CHECKING:
    from stream_guard.simulate.cohort import Cohort
    from stream_guard.simulate.world import World

SESSION_SPAN: Final = 1 << 32
_LIMITS: Final = np.array([-1, 1024, 4096, 8192], dtype=np.int64)


def choose(weights: Floats, rows: Ints, uniform: Floats) -> Ints:
    """Pick a column per row of a weight table.

    Args:
        weights: table of shares, one row per kind.
        rows: which row of the table applies to each draw.
        uniform: numbers in [0, 1).

    Returns:
        The chosen column for each draw.
    """
    cumulated = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    picked: Ints = np.minimum((uniform[:, None] >= cumulated[rows]).sum(axis=1), weights.shape[1] - 1).astype(np.int64)
    return picked


def _table(name: str) -> Floats:
    return np.array([getattr(kind, name) for kind in PERSONAS], dtype=np.float64)


def _lognormal(rng: Rng, table: Floats, persona: Ints) -> Ints:
    drawn = np.exp(rng.normal(table[persona, 0], table[persona, 1]))
    clipped: Ints = np.clip(drawn, 1, 180_000).astype(np.int64)
    return clipped


def _sources(rng: Rng, cohort: Cohort, times: Timeline, language: Ints) -> tuple[Ints, Ints]:
    persona = cohort.persona[times.row]
    first = choose(_table("kinds_first"), persona, rng.random(len(persona)))
    later = choose(_table("kinds_later"), persona, rng.random(len(persona)))
    kind = np.where(times.turn == 0, first, later)
    own = cohort.own[times.row]
    kind = np.where((kind == OWN) & (own < 0), 0, kind)
    standard = np.array([[PromptBook.standard(k, lang) for lang in range(16)] for k in range(OWN)], dtype=np.int64)
    source = np.where(kind == OWN, own, standard[np.minimum(kind, OWN - 1), language])
    key = rng.integers(0, 1 << 62, size=len(persona))
    resent = np.zeros(len(persona), dtype=np.bool_)
    resent[1:] = (rng.random(len(persona)) < 0.03)[1:] & (times.row[1:] == times.row[:-1])
    before = np.arange(len(persona)) - resent
    return source[before], key[before]


def statuses(rng: Rng, count: int, limited: float) -> Ints:
    """Draw HTTP statuses.

    Args:
        rng: where choices come from.
        count: how many.
        limited: share of 429.

    Returns:
        Statuses, mostly 200.
    """
    codes = np.array([200, 429, 500, 529, 503, 400], dtype=np.int64)
    shares = np.array([1 - limited - 0.011, limited, 0.002, 0.003, 0.002, 0.004])
    drawn: Ints = rng.choice(codes, size=count, p=shares)
    return drawn


def latencies(rng: Rng, tokens_out: Ints) -> Ints:
    """Draw latencies: a start-up time and about 14 ms per output token.

    Args:
        rng: where choices come from.
        tokens_out: tokens of each answer.

    Returns:
        Milliseconds.
    """
    drawn: Ints = (np.exp(rng.normal(6.0, 0.5, size=len(tokens_out))) + 14 * tokens_out).astype(np.int64)
    return drawn


def honest_block(world: World, cohort: Cohort, rng: Rng, times: Timeline | None = None) -> Block:
    """Simulate a cohort.

    Args:
        world: tables that indices point into.
        cohort: who.
        rng: where choices come from.
        times: when they speak; None draws it from their personas.

    Returns:
        Their events.
    """
    times = timeline(world, cohort, rng) if times is None else times
    row, count = times.row, len(times.ts)
    persona = cohort.persona[row]
    sessions = int(times.session.max()) + 1 if count else 0
    roll = rng.random((5, sessions))[:, times.session] if count else np.zeros((5, 0))
    away = roll[0] < cohort.away_share[row]
    language = np.where(roll[1] < cohort.english[row], 0, cohort.language[row])
    fixed = (persona == INDEX["service"]) | (persona == INDEX["batch"])
    taste = cohort.taste[row]
    capability = choose(_table("capabilities"), persona, np.where(fixed, taste, roll[2]))
    loyal = roll[3] < 0.85
    model = choose(_table("models"), persona, np.where(loyal, (taste * 7.31) % 1.0, roll[4]))
    source, key = _sources(rng, cohort, times, language)
    tokens_in = _lognormal(rng, _table("tokens_in"), persona)
    tokens_in = np.minimum((tokens_in * (1 + 0.25 * np.minimum(times.turn, 20))).astype(np.int64), 190_000)
    tokens_out = _lognormal(rng, _table("tokens_out"), persona)
    status = statuses(rng, count, 0.012)
    tokens_out = np.where(status == 200, np.minimum(tokens_out, 16_000), 0)
    flags = (rng.random(count) < 0.008).astype(np.int64)
    flags |= (rng.random(count) < 0.003).astype(np.int64) * 2
    flags |= ((rng.random(count) < 0.004) & (capability == 2)).astype(np.int64) * 8
    agentic = (capability == 2) | (capability == 4)
    return Block(
        ts=times.ts,
        account=cohort.account[row],
        session=times.session + int(rng.integers(1 << 28)) * SESSION_SPAN,
        address=np.where(away, cohort.away[row], cohort.home[row]),
        client=np.where(away, cohort.second_client[row], cohort.client[row]),
        model=model,
        capability=capability,
        language=language,
        source=source,
        key=key,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        max_tokens=_LIMITS[((taste * 97) % 1.0 * 4).astype(np.int64)],
        tools=np.where(agentic, 3 + ((taste * 53) % 1.0 * 18).astype(np.int64), 0),
        system=cohort.system[row],
        status=status,
        latency=latencies(rng, tokens_out),
        flags=flags,
    )
