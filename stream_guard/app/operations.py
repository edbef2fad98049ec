"""What the person on call can see and do; one class for the command line and for HTTP.

Actions become records on Kafka, which the campaigns stage carries out; the call returns when Kafka has acknowledged.
The kill switch is a key in Redis instead, because it must work in seconds and without a worker. Everything is audited.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from stream_guard.decode import encode_operation
from stream_guard.encode import time_text
from stream_guard.errors import StateUnavailableError, StreamGuardError
from stream_guard.ports import Topic
from stream_guard.records import DEFAULT_TENANT, DecisionStatus, FeedbackLabel, Json, Operation, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stream_guard.adapters.redis_control import Engaged, KillSwitch
    from stream_guard.adapters.redis_registry import RedisRegistry

MAX_ID: Final = 256  # characters; longer ones would be refused when decoded
MAX_REASON: Final = 2_000
SNOOZE_SECONDS: Final = 86_400.0
MAX_LIST: Final = 1_000
_REFUSED: Final = r"\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"
TEXT_PATTERN: Final = rf"^[^{_REFUSED}]*[^\s{_REFUSED}][^{_REFUSED}]*$"  # what `checked` lets pass, for descriptions
_BIDIRECTIONAL: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class InvalidRequestError(StreamGuardError):
    """An operator's request makes no sense; nothing was done. Correct what the message names."""


class UnknownSubjectError(StreamGuardError):
    """There is no such campaign or decision. List them and check the id and the tenant."""


class ConflictError(StreamGuardError):
    """The decision is in no state for that: it is over, or does not wait for anybody. Look at it again."""


class RecordSender(Protocol):
    """Sends a record and waits for the acknowledgement: `adapters.kafka_records.KafkaRecords`."""

    async def send(self, topic: Topic, key: bytes, value: bytes) -> None:
        """Send.

        Raises:
            ServiceUnavailableError: it was not acknowledged.
        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, for which tenant, why, and by which way (`cli`, `http`)."""

    actor: str
    reason: str
    tenant: str = DEFAULT_TENANT
    via: str = "cli"


class Operations:
    """Everything operators do.

    Args:
        registry: what is going on; the audit.
        kill_switch: stops all limits.
        sender: Kafka.
        clock: Unix seconds.

    Every method raises StateUnavailableError or ServiceUnavailableError when Redis or Kafka does not answer, and
    InvalidRequestError for arguments that are too long, empty or hold control characters.
    """

    def __init__(
        self, registry: RedisRegistry, kill_switch: KillSwitch, sender: RecordSender, clock: Callable[[], float]
    ) -> None:
        self._registry, self._kill_switch, self._sender, self._clock = registry, kill_switch, sender, clock

    # What is going on -------------------------------------------------------------------------------------------

    async def list_campaigns(self, tenant: str = DEFAULT_TENANT, limit: int = 100) -> list[Json]:
        """Campaigns, fastest first, without members and evidence: `member_count` says how many are in it now."""
        return [_summary(item) for item in await self._registry.campaigns(checked("tenant", tenant), _limit(limit))]

    async def get_campaign(self, campaign_id: str, tenant: str = DEFAULT_TENANT) -> Json:
        """One campaign with its members and evidence.

        Raises:
            UnknownSubjectError: there is none.
        """
        found = await self._registry.campaign(checked("tenant", tenant), checked("id", campaign_id))
        if found is None:
            raise UnknownSubjectError(f"there is no campaign {campaign_id} in tenant {tenant}")
        return found

    async def history(self, campaign_id: str, tenant: str = DEFAULT_TENANT) -> list[tuple[float, int, int]]:
        """How a campaign grew: Unix seconds of event time, exchanges and members, oldest first."""
        return await self._registry.history(checked("tenant", tenant), checked("id", campaign_id))

    async def whole_campaigns(self, tenant: str = DEFAULT_TENANT, limit: int = 100) -> list[Json]:
        """Campaigns, fastest first, with members and evidence."""
        return await self._registry.campaigns(checked("tenant", tenant), _limit(limit))

    async def list_decisions(self, tenant: str = DEFAULT_TENANT, limit: int = 100) -> list[Json]:
        """Decisions, newest first."""
        return await self._registry.decisions(checked("tenant", tenant), _limit(limit))

    async def decision_changes(self, tenant: str, position: str) -> list[tuple[str, Json]] | None:
        """Changes of decisions after a position, oldest first; None when the position is unknown or too old."""
        return await self._registry.decision_log.after(checked("tenant", tenant), position)

    async def standing_decisions(self, tenant: str = DEFAULT_TENANT) -> tuple[str, list[Json]]:
        """Every decision that is held or active, and the position from which changes follow."""
        end = await self._registry.decision_log.end(checked("tenant", tenant))  # first, or a change could be missed
        return end, await self._registry.standing_decisions(tenant)

    async def list_alerts(self, tenant: str = DEFAULT_TENANT, limit: int = 100) -> list[Json]:
        """Alerts, newest first."""
        return await self._registry.alerts(checked("tenant", tenant), _limit(limit))

    async def list_allowed(self, tenant: str = DEFAULT_TENANT) -> list[Json]:
        """What operators put on the allow-list, what the policy file allows left out."""
        return await self._registry.allowed(checked("tenant", tenant))

    async def audit(self, limit: int = 100, tenant: str | None = None) -> list[Json]:
        """Newest entries first; of every tenant where none is named. The kill switch belongs to no tenant."""
        return await self._registry.audited(_limit(limit), None if tenant is None else checked("tenant", tenant))

    async def kill_switch(self) -> Engaged | None:
        """Who engaged it; None while limits are in force."""
        return await self._kill_switch.state()

    # What people do ---------------------------------------------------------------------------------------------

    async def allow(self, request: Request, scope: str, subject_id: str, expires_at: float | None = None) -> Json:
        """Leave an account or a campaign alone, whatever is found, and release what is in force."""
        _one_of("scope", scope, (Scope.ACCOUNT, Scope.CAMPAIGN))
        entry = await self._operate(request, "allow", scope, subject_id, expires_at)
        await self._noted(entry, self._registry.allow(request.tenant, entry))
        return entry

    async def disallow(self, request: Request, scope: str, subject_id: str) -> Json:
        """Take it off the allow-list."""
        _one_of("scope", scope, (Scope.ACCOUNT, Scope.CAMPAIGN))
        entry = await self._operate(request, "disallow", scope, subject_id)
        await self._noted(entry, self._registry.disallow(request.tenant, scope, subject_id))
        return entry

    async def release(self, request: Request, scope: str, subject_id: str) -> Json:
        """Lift a decision, or every decision about an account or a campaign, and take none for a day.

        Raises:
            UnknownSubjectError: there is no such campaign or decision.
            ConflictError: the decision is over.
        """
        _one_of("scope", scope, ("decision", Scope.ACCOUNT, Scope.CAMPAIGN))
        if scope == "decision":
            await self._decision(request.tenant, subject_id, (DecisionStatus.ACTIVE, DecisionStatus.HELD))
        elif scope == Scope.CAMPAIGN:
            await self.get_campaign(subject_id, request.tenant)
        return await self._operate(request, "release", scope, subject_id)

    async def approve(self, request: Request, decision_id: str) -> Json:
        """Let a held decision take effect.

        Raises:
            UnknownSubjectError: there is no such decision.
            ConflictError: it does not wait.
        """
        await self._decision(request.tenant, decision_id, (DecisionStatus.HELD,))
        return await self._operate(request, "approve", "decision", decision_id)

    async def snooze(self, request: Request, campaign_id: str, expires_at: float | None = None) -> Json:
        """Hear nothing of a campaign until `expires_at`; a day if None. Decisions stand.

        Raises:
            UnknownSubjectError: there is no such campaign.
        """
        await self.get_campaign(campaign_id, request.tenant)
        until = self._clock() + SNOOZE_SECONDS if expires_at is None else expires_at
        return await self._operate(request, "snooze", Scope.CAMPAIGN, campaign_id, until)

    async def snooze_for(self, request: Request, campaign_id: str, seconds: float) -> Json:
        """`snooze`, from now on."""
        return await self.snooze(request, campaign_id, self._clock() + seconds)

    async def feedback(
        self, request: Request, label: str, campaign_id: str | None = None, account_id: str | None = None
    ) -> Json:
        """Say what a campaign or an account really is; exactly one of them.

        Raises:
            UnknownSubjectError: there is no such campaign.
        """
        _one_of("label", label, tuple(FeedbackLabel))
        if (campaign_id is None) == (account_id is None):
            raise InvalidRequestError("name either a campaign or an account")
        scope, subject_id = ("campaign", campaign_id) if campaign_id is not None else ("account", account_id or "")
        _check(request, subject_id)
        if campaign_id is not None:
            await self.get_campaign(campaign_id, request.tenant)
        now = self._clock()
        record = {
            "type": "feedback",
            f"{scope}_id": subject_id,
            "label": label,
            "actor": request.actor,
            "reason": request.reason,
            "tenant": request.tenant,
            "ts": time_text(now),
        }
        await self._sender.send(Topic.FEEDBACK, subject_id.encode(), msgspec.json.encode(record))
        entry = _entry(request, f"feedback:{label}", scope, subject_id, now)
        await self._noted(entry, self._registry.audit(entry))
        return entry

    async def engage_kill_switch(self, request: Request) -> Json:
        """Stop every limit of every tenant; `deleted` says how many keys went."""
        _check(request, "kill-switch")
        now = self._clock()
        deleted = await self._kill_switch.engage(request.actor, request.reason, time_text(now))
        entry = _of_every_tenant(_entry(request, "engage", "kill_switch", "kill-switch", now)) | {"deleted": deleted}
        await self._registry.audit(entry)
        return entry

    async def disengage_kill_switch(self, request: Request) -> Json:
        """Let limits be written again; each returns with its decision's next update."""
        _check(request, "kill-switch")
        was = await self._kill_switch.disengage()
        entry = _entry(request, "disengage", "kill_switch", "kill-switch", self._clock())
        entry = _of_every_tenant(entry) | {"was_engaged": was}
        await self._registry.audit(entry)
        return entry

    # How --------------------------------------------------------------------------------------------------------

    async def _operate(
        self, request: Request, action: str, scope: str, subject_id: str, expires_at: float | None = None
    ) -> Json:
        _check(request, subject_id)
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidRequestError("the end must lie in the future")
        operation = Operation(
            operation_id="op_" + secrets.token_hex(8),
            action=action,
            tenant=request.tenant,
            scope=scope,
            subject_id=subject_id,
            actor=request.actor,
            reason=request.reason,
            ts=now,
            expires_at=expires_at,
        )
        await self._sender.send(Topic.OPERATIONS, subject_id.encode(), encode_operation(operation))
        entry = {"operation_id": operation.operation_id, **_entry(request, action, scope, subject_id, now)}
        if expires_at is not None:
            entry["expires_at"] = time_text(expires_at)
        await self._noted(entry, self._registry.audit(entry))
        return entry

    async def _noted(self, entry: Json, note: Awaitable[None]) -> None:
        """Kafka has it; a failing note must not read as if nothing had happened."""
        try:
            await note
        except StateUnavailableError as error:
            raise StateUnavailableError(
                f"{entry['action']} of {entry['id']} is on its way, but could not be noted for lists and audit: {error}"
            ) from error

    async def _decision(self, tenant: str, decision_id: str, wanted: tuple[DecisionStatus, ...]) -> None:
        found = await self._registry.decision(checked("tenant", tenant), checked("id", decision_id))
        if found is None:
            raise UnknownSubjectError(f"there is no decision {decision_id} in tenant {tenant}")
        if found["status"] not in wanted:
            raise ConflictError(f"decision {decision_id} is {found['status']}, not {' or '.join(wanted)}")


def checked(name: str, text: str, most: int = MAX_ID) -> str:
    """`text`, if it can be an identifier or a reason.

    Raises:
        InvalidRequestError: it is empty, too long, or holds characters that could mislead whoever reads it.
    """
    if not text.strip():
        raise InvalidRequestError(f"{name} is empty")
    if len(text) > most:
        raise InvalidRequestError(f"{name} is longer than {most} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} or character in _BIDIRECTIONAL for character in text):
        raise InvalidRequestError(f"{name} holds control characters")
    return text


def _check(request: Request, subject_id: str) -> None:
    checked("id", subject_id)
    checked("tenant", request.tenant)
    checked("actor", request.actor)
    checked("reason", request.reason, MAX_REASON)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidRequestError(f"{name} must be one of {', '.join(allowed)}")


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIST:
        raise InvalidRequestError(f"limit must lie between 1 and {MAX_LIST}")
    return limit


def _summary(campaign: Json) -> Json:
    present = sum(member["left_at"] is None for member in campaign["members"])
    left_out = ("members", "evidence")
    return {name: value for name, value in campaign.items() if name not in left_out} | {"member_count": present}


def _entry(request: Request, action: str, scope: str, subject_id: str, now: float) -> Json:
    what = {"kind": "operation", "action": action, "scope": scope, "id": subject_id, "at": time_text(now)}
    return what | asdict(request)


def _of_every_tenant(entry: Json) -> Json:
    return {name: value for name, value in entry.items() if name != "tenant"}
