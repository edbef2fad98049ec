"""Transitions on their way to targets, in Redis: taken in once, kept until the target has them.

Under `sg:{notify:<group>}:` are `positions` (next offset by partition), `seen:<transition>` (what was taken in, for
eight days), `queue:<target>` (bodies in order), `active:<target>` (alerts that the target knows as open) and `lease`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.adapters.redis_control import answering
from stream_guard.errors import StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from stream_guard.records import Json

SEEN_SECONDS: Final = 8 * 86_400  # longer than Kafka keeps an alert by default
MAX_QUEUE: Final = 10_000
LEASE_SECONDS: Final = 15.0

# KEYS: positions, seen, queues. ARGV: partition, position so far, next offset, body ('' = only move on), seconds,
# longest queue. Returns the places of full queues, which lost their oldest body; nil where the position is another one.
TAKE_IN: Final = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if ARGV[4] == '' then return {} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[5]) then return {} end
local dropped = {}
for i = 3, #KEYS do
  local length = redis.call('RPUSH', KEYS[i], ARGV[4])
  if length > tonumber(ARGV[6]) then
    redis.call('LPOP', KEYS[i])
    table.insert(dropped, i - 3)
  end
end
return dropped
"""

# KEYS: queue, active. ARGV: body, alert, 'told' or '', what the target knows now ('' = nothing). A body that is not
# there any more was told by another notifier while this one was suspended: what that one noted since is newer.
DONE: Final = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 or ARGV[3] == '' then return end
if ARGV[4] == '' then redis.call('HDEL', KEYS[2], ARGV[2]) else redis.call('HSET', KEYS[2], ARGV[2], ARGV[4]) end
"""

# KEYS: lease. ARGV: holder, milliseconds. Takes or renews it; 1 = held.
HOLD: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class PositionsChangedError(StateUnavailableError):
    """Redis lost what was in it, or another notifier moved on: positions are read again. Nothing to do."""


class Outbox:
    """The outbox of one group of notifiers. Every method raises StateUnavailableError when Redis does not answer."""

    def __init__(self, client: Redis, group: str, targets: Sequence[str]) -> None:
        self._client, self._targets = client, targets
        self._prefix = f"sg:{{notify:{group}}}:"

    async def hold(self, holder: str) -> bool:
        """Take or renew the lease: one notifier at a time sends."""
        with answering():
            held: Any = await self._client.eval(HOLD, 1, self._key("lease"), holder, int(LEASE_SECONDS * 1_000))
        return bool(held)

    async def release(self, holder: str) -> None:
        """Let another notifier go on at once."""
        with answering():
            await self._client.eval(RELEASE, 1, self._key("lease"), holder)

    async def positions(self) -> dict[int, int]:
        """Next offset to read, by partition; empty at the first start, and where Redis has lost everything."""
        with answering():
            found: Any = await self._client.hgetall(self._key("positions"))
        return {int(partition): int(offset) for partition, offset in found.items()}

    async def take_in(self, partition: int, so_far: int | None, offset: int, transition: str, body: bytes) -> list[str]:
        """Queue a body for every target and move on, in one step; targets whose full queue lost its oldest.

        Args:
            partition: where the record was.
            so_far: what `positions` has of it.
            offset: of the record.
            transition: names what happened; queued once, however often it comes.
            body: what `head` will give; empty moves on only.

        Raises:
            PositionsChangedError: `so_far` is not true any more; nothing was done.
        """
        keys = [self._key("positions"), self._key(f"seen:{transition}")]
        keys += [self._key(f"queue:{target}") for target in self._targets]
        known = "" if so_far is None else str(so_far)
        arguments = [str(partition), known, str(offset + 1), body, str(SEEN_SECONDS), str(MAX_QUEUE)]
        with answering():
            dropped: Any = await self._client.eval(TAKE_IN, len(keys), *keys, *arguments)  # type: ignore[arg-type] # bytes are fine
        if dropped is None:
            raise PositionsChangedError("positions in Redis are not those that were read")
        return [self._targets[int(place)] for place in dropped]

    async def head(self, target: str) -> bytes | None:
        """What comes next for a target; None = nothing."""
        with answering():
            found: Any = await self._client.lindex(self._key(f"queue:{target}"), 0)
        return found if found is None else bytes(found)

    async def length(self, target: str) -> int:
        """How much waits for a target."""
        with answering():
            return int(await self._client.llen(self._key(f"queue:{target}")))

    async def done(self, target: str, body: bytes, alert_id: str, known: Json | None, *, told: bool) -> None:
        """The target has it, or never will.

        Args:
            target: which.
            body: what `head` gave.
            alert_id: whose transition it was.
            known: what the target now knows of the open alert; None = nothing, or that it is over.
            told: whether `known` is news; else only the queue moves on.
        """
        keys = [self._key(f"queue:{target}"), self._key(f"active:{target}")]
        arguments = [body, alert_id, "told" if told else "", b"" if known is None else msgspec.json.encode(known)]
        with answering():
            await self._client.eval(DONE, len(keys), *keys, *arguments)  # type: ignore[arg-type] # bytes are fine

    async def active(self, target: str) -> dict[str, Json]:
        """Open alerts that a target knows, by id."""
        with answering():
            found: Any = await self._client.hgetall(self._key(f"active:{target}"))
        return {key.decode(): msgspec.json.decode(value) for key, value in found.items()}

    async def known(self, target: str, alert_id: str) -> Json | None:
        """What a target knows of one alert."""
        with answering():
            found: Any = await self._client.hget(self._key(f"active:{target}"), alert_id)
        return None if found is None else msgspec.json.decode(found)

    def _key(self, name: str) -> str:
        return self._prefix + name
