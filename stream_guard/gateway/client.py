"""Whether a request may pass, from decisions alone. Whatever fails, requests pass.

`slow` and `limit` spend a budget that all gateways share, `suspend_request` refuses, `verify` lets pass and tells the
application to ask who is there. Simulated and held decisions write no keys, so none of them gets here.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

import structlog

from stream_guard.adapters.redis_budget import Budgets
from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_enforcers import REPORT_SECONDS, Enforcers
from stream_guard.adapters.redis_mirror import REFRESH_SECONDS, Limit, LimitMirror
from stream_guard.errors import StateUnavailableError
from stream_guard.records import DEFAULT_TENANT, Action

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from types import TracebackType

    from stream_guard.adapters.redis_client import Client
    from stream_guard.settings import RedisServer

log = structlog.get_logger(__name__)

DECISION_HEADER: Final = "x-stream-guard-decision"
ACTION_HEADER: Final = "x-stream-guard-action"
RETRY_HEADER: Final = "retry-after"
BUDGET_TIMEOUT_SECONDS: Final = 0.05
MAX_ID: Final = 256  # characters of an account or tenant; longer ones cannot have been decided about
TOO_MANY: Final = 429
FORBIDDEN: Final = 403
_REDIS_SECONDS: Final = 1.0  # of the refresh, which no request waits for


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with one request.

    Attributes:
        status: HTTP status to refuse with; 0 = let it pass.
        decision_id: what shaped the answer; goes into `limited_by` of the query record where the request was refused.
        retry_after_seconds: when to come back, where that is known.
    """

    status: int = 0
    decision_id: str | None = None
    action: Action | None = None
    retry_after_seconds: float = 0.0

    @property
    def allowed(self) -> bool:
        """Whether the request may pass."""
        return self.status == 0

    def headers(self) -> dict[str, str]:
        """For the answer, or where the request passes for the application: decision, action, when to come back."""
        if self.decision_id is None or self.action is None:
            return {}
        headers = {DECISION_HEADER: self.decision_id, ACTION_HEADER: self.action.value}
        if self.retry_after_seconds > 0.0:
            headers[RETRY_HEADER] = str(math.ceil(self.retry_after_seconds))
        return headers


PASS: Final = Answer()


@dataclass(slots=True)
class Counts:
    """Answers since the start."""

    passed: int = 0
    refused: int = 0
    failed_open: int = 0


@dataclass(slots=True)
class Gate:
    """Answers from a mirror of the limits; use it as an async context manager, one per process and event loop.

    Args:
        client: see `redis_client.connect`; closed with the gate.
        tenants: followed from the start; others once they are asked for.
        name: in reports of what is applied; unique among gateways.
        budget_timeout_seconds: longest wait for a shared budget; then the request passes.
    """

    client: Client
    tenants: Iterable[str] = (DEFAULT_TENANT,)
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}")
    budget_timeout_seconds: float = BUDGET_TIMEOUT_SECONDS
    counts: Counts = field(default_factory=Counts)
    _mirror: LimitMirror = field(init=False)
    _budgets: Budgets = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    _stopping: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._mirror = LimitMirror(self.client, self.tenants)
        self._budgets = Budgets(self.client, self.budget_timeout_seconds)

    @classmethod
    def on(cls, server: RedisServer, tenants: Iterable[str] = (DEFAULT_TENANT,)) -> Self:
        """A gate on a Redis of the settings; nothing is contacted yet."""
        seconds = min(server.timeout_seconds, _REDIS_SECONDS)
        return cls(connect(server.model_copy(update={"timeout_seconds": seconds})), tenants)

    @property
    def fresh(self) -> bool:
        """Whether limits are known; while not, everything passes."""
        return self._mirror.fresh

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Follow the limits from now on; once more does nothing."""
        if self._tasks:
            return
        self._stopping.clear()
        self._tasks = [asyncio.create_task(self._refresh()), asyncio.create_task(self._report())]
        with suppress(StateUnavailableError):
            await self._mirror.refresh()

    async def aclose(self) -> None:
        """Stop following, and say goodbye."""
        self._stopping.set()  # and not cancel: redis-py may take a cancellation for its own time-out
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        with suppress(StateUnavailableError):
            await Enforcers(self.client).leave(self.name)
        await self.client.aclose()

    async def check(self, account_id: str, tenant: str = DEFAULT_TENANT) -> Answer:
        """Whether a request of an account may pass. Never raises; waits for `budget_timeout_seconds` at most."""
        found = self.look(account_id, tenant)
        return found if isinstance(found, Answer) else await self.spend(account_id, tenant, found)

    def look(self, account_id: str, tenant: str = DEFAULT_TENANT) -> Answer | Limit:
        """The answer where it needs no budget, else the limit to `spend`. No I/O."""
        known = 0 < len(account_id) <= MAX_ID and len(tenant) <= MAX_ID
        limit = self._mirror.find(tenant, account_id) if known else None
        if limit is None:
            self.counts.passed += 1
            return PASS
        if limit.action is Action.SUSPEND_REQUEST:
            self.counts.refused += 1
            return Answer(FORBIDDEN, limit.decision_id, limit.action)
        if limit.action in {Action.SLOW, Action.LIMIT}:
            return limit
        self.counts.passed += 1
        return Answer(0, limit.decision_id, limit.action)

    async def spend(self, account_id: str, tenant: str, limit: Limit) -> Answer:
        """Take the request from the budget that `limit` names."""
        try:
            wait = await self._budgets.spend(tenant, account_id, limit)
        except StateUnavailableError:
            self.counts.failed_open += 1
            return PASS
        if wait > 0.0:
            self.counts.refused += 1
            return Answer(TOO_MANY, limit.decision_id, limit.action, wait)
        self.counts.passed += 1
        return Answer(0, limit.decision_id, limit.action)

    def _refresh(self) -> Coroutine[None, None, None]:
        text = "limits cannot be read: requests pass"
        return _repeat(self._mirror.refresh, REFRESH_SECONDS, text, self._stopping)

    def _report(self) -> Coroutine[None, None, None]:
        enforcers = Enforcers(self.client)
        text = "what is applied cannot be reported"
        return _repeat(lambda: enforcers.report(self.name, self._mirror), REPORT_SECONDS, text, self._stopping)


async def _repeat(step: Callable[[], Awaitable[None]], seconds: float, text: str, stopping: asyncio.Event) -> None:
    failing = False
    while not stopping.is_set():
        try:
            await step()
            failing = False
        except StateUnavailableError as error:
            if not failing:  # once, not four times a second
                log.warning(text, error=str(error))
            failing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)
