"""The fault runner notices what a target was not told, was told twice differently, or was told too late."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from stream_guard.adapters.notify.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from stream_guard.encode import time_text
from tests.chaos.compare import Difference
from tests.chaos.endpoints import SECRET, Endpoint, Mode, Taken
from tests.chaos.told import pager, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMES = ("2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z")
FIRING = {"alert_id": "alr_1", "at": TIMES[0], "status": "firing", "severity": "critical"}
RESOLVED = {"alert_id": "alr_1", "at": TIMES[1], "status": "resolved", "severity": "info"}
ALERTS = {
    ("alr_1", str(alert["at"]), str(alert["status"])): frozenset({json.dumps(alert).encode()})
    for alert in (FIRING, RESOLVED)
}
NOW = 1_700_000_000


def hook(alert: dict[str, str], key: str | None = None, secret: str = SECRET) -> Taken:
    name = f"{alert['alert_id']}:{alert['status']}:{alert['at']}"
    body = json.dumps({"notification_id": name, "alert": alert}).encode()
    signed = {TIMESTAMP_HEADER: str(NOW), SIGNATURE_HEADER: sign(secret.encode(), NOW, body)}
    return Taken(NOW, {"idempotency-key": key or name, **signed}, body)


def page(left: float, severity: str = "page", alert_id: str = "alr_1") -> Taken:
    labels = {"alert_id": alert_id, "severity": severity}
    return Taken(NOW, {}, json.dumps([{"labels": labels, "endsAt": time_text(NOW + left)}]).encode())


def counts(differs: Difference) -> tuple[int, int, int]:
    return differs.mismatches, differs.alerts_lost, differs.alerts_doubled


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        ([hook(FIRING), hook(RESOLVED)], (0, 0, 0)),
        ([hook(FIRING), hook(FIRING), hook(RESOLVED), hook(FIRING)], (0, 0, 0)),  # at least once
        ([hook(RESOLVED)], (0, 1, 0)),
        ([hook(RESOLVED), hook(FIRING)], (1, 0, 0)),
        ([hook(FIRING), hook(FIRING | {"severity": "info"}), hook(RESOLVED)], (0, 0, 1)),
        ([hook(FIRING), hook(RESOLVED), hook(FIRING | {"alert_id": "alr_2"})], (0, 0, 1)),
        ([hook(FIRING), hook(FIRING, key="other"), hook(RESOLVED)], (1, 0, 0)),
        ([hook(FIRING), hook(RESOLVED), hook(RESOLVED, secret="guessed")], (1, 0, 0)),  # noqa: S106 # of this test
    ],
)
def test_a_webhook_hears_everything_once_or_more_and_the_same_each_time(
    taken: Sequence[Taken], told: tuple[int, int, int]
) -> None:
    differs = Difference()
    webhook(ALERTS, taken, differs)
    assert counts(differs) == told
    assert bool(differs.told) == differs.bad


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        ([page(900.0), page(-10.0)], (0, 0, 0)),
        ([page(900.0)], (1, 0, 0)),  # it is over, and the pager was not told
        ([], (0, 1, 0)),
        ([page(900.0, "ticket"), page(900.0), page(-10.0)], (1, 0, 0)),  # the lesser label was never ended
        ([page(900.0), page(-10.0), page(900.0, alert_id="alr_2")], (1, 0, 0)),
    ],
)
def test_a_pager_has_open_what_is_open(taken: Sequence[Taken], told: tuple[int, int, int]) -> None:
    differs = Difference()
    pager(ALERTS, taken, differs)
    assert counts(differs) == told


def post(endpoint: Endpoint, body: bytes) -> int | None:
    """Status of the answer; None = there was none."""
    request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}", body)  # our own
    try:
        with urllib.request.urlopen(request, timeout=0.5) as response:  # noqa: S310 # our own
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_an_endpoint_takes_fails_cuts_hangs_and_refuses() -> None:
    endpoint = Endpoint("cases", "webhook")
    endpoint.open()
    told: list[int | None] = []
    modes: list[tuple[Callable[[], None], bytes]] = [
        (lambda: endpoint.become(Mode.TAKES), b"taken"),
        (lambda: endpoint.become(Mode.FAILS), b"failed"),
        (lambda: endpoint.become(Mode.CUTS), b"cut"),
        (lambda: endpoint.become(Mode.HANGS), b"hung"),
        (endpoint.close, b"refused"),
    ]
    for change, body in modes:
        change()
        told.append(post(endpoint, body))
    endpoint.become(Mode.TAKES)
    endpoint.open()
    told.append(post(endpoint, b"again"))
    time.sleep(0.05)
    endpoint.close()
    assert told == [200, 500, None, None, None, 200]
    assert [one.body for one in endpoint.taken] == [b"taken", b"cut", b"again"]
