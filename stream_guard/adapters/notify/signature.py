"""Signatures of webhooks: HMAC-SHA256 over `timestamp.body`, from the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMESTAMP_HEADER: Final = "x-stream-guard-timestamp"
SIGNATURE_HEADER: Final = "x-stream-guard-signature"
TOLERANCE_SECONDS: Final = 300.0
_VERSION: Final = "v1="


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """The signature header of a body sent at `timestamp` (Unix seconds).

    >>> sign(b"secret", 1_700_000_000, b"{}")[:11]
    'v1=b8569b78'
    """
    return _VERSION + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def verify(
    secret: bytes, headers: Mapping[str, str], body: bytes, now: float, tolerance_seconds: float = TOLERANCE_SECONDS
) -> bool:
    """Whether a webhook is ours and not an old one sent again; for receivers.

    Args:
        secret: what both sides know.
        headers: of the request; names in any case.
        body: as received, byte for byte.
        now: Unix seconds.
        tolerance_seconds: by how much the clocks may differ.
    """
    named = {name.lower(): value for name, value in headers.items()}
    timestamp = named.get(TIMESTAMP_HEADER, "")
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 12:
        return False
    expected = sign(secret, int(timestamp), body)
    given = named.get(SIGNATURE_HEADER, "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(expected.encode(), given) and abs(now - int(timestamp)) <= tolerance_seconds
