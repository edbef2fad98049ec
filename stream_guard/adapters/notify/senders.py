"""How each kind of target is told. A sender raises where the target did not take it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
import msgspec

from stream_guard.adapters.notify.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from stream_guard.adapters.notify.targets import TargetKind
from stream_guard.adapters.notify.texts import alertmanager_alert, ended, title_and_text
from stream_guard.errors import ConfigurationError, ServiceUnavailableError, StreamGuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stream_guard.adapters.notify.targets import Target
    from stream_guard.records import Json

NOTIFICATION_SCHEMA: Final = "stream_guard.notification.v1"
AT_ONCE: Final = 500  # alerts in one request
_NEVER: Final = frozenset({400, 405, 411, 413, 414, 415, 422})  # the same bytes will be refused again


class RefusedError(StreamGuardError):
    """A target will never take this notification. It is counted and left out; look at the target's own log."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One transition of an alert for one target.

    Attributes:
        transition: names it; the same each time it is sent.
        alert: the contract's alert.
        known: what the target knows of the alert so far; None = nothing.
    """

    transition: str
    alert: Json
    known: Json | None


class Sender(Protocol):
    """Speaks to one target."""

    async def send(self, notice: Notice) -> Json:
        """Tell it; what it knows now.

        Raises:
            RefusedError: it will never take this.
            ServiceUnavailableError: not now.
        """
        ...

    async def remind(self, known: Sequence[Json]) -> None:
        """Say again what is still open, where the target forgets.

        Raises:
            ServiceUnavailableError: not now.
        """
        ...


class AlertmanagerSender:
    """Alertmanager's API v2. One alert there for each of ours: labels stay, annotations change, severity only rises."""

    def __init__(self, url: str, session: aiohttp.ClientSession, wall: Callable[[], float] = time.time) -> None:
        self._url, self._session, self._wall = url.rstrip("/") + "/api/v2/alerts", session, wall

    async def send(self, notice: Notice) -> Json:
        """See `Sender`."""
        now = self._wall()
        found = alertmanager_alert(notice.alert, notice.known, now)
        alerts = [found]
        if notice.known is not None and notice.known["labels"] != found["labels"]:
            # It goes on under a higher severity.
            alerts.append({**notice.known, "endsAt": ended(notice.known["startsAt"], now)})
        await _post(self._session, self._url, msgspec.json.encode(alerts), {})
        return found

    async def remind(self, known: Sequence[Json]) -> None:
        """See `Sender`."""
        now = self._wall()
        for start in range(0, len(known), AT_ONCE):
            alerts = [alertmanager_alert(None, one, now) for one in known[start : start + AT_ONCE]]
            await _post(self._session, self._url, msgspec.json.encode(alerts), {})


class WebhookSender:
    """A signed POST: see docs/notifications.md."""

    def __init__(self, url: str, secret: bytes, session: aiohttp.ClientSession) -> None:
        self._url, self._secret, self._session = url, secret, session

    async def send(self, notice: Notice) -> Json:
        """See `Sender`."""
        body = msgspec.json.encode(
            {"schema": NOTIFICATION_SCHEMA, "notification_id": notice.transition, "alert": notice.alert}
        )
        timestamp = int(time.time())
        headers = {
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: sign(self._secret, timestamp, body),
            "idempotency-key": notice.transition,
        }
        await _post(self._session, self._url, body, headers)
        return {}

    async def remind(self, known: Sequence[Json]) -> None:
        """Nothing: a receiver of webhooks keeps what it was told."""


class AppriseSender:
    """Whatever Apprise has a URL for: Slack, PagerDuty, Opsgenie, mail, Teams and many more."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        try:
            import apprise  # noqa: PLC0415 # an optional dependency
        except ModuleNotFoundError as error:
            raise ConfigurationError("apprise is not installed: pip install 'stream-guard[notify]'") from error
        self._apprise: Any = apprise.Apprise()
        self._timeout_seconds = timeout_seconds
        if not self._apprise.add(url):
            raise ConfigurationError("Apprise does not know a target's URL: see its documentation")

    async def send(self, notice: Notice) -> Json:
        """See `Sender`; Apprise does not say why it failed, so it is always tried again."""
        title, text, kind = title_and_text(notice.alert)
        notify = asyncio.to_thread(self._apprise.notify, body=text, title=title, notify_type=kind)
        try:
            if not await asyncio.wait_for(notify, self._timeout_seconds * 2):  # it has time-outs of its own
                raise ServiceUnavailableError("Apprise could not deliver")
        except TimeoutError as error:
            raise ServiceUnavailableError("Apprise took too long") from error
        return {}

    async def remind(self, known: Sequence[Json]) -> None:
        """Nothing: messages stay."""


def make_sender(target: Target, session: aiohttp.ClientSession) -> Sender:
    """The sender of a target; `session` must not follow redirects on its own account.

    Raises:
        ConfigurationError: it cannot work.
    """
    if target.kind is TargetKind.ALERTMANAGER:
        return AlertmanagerSender(target.address(), session)
    if target.kind is TargetKind.WEBHOOK:
        return WebhookSender(target.address(), target.key(), session)
    return AppriseSender(target.address(), target.timeout_seconds)


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    sent = {"content-type": "application/json", **headers}
    try:
        async with session.post(url, data=body, headers=sent, allow_redirects=False) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ServiceUnavailableError(f"no answer: {type(error).__name__}") from error  # the URL may hold a secret
    if status in _NEVER:
        raise RefusedError(f"HTTP {status}")
    if not 200 <= status < 300:
        raise ServiceUnavailableError(f"HTTP {status}")
