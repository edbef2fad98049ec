"""What comes in beside queries: statuses, releases, judgements, operations; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

DEFAULT_TENANT = "default"


class AccountStatusValue(IntEnum):
    """Last known status of an account; stored as a number."""

    NONE = 0
    BANNED = 1
    VERIFIED = 2
    REINSTATED = 3
    CLOSED = 4


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """`account_status` record."""

    key: str
    status: AccountStatusValue
    ts: float


@dataclass(frozen=True, slots=True)
class ModelRelease:
    """`model_release` record; `model` is the name as it stands in the events."""

    model: str
    ts: float


class FeedbackLabel(StrEnum):
    """A person's judgement."""

    TRUE_POSITIVE = "true_positive"
    FALSE_POSITIVE = "false_positive"
    ORGANISATION = "organisation"
    RESELLER = "reseller"


@dataclass(frozen=True, slots=True)
class Feedback:
    """`feedback` record; exactly one of `campaign_id` and `account_id` is set."""

    label: FeedbackLabel
    actor: str
    reason: str
    ts: float
    campaign_id: str | None = None
    account_id: str | None = None
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be decoded; holds a hash of the bytes, never the bytes."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    sha256: str


Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator asks for: allow, disallow, release, approve or snooze something until `expires_at`."""

    operation_id: str
    action: str
    tenant: str
    scope: str
    subject_id: str
    actor: str
    reason: str
    ts: float
    expires_at: float | None = None
