"""How Redis is reached: short time-outs, no retries that re-send, and a breaker of our own."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from stream_guard.errors import ConfigurationError, StateUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.settings import RedisServer

CONNECTIONS = 16
Client = Redis  # for those who hold one and must not import redis themselves


def connect(server: RedisServer) -> Redis:
    """A client that fails fast; nothing is contacted yet.

    Raises:
        ConfigurationError: the URL is none.
    """
    try:
        return Redis.from_url(
            server.url,
            **_options(server),
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            max_connections=CONNECTIONS,
            decode_responses=False,
        )
    except ValueError as error:
        raise ConfigurationError("STREAM_GUARD_REDIS__URL: not a redis:// or rediss:// address") from error


def _options(server: RedisServer) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": server.timeout_seconds,
        "socket_connect_timeout": server.timeout_seconds,
    }
    # What is not given here may still be part of the URL.
    if server.username is not None:
        options["username"] = server.username
    if server.password is not None:
        options["password"] = server.password.get_secret_value()
    if server.url.startswith("rediss://"):
        files = {
            "ssl_ca_certs": server.ca_file,
            "ssl_certfile": server.certificate_file,
            "ssl_keyfile": server.key_file,
        }
        options |= {name: str(path) for name, path in files.items() if path is not None}
    return options


COMPACT_BYTES = 1_024  # `hash-max-listpack-value`: more than a stored account has, or its key


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `check` wants to know about a server; `unknown` where the server does not tell."""

    version: str
    eviction: str
    persistent: bool
    compact: bool  # hashes of accounts fit the form without pointers


def inspect(server: RedisServer) -> Inspection:
    """Look at a server.

    Raises:
        StateUnavailableError: it does not answer or refuses the password.
    """
    try:
        with closing(BlockingRedis.from_url(server.url, **_options(server))) as client:
            info = cast("dict[str, object]", client.info())
            try:
                saves = cast("dict[str, str]", client.config_get("save")).get("save", "")
                eviction = cast("dict[str, str]", client.config_get("maxmemory-policy")).get("maxmemory-policy", "")
                value = cast("dict[str, str]", client.config_get("hash-max-*-value"))  # ziplist before Redis 7
            except ResponseError:  # managed servers forbid CONFIG
                saves, eviction, value = "unknown", str(info.get("maxmemory_policy", "unknown")), {}
    except (RedisError, OSError, ValueError) as error:
        raise StateUnavailableError(f"Redis does not answer: {error}") from error
    return Inspection(
        str(info.get("redis_version", "unknown")),
        eviction,
        bool(info.get("aof_enabled") or saves),
        all(int(size) >= COMPACT_BYTES for size in value.values()),
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
