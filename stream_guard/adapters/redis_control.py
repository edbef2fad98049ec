"""The kill switch: one key that stops every limit at once.

`sg:kill-switch` holds JSON (`actor`, `reason`, `at`) while engaged. Whoever engages it deletes every limit key; each
worker looks once a second, writes no key while it is engaged and deletes again what was written in between. Letting
go restores nothing: active decisions return with their next update, or with `RedisLimits.reapply`.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

import msgspec
import structlog
from redis.exceptions import RedisError

from stream_guard.errors import StateUnavailableError
from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

KEY: Final = "sg:kill-switch"
LIMIT_PATTERN: Final = "sg:{*}:limit:*"
POLL_SECONDS: Final = 1.0
UNLINK_BATCH: Final = 500
_SCAN_BATCH: Final = 5_000  # keys looked at per call; Redis holds the states of accounts too
_LIMIT_KEY: Final = re.compile(rb"sg:\{[^{}]*\}:limit:")
_AFTER_SECONDS: Final = 2.0  # when what another worker wrote while dying is swept


@dataclass(frozen=True, slots=True)
class Engaged:
    """Who stopped the limits, why, and when (RFC 3339)."""

    actor: str
    reason: str
    at: str


class KillSwitch:
    """The switch.

    Args:
        client: see `redis_client.connect`; closed by whoever made it.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def state(self) -> Engaged | None:
        """Who engaged it; None while limits are in force.

        Raises:
            StateUnavailableError: Redis does not answer. So for every method here.
        """
        with answering():
            return parse_state(cast("bytes | None", await self._client.get(KEY)))

    async def engage(self, actor: str, reason: str, at: str) -> int:
        """Stop every limit; returns how many keys went. Engaging twice keeps the newer reason."""
        with answering():
            await self._client.set(KEY, msgspec.json.encode(asdict(Engaged(actor, reason, at))))
        return await self.sweep()

    async def disengage(self) -> bool:
        """Let limits be written again; whether it was engaged."""
        with answering():
            return bool(await self._client.delete(KEY))

    async def sweep(self) -> int:
        """Delete every limit key of every tenant."""
        gone, batch = 0, []
        with answering():
            async for key in self._client.scan_iter(match=LIMIT_PATTERN, count=_SCAN_BATCH):
                if _LIMIT_KEY.match(key):
                    batch.append(key)
                if len(batch) >= UNLINK_BATCH:
                    gone += await self._client.unlink(*batch)
                    batch.clear()
            if batch:
                gone += await self._client.unlink(*batch)
        return gone

    async def watch(self, on_change: Callable[[bool], None], poll_seconds: float = POLL_SECONDS) -> None:
        """Run beside a worker until cancelled: tell the gauge, and sweep after the switch was engaged."""
        seen: bool | None = None
        sweeps_at: list[float] = []
        loop = asyncio.get_running_loop()
        while True:
            try:
                engaged = await self.state() is not None
                if engaged != seen:
                    seen = engaged
                    sweeps_at = [loop.time(), loop.time() + _AFTER_SECONDS] if engaged else []
                    on_change(engaged)
                while sweeps_at and loop.time() >= sweeps_at[0]:
                    log.warning("kill switch engaged: limits deleted", keys=await self.sweep())
                    sweeps_at.pop(0)
            except StateUnavailableError as error:
                log.warning("kill switch cannot be read", error=str(error))
            await pause(poll_seconds)


def parse_state(data: bytes | None) -> Engaged | None:
    """Read the key; one that says nothing readable still engages."""
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Engaged)
    except msgspec.DecodeError:
        return Engaged("unknown", "the key holds no readable reason", "")


def tag(tenant: str) -> str:
    """Tenant as a hash tag, so that its keys share a slot: `{default}`. Braces and % in it are percent-encoded."""
    return "{" + tenant.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") + "}"


@contextmanager
def answering() -> Iterator[None]:
    """Turn what redis-py raises into our error."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StateUnavailableError(f"Redis does not answer: {str(error) or type(error).__name__}") from error
