"""What gateways say that they apply, held against what was decided.

`sg:gateway:<id>` is a gateway's last report, with a life of `REPORT_LIFE_SECONDS`: JSON with `at` (Unix seconds),
`applied` (accounts reached, by tenant and decision) and `engaged` (it sees the kill switch). `sg:gateways` lists the
ids by last report, so that one which fell silent is missed for a day. A clean stop takes the entry along.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from stream_guard.adapters.redis_control import answering
from stream_guard.adapters.redis_mirror import LimitMirror
from stream_guard.errors import StateUnavailableError
from stream_guard.pausing import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

GATEWAYS_KEY: Final = "sg:gateways"
REPORT_SECONDS: Final = 2.0
REPORT_LIFE_SECONDS: Final = 10
RECONCILE_SECONDS: Final = 5.0
_REMEMBERED_SECONDS: Final = 86_400.0


class Report(msgspec.Struct, frozen=True):
    """What one gateway applies."""

    at: float
    applied: dict[str, dict[str, int]]
    engaged: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How gateways stand. `missing` and `stale` are (gateway, tenant, decision) that differ for two looks in a row."""

    reporting: int = 0
    silent: int = 0
    missing: frozenset[tuple[str, str, str]] = field(default_factory=frozenset)
    stale: frozenset[tuple[str, str, str]] = field(default_factory=frozenset)


class Enforcers:
    """Reports of gateways. Every method raises StateUnavailableError when Redis does not answer."""

    def __init__(self, client: Redis, wall: Callable[[], float] = time.time) -> None:
        self._client, self._wall = client, wall

    async def report(self, gateway: str, mirror: LimitMirror) -> None:
        """Say what a gateway applies now."""
        now = self._wall()
        body = msgspec.json.encode(Report(now, mirror.applied(), mirror.engaged))
        with answering():
            await self._client.set(_key(gateway), body, ex=REPORT_LIFE_SECONDS)
            await self._client.zadd(GATEWAYS_KEY, {gateway: now})

    async def leave(self, gateway: str) -> None:
        """A gateway stops on purpose: nobody needs to miss it."""
        with answering():
            await self._client.zrem(GATEWAYS_KEY, gateway)
            await self._client.delete(_key(gateway))

    async def reports(self) -> dict[str, Report | None]:
        """The last report of each gateway; None where it fell silent."""
        with answering():
            await self._client.zremrangebyscore(GATEWAYS_KEY, "-inf", self._wall() - _REMEMBERED_SECONDS)
            names: Any = await self._client.zrange(GATEWAYS_KEY, 0, -1)
            found: dict[str, Report | None] = {}
            for name in names:
                value: Any = await self._client.get(_key(name.decode()))
                found[name.decode()] = _parse(value)
        return found


class Reconciler:
    """Compares what gateways apply with the keys that decisions wrote.

    Args:
        client: see `redis_client.connect`.
    """

    def __init__(self, client: Redis) -> None:
        self._enforcers, self._mirror = Enforcers(client), LimitMirror(client)
        self._missing: frozenset[tuple[str, str, str]] = frozenset()
        self._stale: frozenset[tuple[str, str, str]] = frozenset()

    async def look(self) -> Standing:
        """One look; what only this one sees may be a change on its way and is not told yet.

        Raises:
            StateUnavailableError: Redis does not answer.
        """
        reports = await self._enforcers.reports()
        for report in reports.values():
            for tenant in report.applied if report is not None else ():
                self._mirror.follow(tenant)
        await self._mirror.refresh()
        decided = self._mirror.applied()
        missing: set[tuple[str, str, str]] = set()
        stale: set[tuple[str, str, str]] = set()
        for gateway, report in reports.items():
            if report is not None:
                missing |= {(gateway, *item) for item in _more(decided, report.applied, report.applied)}
                stale |= {(gateway, *item) for item in _more(report.applied, decided, report.applied)}
        before_missing, before_stale = self._missing, self._stale
        self._missing, self._stale = frozenset(missing), frozenset(stale)
        return Standing(
            reporting=sum(report is not None for report in reports.values()),
            silent=sum(report is None for report in reports.values()),
            missing=self._missing & before_missing,
            stale=self._stale & before_stale,
        )

    async def watch(self, on_standing: Callable[[Standing], None], every_seconds: float = RECONCILE_SECONDS) -> None:
        """Run beside a worker until cancelled."""
        while True:
            try:
                on_standing(await self.look())
            except StateUnavailableError as error:
                log.warning("gateways cannot be reconciled", error=str(error))
            await pause(every_seconds)


def _more(
    one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]], tenants: Mapping[str, object]
) -> set[tuple[str, str]]:
    """Decisions that reach more accounts in `one` than in `other`."""
    return {
        (tenant, decision)
        for tenant in tenants
        for decision, count in one.get(tenant, {}).items()
        if count > other.get(tenant, {}).get(decision, 0)
    }


def _parse(value: bytes | None) -> Report | None:
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=Report)
    except msgspec.DecodeError:
        return None  # as good as silent


def _key(gateway: str) -> str:
    return f"sg:gateway:{gateway}"
