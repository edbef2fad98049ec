"""Members of all live campaigns, from the registry that workers keep in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.adapters.redis_control import answering
from stream_guard.records import DEFAULT_TENANT

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CAMPAIGNS: Final = "sg:{*}:campaign:*"
_KEYS_A_READ: Final = 100


class _Member(msgspec.Struct):
    account_id: str
    left_at: str | None = None


class _Campaign(msgspec.Struct):
    members: list[_Member]
    tenant: str = DEFAULT_TENANT
    merged_into: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Campaign)


class RedisSuspects:
    """`app.shedding.Suspects` on Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def members(self) -> frozenset[str]:
        """Account keys of who is in a campaign now; a campaign that cannot be read is passed over.

        Raises:
            StateUnavailableError: Redis does not answer.
        """
        found: set[str] = set()
        with answering():
            keys: list[Any] = [key async for key in self._client.scan_iter(_CAMPAIGNS, count=1_000)]
            for start in range(0, len(keys), _KEYS_A_READ):
                async with self._client.pipeline(transaction=False) as pipeline:
                    for key in keys[start : start + _KEYS_A_READ]:
                        pipeline.get(key)
                    for value in await pipeline.execute():
                        found.update(_members(value))
        return frozenset(found)


def _members(value: bytes | None) -> set[str]:
    try:
        campaign = _DECODER.decode(value or b"")
    except (msgspec.MsgspecError, ValueError):
        return set()
    if campaign.merged_into is not None:
        return set()
    before = "" if campaign.tenant == DEFAULT_TENANT else f"{campaign.tenant}\x1f"
    return {before + member.account_id for member in campaign.members if member.left_at is None}
