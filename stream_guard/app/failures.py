"""Which HTTP status says that something failed; one table for API and console."""

from __future__ import annotations

from typing import Final

from stream_guard.app.access import ForbiddenError
from stream_guard.app.operations import ConflictError, InvalidRequestError, UnknownSubjectError
from stream_guard.errors import ServiceUnavailableError, StateUnavailableError, StreamGuardError

_STATUS_OF: Final[tuple[tuple[type[StreamGuardError], int], ...]] = (
    (InvalidRequestError, 400),
    (ForbiddenError, 403),
    (UnknownSubjectError, 404),
    (ConflictError, 409),
    (StateUnavailableError, 503),
    (ServiceUnavailableError, 503),
)


def status_of(error: StreamGuardError) -> int:
    """The status of an answer about `error`."""
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), 500)
