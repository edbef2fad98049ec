"""Budgets that all gateways share: one atomic step in Redis for each request of a limited account.

The generic cell rate algorithm (ITU-T I.371): one number per budget, the time at which it is empty again. O(1) in time
and space. In any minute at most `requests_per_minute` plus the burst pass, and in the long run exactly that rate; the
burst is what a twelfth of a minute allows, at least one request. The clock is Redis', so gateways need not agree.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from stream_guard.adapters.redis_client import Breaker
from stream_guard.adapters.redis_control import answering, tag
from stream_guard.errors import StateUnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from stream_guard.adapters.redis_mirror import Limit

BURST_MINUTES: Final = 1.0 / 12.0
_AT_ONCE: Final = 12  # of the connections that a client may open; the refresh needs some too
_MICROSECONDS: Final = 60_000_000

# KEYS: budget. ARGV: microseconds between requests, burst. Returns microseconds to wait; 0 = the request may pass.
SPEND: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local early = due - now - interval * (tonumber(ARGV[2]) - 1)
if early > 0 then return math.ceil(early) end
local next = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return 0
"""


class Budgets:
    """Spends shared budgets.

    Args:
        client: see `redis_client.connect`.
        timeout_seconds: how long a request may wait for Redis; after failures none waits until a probe succeeds.
    """

    def __init__(self, client: Redis, timeout_seconds: float) -> None:
        self._script = client.register_script(SPEND)
        self._timeout_seconds = timeout_seconds
        self._breaker = Breaker()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def spend(self, tenant: str, account_id: str, limit: Limit) -> float:
        """Take one request from the budget; seconds to wait, 0.0 = it may pass.

        Raises:
            StateUnavailableError: Redis did not answer in time; let the request pass.
        """
        if limit.requests_per_minute is None or limit.requests_per_minute <= 0.0:
            return 0.0
        interval = max(1, round(_MICROSECONDS / limit.requests_per_minute))
        burst = max(1, int(limit.requests_per_minute * BURST_MINUTES))
        key = budget_key(tenant, account_id, limit)
        self._breaker.enter()
        try:
            with answering():
                async with asyncio.timeout(self._timeout_seconds), self._slots:
                    wait: Any = await self._script(keys=[key], args=[interval, burst])
        except (StateUnavailableError, TimeoutError) as error:
            self._breaker.failed()
            raise StateUnavailableError("Redis did not answer in time") from error
        except BaseException:
            self._breaker.failed()  # cancelled: the next request probes
            raise
        self._breaker.succeeded()
        return int(wait) / 1_000_000


def budget_key(tenant: str, account_id: str, limit: Limit) -> str:
    """The campaign's budget where the limit is one of a campaign, else the account's own."""
    subject = f"account:{account_id}" if limit.campaign_id is None else f"campaign:{limit.campaign_id}"
    return f"sg:{tag(tenant)}:limit-budget:{subject}"
