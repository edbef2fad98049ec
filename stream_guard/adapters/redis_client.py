"""How Redis is reached: short time-outs, no retries that re-send, and a breaker of our own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from stream_guard.errors import StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 16


def connect(url: str, *, timeout_seconds: float, password: str | None = None) -> Redis:
    """A client that fails fast; nothing is contacted yet. `rediss://` means TLS."""
    return Redis.from_url(
        url,
        password=password,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        max_connections=CONNECTIONS,
        decode_responses=False,
    )


class Breaker:
    """Fails at once while Redis is known to be away; lets one probe through after a growing pause.

    Args:
        first_seconds: pause after the first failure.
        most_seconds: longest pause.
        monotonic: clock, for tests.
    """

    def __init__(
        self,
        first_seconds: float = 0.1,
        most_seconds: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_seconds, self._most_seconds, self._monotonic = first_seconds, most_seconds, monotonic
        self._pause_seconds = first_seconds
        self._probe_at: float | None = None
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once."""
        return self._probe_at is not None

    def enter(self) -> None:
        """Call before each command.

        Raises:
            StateUnavailableError: the breaker is open and it is not yet time to probe, or a probe is under way.
        """
        if self._probe_at is None:
            return
        if self._probing or self._monotonic() < self._probe_at:
            raise StateUnavailableError("Redis is away; waiting before the next attempt")
        self._probing = True

    def succeeded(self) -> None:
        """The command was answered."""
        self._probe_at, self._probing, self._pause_seconds = None, False, self._first_seconds

    def failed(self) -> None:
        """The command was not answered."""
        self._probe_at = self._monotonic() + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, self._most_seconds)
        self._probing = False
