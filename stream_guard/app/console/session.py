"""Who is logged in: a signed cookie that names a token, and how often somebody may guess one.

The signature's key follows from the token's secret, so every worker accepts it, a restart ends no session, and changing
the token ends all of its sessions. The role is the token's, never the cookie's.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from stream_guard.app.access import AccessToken, Caller, find_token

if TYPE_CHECKING:
    from collections.abc import Sequence


COOKIE: Final = "stream_guard_console"
SESSION_SECONDS: Final = 12 * 3_600.0
_PURPOSE: Final = b"stream_guard console session v1"
_MAX_COOKIE: Final = 2_048  # characters
_WINDOW_SECONDS: Final = 60.0
_FAILURES: Final = 5  # from one address within the window
_ADDRESSES: Final = 1_000  # remembered; then everybody waits


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in: the actor that they say they are, with a token."""

    actor: str
    caller: Caller
    csrf: str

    @property
    def can_operate(self) -> bool:
        """Whether there are buttons."""
        return self.caller.can_operate

    @property
    def bound(self) -> bool:
        """Whether only one tenant can be seen."""
        return self.caller.tenant is not None


class _Claims(msgspec.Struct, frozen=True):
    """What the cookie says."""

    token: str
    actor: str
    ends_at: float
    number: str


class Sessions:
    """Makes and reads cookies. Pure: no I/O, no clock.

    Args:
        tokens: who may log in.
    """

    def __init__(self, tokens: Sequence[AccessToken]) -> None:
        self._by_name = {token.name: token for token in tokens}

    def log_in(self, secret: str, actor: str, now: float) -> str | None:
        """A cookie's value; None when the secret is nobody's."""
        found = find_token(self._by_name.values(), secret)
        if found is None:
            return None
        claims = _Claims(found.name, actor, now + SESSION_SECONDS, secrets.token_hex(8))
        body = base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
        return f"{body.decode()}.{_signature(found, body)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Who that is; None for a cookie that is not ours, has ended, or whose token has changed."""
        body, _, signature = cookie.partition(".")
        if len(cookie) > _MAX_COOKIE or not cookie.isascii():
            return None
        try:
            padded = body + "=" * (-len(body) % 4)
            claims = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims)
        except (ValueError, msgspec.DecodeError):
            return None
        token = self._by_name.get(claims.token)
        if token is None or now >= claims.ends_at:
            return None
        if not hmac.compare_digest(_signature(token, body.encode()), signature):
            return None
        csrf = _signature(token, b"csrf\x1f" + cookie.encode())
        return Session(claims.actor, token.caller, csrf)


class Throttle:
    """How often an address may fail to log in. Pure: the clock is an argument."""

    def __init__(self) -> None:
        self._failures: dict[str, list[float]] = {}

    def wait_seconds(self, address: str, now: float) -> float:
        """How long this address has to wait; 0 = it may try."""
        self._failures = {
            known: [at for at in times if now - at < _WINDOW_SECONDS]
            for known, times in self._failures.items()
            if now - times[-1] < _WINDOW_SECONDS
        }
        times = self._failures.get(address, [])
        if len(times) >= _FAILURES:
            return _WINDOW_SECONDS - (now - times[-_FAILURES])
        return 0.0 if len(self._failures) < _ADDRESSES or times else _WINDOW_SECONDS

    def failed(self, address: str, now: float) -> None:
        """Somebody there guessed wrong."""
        self._failures.setdefault(address, []).append(now)


def _signature(token: AccessToken, body: bytes) -> str:
    key = hmac.digest(token.secret.encode(), _PURPOSE, "sha256")
    return hmac.new(key, body, "sha256").hexdigest()
