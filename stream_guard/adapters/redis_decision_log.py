"""Every change of a tenant's decisions in order, so that a reader can go on where it stopped.

`sg:{tenant}:decision-log` is a stream with one `decision` for each change, the contract's JSON; the newest 10,000 are
kept, and 30 days after the last change nothing. A *position* is the id of an entry. It is good while that entry is
there: entries go from the oldest on, so everything after it is there, too. The first entry says `start` instead, for
readers who came before it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.adapters.redis_control import answering, tag
from stream_guard.records import Json

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

LOG_ENTRIES: Final = 10_000
LOG_SECONDS: Final = 30 * 86_400
START: Final = "0-0"  # before the first entry
_POSITION: Final = re.compile(r"(\d{1,20})-(\d{1,20})")
_MOST: Final = 2**64
_DECODER: Final = msgspec.json.Decoder(Json)

# Object, index and log in one step: a crash in between would leave a change that no reader hears of.
# KEYS: object, index, log. ARGV: JSON, seconds to keep it, score, id, entries of the log, seconds to keep the log.
_RECORD: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('XADD', KEYS[3], '*', 'start', '') end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'decision', ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[6])
return 1
"""


def record(pipeline: Pipeline, where: tuple[str, str], body: Json, score: float, seconds: int) -> None:
    """Store a decision under a key and in an index, and log the change; the same body again is none."""
    keys = [*where, log_key(body["tenant"])]
    arguments: list[Any] = [msgspec.json.encode(body), seconds, score, body["decision_id"], LOG_ENTRIES, LOG_SECONDS]
    pipeline.eval(_RECORD, len(keys), *keys, *arguments)


class DecisionLog:
    """Reads the log.

    Args:
        client: see `redis_client.connect`; closed by whoever made it.

    Every method raises StateUnavailableError when Redis does not answer.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def end(self, tenant: str) -> str:
        """Position of the newest change; `START` when nothing was logged."""
        with answering():
            entries: Any = await self._client.xrevrange(log_key(tenant), count=1)
        return entries[0][0].decode() if entries else START

    async def after(self, tenant: str, position: str, limit: int = 500) -> list[tuple[str, Json]] | None:
        """Changes after a position with the positions that they lead to, oldest first; None when it is not good."""
        if not _is_position(position):
            return None
        with answering():
            entries: Any = await self._client.xrange(log_key(tenant), position, "+", count=limit + 1)
        if not entries:
            return [] if position == START else None
        first, fields = entries[0]
        if b"start" not in fields if position == START else first.decode() != position:
            return None
        return [(entry.decode(), _DECODER.decode(fields[b"decision"])) for entry, fields in entries[1:]]


def log_key(tenant: str) -> str:
    """Where a tenant's log is."""
    return f"sg:{tag(tenant)}:decision-log"


def _is_position(text: str) -> bool:
    found = _POSITION.fullmatch(text)
    return found is not None and all(int(number) < _MOST for number in found.groups())
