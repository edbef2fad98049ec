"""What happens to decisions, as it happens, without a gap: the stream of the API and of `decisions follow`.

What it promises:

- Every change of a tenant's decisions comes as one `decision` event with the whole decision and a position, in the
  order in which the changes were stored. An event's position is greater than that of the one before.
- Going on from a position brings every later change exactly once. A worker that repeats its work after a crash adds
  no event for what was stored already.
- Where a position is unknown or too old (more than 10,000 changes ago), or none is given, a `resync` event comes:
  forget all that was known. Then each standing decision (held or active), without a position, and `synced` with the
  position from which changes follow. A change that was stored meanwhile may come in the list and again as an event; the
  whole decision is in both, so taking the later one is right. The same happens to a reader that falls behind that far.
- `kill_switch` says whether every limit is stopped: at the start, and when that changes.
- Decisions end by themselves at `expires_at`; a reader holds to it, should no worker be left to say so.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from stream_guard.app.operations import Operations
    from stream_guard.records import Json

POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `position` is empty where there is none to go on from, `name` where nothing happened for a while."""

    name: str
    data: Json
    position: str = ""


IDLE: Final = Event("", {})


async def follow(
    operations: Operations, tenant: str, position: str, turn: AbstractAsyncContextManager[object] | None = None
) -> AsyncGenerator[Event]:
    """Events for ever; `IDLE` at least once in `POLL_SECONDS` while nothing happens.

    Args:
        operations: what is going on.
        tenant: whose decisions.
        position: of the last event that was seen; empty for none.
        turn: taken for each look at Redis.

    Raises:
        StateUnavailableError: Redis does not answer; go on from the last position.
    """
    turn = nullcontext() if turn is None else turn
    engaged: bool | None = None
    while True:
        async with turn:
            changes = await operations.decision_changes(tenant, position)
            stopped = await operations.kill_switch() is not None
        if changes is None:
            async with turn:
                end, standing = await operations.standing_decisions(tenant)
            yield Event("resync", {"reason": "a position that is unknown or too old" if position else "a new reader"})
            for one in standing:
                yield Event("decision", one)
            yield Event("synced", {"decisions": len(standing)}, end)
            position = end
        for reached, decision in changes or ():
            yield Event("decision", decision, reached)
            position = reached
        if stopped != engaged:
            engaged = stopped
            yield Event("kill_switch", {"engaged": engaged})
        if not changes:
            yield IDLE
            await pause(POLL_SECONDS)
