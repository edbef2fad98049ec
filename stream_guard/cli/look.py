"""More of what the person on call looks at: alerts, the audit, decisions as they happen; and snooze."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from stream_guard.cli import show
from stream_guard.cli.operate import (
    Duration,
    action_options,
    asked,
    confirm,
    connected,
    decisions,
    json_option,
    limit_option,
    perform,
    tenant_option,
)

__all__ = ["alerts", "audit", "decisions", "snooze"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_guard.app.decision_stream import Event


@click.command()
@tenant_option
@limit_option
@json_option
def alerts(*, tenant: str, limit: int, as_json: bool) -> None:
    """List alerts, newest first."""
    found = perform(lambda operations: operations.list_alerts(tenant, limit))
    (show.show_json if as_json else show.show_alerts)(found)


@click.command()
@click.option("--tenant", help="Tenant to look at; all of them if left out.")
@limit_option
@json_option
def audit(*, tenant: str | None, limit: int, as_json: bool) -> None:
    """List who did what and how decisions changed, newest first."""
    found = perform(lambda operations: operations.audit(limit, tenant))
    (show.show_json if as_json else show.show_audit)(found)


@click.command()
@click.argument("campaign_id", metavar="ID")
@click.option("--for", "seconds", type=Duration(), default="1d", show_default=True, help="How long, such as 12h or 7d.")
@action_options
def snooze(*, campaign_id: str, seconds: float, actor: str, reason: str, tenant: str, as_json: bool) -> None:  # noqa: PLR0913 # one argument per option
    """Hear nothing of campaign ID for a while; its decisions stand."""
    request = asked(actor, reason, tenant)
    entry = perform(lambda operations: operations.snooze_for(request, campaign_id, seconds))
    until = show.short_time(entry["expires_at"])
    confirm(entry, f"Snoozed campaign {campaign_id} until {until}", as_json=as_json)


@decisions.command(name="follow")
@click.option("--after", "position", default="", metavar="POSITION", help="Go on from here, without the list.")
@tenant_option
@json_option
def follow_decisions(*, position: str, tenant: str, as_json: bool) -> None:
    """Show what happens to decisions as it happens, until interrupted; the standing ones first.

    With --json each line is an object with event, position and data. To go on later without a gap, give the last
    position that is not empty as --after.
    """
    asyncio.run(_follow(position, tenant, show.show_event_json if as_json else show.show_event))


async def _follow(position: str, tenant: str, shown: Callable[[Event], None]) -> None:
    from stream_guard.app.decision_stream import IDLE, follow  # noqa: PLC0415 # not needed for --help or completion

    async with connected() as operations, aclosing(follow(operations, tenant, position)) as events:
        async for event in events:
            if event is not IDLE:
                shown(event)
