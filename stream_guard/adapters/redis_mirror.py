"""All limits in force, kept in memory and at most a moment old: a gateway asks no server about honest accounts.

Each refresh reads the kill switch and one number per tenant (`limit-revision`, see `redis_limits`). Where the number
has changed, or after `RESYNC_SECONDS`, the tenant's keys are read again: O(limits) once a change, never O(requests).
When Redis does not answer for `STALE_SECONDS`, nothing is limited any more: a release could not be heard of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream_guard.adapters.redis_control import KEY, answering, tag
from stream_guard.adapters.redis_limits import index_keys
from stream_guard.records import DEFAULT_TENANT, Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from redis.asyncio import Redis

REFRESH_SECONDS: Final = 0.25
STALE_SECONDS: Final = 2.0
RESYNC_SECONDS: Final = 60.0  # finds what was deleted by hand
MAX_TENANTS: Final = 1_000
_KEYS_A_READ: Final = 100  # requests wait while an answer is taken apart


class Limit(msgspec.Struct, frozen=True):
    """What a gateway's key holds; see `redis_limits`."""

    decision_id: str
    action: Action
    requests_per_minute: float | None = None
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A limit of one account and when it ends, in seconds of this process' monotonic clock."""

    limit: Limit
    ends: float


@dataclass(slots=True)
class _Tenant:
    revision: bytes | None = None
    read_at: float = float("-inf")
    accounts: Mapping[str, Held] = field(default_factory=dict)


class LimitMirror:
    """Limits by tenant and account.

    Args:
        client: see `redis_client.connect`.
        tenants: whom to follow from the start; others are followed once they are asked for, `MAX_TENANTS` at most.
        monotonic: clock, for tests.
    """

    def __init__(
        self,
        client: Redis,
        tenants: Iterable[str] = (DEFAULT_TENANT,),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._monotonic = client, monotonic
        self._tenants = {tenant: _Tenant() for tenant in tenants}
        self._values: dict[bytes, Limit | None] = {}
        self.refreshed_at = float("-inf")
        self.engaged = False

    @property
    def fresh(self) -> bool:
        """Whether Redis answered lately."""
        return self._monotonic() - self.refreshed_at <= STALE_SECONDS

    def find(self, tenant: str, account_id: str) -> Limit | None:
        """What holds for an account now; None = nothing, and also when that cannot be known. O(1), no I/O."""
        known = self._tenants.get(tenant)
        if known is None:
            self.follow(tenant)
            return None
        held = known.accounts.get(account_id)
        if held is None or self.engaged:
            return None
        now = self._monotonic()
        return held.limit if held.ends > now and now - self.refreshed_at <= STALE_SECONDS else None

    def follow(self, tenant: str) -> None:
        """Read a tenant's limits from the next refresh on."""
        if len(self._tenants) < MAX_TENANTS:
            self._tenants.setdefault(tenant, _Tenant())

    def applied(self) -> dict[str, dict[str, int]]:
        """How many accounts each decision reaches now, by tenant and decision."""
        now, counts = self._monotonic(), {}
        for name, tenant in self._tenants.items():
            decisions: dict[str, int] = {}
            if self.fresh and not self.engaged:
                for held in tenant.accounts.values():
                    if held.ends > now:
                        decisions[held.limit.decision_id] = decisions.get(held.limit.decision_id, 0) + 1
            counts[name] = decisions
        return counts

    async def refresh(self) -> None:
        """Read what has changed.

        Raises:
            StateUnavailableError: Redis does not answer.
        """
        tenants = list(self._tenants.items())
        with answering():
            engaged = await self._client.get(KEY) is not None
            async with self._client.pipeline(transaction=False) as pipeline:
                for name, _ in tenants:
                    pipeline.get(index_keys(name)[1])
                revisions: list[bytes | None] = await pipeline.execute()
        now = self._monotonic()
        for (name, tenant), revision in zip(tenants, revisions, strict=True):
            due = now - tenant.read_at >= RESYNC_SECONDS or (self.engaged and not engaged)
            if revision != tenant.revision or due:
                tenant.accounts = await self._read(name)
                tenant.revision, tenant.read_at = revision, now
        self.engaged, self.refreshed_at = engaged, self._monotonic()

    async def _read(self, tenant: str) -> dict[str, Held]:
        index, _ = index_keys(tenant)
        prefix = f"sg:{tag(tenant)}:limit:account:".encode()
        values: dict[bytes, Limit | None] = {}
        found: dict[str, Held] = {}
        with answering():
            seconds, micros = await self._client.time()
            redis_ms, now = seconds * 1_000 + micros // 1_000, self._monotonic()
            offset = 0
            while True:  # what changes meanwhile changes the revision, too, and is read again
                page: Any = await self._client.zrangebyscore(
                    index, redis_ms, "+inf", start=offset, num=_KEYS_A_READ, withscores=True
                )
                if not page:
                    break
                offset += len(page)
                accounts = [(key, ends) for key, ends in page if key.startswith(prefix)]
                held: Any = await self._client.mget([key for key, _ in accounts]) if accounts else []
                for (key, ends), value in zip(accounts, held, strict=True):
                    if value is None:
                        continue
                    if value not in values:  # thousands of members share one value
                        values[value] = self._values[value] if value in self._values else parse_limit(value)
                    limit = values[value]
                    if limit is not None:
                        name = key[len(prefix) :].decode("utf-8", "surrogateescape")
                        found[name] = Held(limit, now + (ends - redis_ms) / 1_000)
        self._values = values
        return found


def parse_limit(value: bytes) -> Limit | None:
    """Read a key's value; None where it says nothing that this version knows: then nothing is limited."""
    try:
        return msgspec.json.decode(value, type=Limit)
    except msgspec.DecodeError:
        return None
