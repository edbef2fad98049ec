"""How a relay spreads work over a pool of accounts.

Source: defaults of an open-source relay as listed in the scenarios: least recently used account first, a session
sticks to its account for up to an hour, parks of 60 s (503), 600 s (529) and 1,800 s (401/403), work of a parked
account goes to a sibling at once, one lone probe when the park ends, 200 ms between messages.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream_guard.simulate.model import DAY, HOUR, SECOND, Floats, Ints, Rng

STICKY: Final = HOUR
MESSAGE_GAP: Final = 200
PARKS: Final = {503: 60 * SECOND, 529: 600 * SECOND, 401: 1800 * SECOND, 403: 1800 * SECOND}
# Chance per request; overload answers are common under bulk load, key errors rare.
_FAILURES: Final = ((503, 0.004), (529, 0.002), (403, 0.0002), (401, 0.0002))


@dataclass(frozen=True, slots=True)
class Relay:
    """How the pool is driven.

    ``per_session`` is the mean number of requests in a sticky session, ``gap_seconds`` the median pause between
    them, ``jitter`` the relative spread of both.
    """

    per_session: float
    gap_seconds: float
    jitter: float = 0.35
    failures: bool = True


@dataclass(frozen=True, slots=True)
class Shifts:
    """When each account of the pool is there: from its first to its last millisecond."""

    begins: Ints
    ends: Ints


@dataclass(frozen=True, slots=True)
class Work:
    """Requests of a relay: time, position in the pool, session, status, place within the session."""

    ts: Ints
    member: Ints
    session: Ints
    status: Ints
    turn: Ints


class _Queue:
    """Accounts by last use, with late comers, leavers and parked ones."""

    def __init__(self, shifts: Shifts) -> None:
        self._ends: list[int] = shifts.ends.tolist()
        order = np.argsort(shifts.begins, kind="stable").tolist()
        self._arrivals: deque[tuple[int, int]] = deque((int(shifts.begins[i]), i) for i in order)
        self._ready: deque[int] = deque()
        self._parked: list[tuple[int, int]] = []
        self._free_at: list[int] = shifts.begins.tolist()

    def take(self, now: int) -> int | None:
        """Take the least recently used account that may work now."""
        while self._arrivals and self._arrivals[0][0] <= now:
            self._ready.appendleft(self._arrivals.popleft()[1])
        while self._parked and self._parked[0][0] <= now:
            self._ready.appendleft(heapq.heappop(self._parked)[1])
        while self._ready:
            member = self._ready.popleft()
            if self._free_at[member] > now:  # a longer session looked ahead of the one that asks now
                heapq.heappush(self._parked, (self._free_at[member], member))
            elif self._ends[member] > now:
                return member
        return None

    def give_back(self, member: int) -> None:
        """Put an account at the end of the queue."""
        self._ready.append(member)

    def park(self, member: int, until: int) -> None:
        """Keep an account out until a time."""
        self._free_at[member] = until
        heapq.heappush(self._parked, (until, member))


def _draw_sessions(rng: Rng, relay: Relay, starts: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Draw sticky sessions: flat times and statuses, first row and length of each session."""
    spread = np.sqrt(relay.per_session * relay.jitter)
    length = np.maximum(1, np.rint(rng.normal(relay.per_session, spread, size=len(starts)))).astype(np.int64)
    first = np.cumsum(length) - length
    session = np.repeat(np.arange(len(starts)), length)
    status = np.full(len(session), 200, dtype=np.int64)
    if relay.failures:
        codes = np.array([code for code, _ in _FAILURES] + [200], dtype=np.int64)
        chance = np.array([share for _, share in _FAILURES])
        status = rng.choice(codes, size=len(session), p=np.append(chance, 1 - chance.sum()))
    gap: Floats = relay.gap_seconds * SECOND * np.exp(rng.normal(0, 2 * relay.jitter, size=int(length.sum())))
    steps = gap.astype(np.int64) + MESSAGE_GAP
    after_failure = np.flatnonzero(status[:-1] != 200) + 1  # a sibling takes over at once
    steps[after_failure] = MESSAGE_GAP + rng.integers(20, 900, size=len(after_failure))
    steps[first] = 0
    elapsed = np.cumsum(steps)
    times = starts[session] + elapsed - elapsed[first][session]
    return times, status, first, length


def run_relay(rng: Rng, relay: Relay, starts: Ints, shifts: Shifts) -> Work:
    """Assign the sessions of a relay to the accounts of its pool.

    Args:
        rng: where choices come from.
        relay: how the pool is driven.
        starts: sorted start times of sessions.
        shifts: when each account is there.

    Returns:
        The requests, failed ones and probes included, ordered by session.
    """
    times, status, first, length = _draw_sessions(rng, relay, starts)
    member = np.empty(len(times), dtype=np.int64)
    queue = _Queue(shifts)
    ends: list[int] = shifts.ends.tolist()
    troubled = np.zeros(len(starts), dtype=np.bool_)
    troubled[np.repeat(np.arange(len(starts)), length)[status != 200]] = True
    last = times[first + length - 1] if len(starts) else times
    probes: list[tuple[int, int, int]] = []
    for number, (begin, row, count, trouble, final) in enumerate(
        zip(starts.tolist(), first.tolist(), length.tolist(), troubled.tolist(), last.tolist(), strict=True)
    ):
        holder = queue.take(begin)
        if holder is None:
            member[row : row + count] = -1
            continue
        if not trouble and ends[holder] > final and final - begin < STICKY:
            member[row : row + count] = holder
            queue.give_back(holder)
            continue
        held_since = begin
        alive = True
        for i in range(row, row + count):
            now = int(times[i])
            if not alive or ends[holder] <= now or now - held_since > STICKY:
                if alive:
                    queue.give_back(holder)
                sibling = queue.take(now)
                if sibling is None:
                    member[i] = -1
                    alive = False
                    continue
                holder, held_since, alive = sibling, now, True
            member[i] = holder
            park = PARKS.get(int(status[i]))
            if park is not None:
                queue.park(holder, now + park)
                probes.append((now + park + int(rng.integers(50, 1500)), holder, number))
                alive = False
        if alive:
            queue.give_back(holder)
    return _finish(times, member, status, probes, (first, length, ends))


def _finish(
    times: Ints,
    member: Ints,
    status: Ints,
    probes: list[tuple[int, int, int]],
    layout: tuple[Ints, Ints, list[int]],
) -> Work:
    first, length, ends = layout
    session = np.repeat(np.arange(len(first), dtype=np.int64), length)
    turn = np.arange(len(times), dtype=np.int64) - first[session]
    done = member >= 0
    living = [probe for probe in probes if ends[probe[1]] > probe[0]]
    extra = np.array(living, dtype=np.int64).reshape(-1, 3)
    lone = len(first) + np.arange(len(extra), dtype=np.int64)
    return Work(
        ts=np.concatenate([times[done], extra[:, 0]]),
        member=np.concatenate([member[done], extra[:, 1]]),
        session=np.concatenate([session[done], lone]),
        status=np.concatenate([status[done], np.full(len(extra), 200, dtype=np.int64)]),
        turn=np.concatenate([turn[done], np.zeros(len(extra), dtype=np.int64)]),
    )


def session_starts(rng: Rng, start: int, end: int, requests: float, relay: Relay) -> Ints:
    """Draw session starts for a pool that works round the clock.

    Args:
        rng: where choices come from.
        start: first millisecond.
        end: first millisecond after.
        requests: how many requests are wanted in that time.
        relay: how the pool is driven.

    Returns:
        Sorted times.
    """
    count = max(1, round(requests / relay.per_session))
    even = (np.arange(count) + rng.random(count) * (0.5 + relay.jitter)) / count
    times = start + (even * (end - start)).astype(np.int64)
    times += (0.05 * DAY * np.sin(times / DAY * 2 * np.pi) / (2 * np.pi)).astype(np.int64)
    drawn: Ints = np.sort(np.clip(times, start, max(start, end - 1)))
    return drawn
