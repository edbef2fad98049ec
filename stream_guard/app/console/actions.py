"""What the console's buttons do: each is one operation, so the audit has it with who and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stream_guard.app.operations import InvalidRequestError, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from stream_guard.app.console.session import Session
    from stream_guard.app.operations import Operations
    from stream_guard.records import Json

_LABELS: Final = frozenset({"true_positive", "false_positive", "organisation", "reseller"})
_OF_EVERY_TENANT: Final = frozenset({"engage", "disengage"})
HOURS: Final = (("1", "1 hour"), ("8", "8 hours"), ("24", "1 day"), ("168", "1 week"), ("720", "30 days"))
NOTICES: Final = {
    "true_positive": "Noted: a campaign indeed.",
    "false_positive": "Noted: a false positive. Its limits are being lifted.",
    "organisation": "Noted: one organisation. Its limits are being lifted.",
    "reseller": "Noted: a reseller. Its limits are being lifted.",
    "approve": "Approval is on its way.",
    "release_decision": "Release of the decision is on its way.",
    "release_campaign": "Release of the whole campaign is on its way.",
    "release_member": "Release of the member is on its way.",
    "allow_campaign": "The campaign is on the allow-list.",
    "allow_member": "The account is on the allow-list.",
    "disallow": "Taken off the allow-list.",
    "snooze": "Snoozed: nobody hears of it until then. Decisions stand.",
    "engage": "The kill switch is engaged: no limit is in force.",
    "disengage": "The kill switch is off: limits return with their decisions' next update.",
}


async def perform(  # noqa: PLR0913, PLR0917 # what a form says
    operations: Operations, session: Session, tenant: str, campaign_id: str, form: Mapping[str, str], now: float
) -> str:
    """Carry out a form's button; its name, which is a key of `NOTICES`.

    Raises:
        InvalidRequestError: there is no such button, or a field makes no sense.
        ForbiddenError: the session is bound to another tenant, or to any and the button concerns all of them.
        UnknownSubjectError: it is about something that is not there.
        StateUnavailableError: Redis does not answer.
        ServiceUnavailableError: Kafka does not answer.
    """
    caller = session.caller
    who = Request(session.actor, form.get("reason", ""), caller.within(tenant), f"console:{caller.name}")
    action, until = form.get("action", ""), _until(form.get("hours", ""), now)
    decision, account = form.get("decision", ""), form.get("account", "")
    buttons: Mapping[str, Callable[[], Awaitable[Json]]] = {
        "approve": lambda: operations.approve(who, decision),
        "release_decision": lambda: operations.release(who, "decision", decision),
        "release_campaign": lambda: operations.release(who, "campaign", campaign_id),
        "release_member": lambda: operations.release(who, "account", account),
        "allow_campaign": lambda: operations.allow(who, "campaign", campaign_id, until),
        "allow_member": lambda: operations.allow(who, "account", account, until),
        "disallow": lambda: operations.disallow(who, form.get("scope", ""), form.get("id", "")),
        "snooze": lambda: operations.snooze(who, campaign_id, until),
        "engage": lambda: operations.engage_kill_switch(who),
        "disengage": lambda: operations.disengage_kill_switch(who),
    }
    if action in _OF_EVERY_TENANT:
        caller.must_be_unbound()
    if action in _LABELS:
        await operations.feedback(who, action, campaign_id)
    elif action in buttons:
        await buttons[action]()
    else:
        raise InvalidRequestError("there is no such button")
    return action


def _until(hours: str, now: float) -> float | None:
    if not hours:
        return None
    if hours not in dict(HOURS):
        raise InvalidRequestError("hours must be one of those offered")
    return now + float(hours) * 3_600.0
