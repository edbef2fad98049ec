"""What the person on call does: look at campaigns and decisions, release, approve, allow, judge, stop everything."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from stream_guard.cli import show
from stream_guard.records import DEFAULT_TENANT, FeedbackLabel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from stream_guard.app.operations import Operations, Request
    from stream_guard.records import Json

Result = TypeVar("Result")
Command = TypeVar("Command", bound="Callable[..., Any]")

_UNIT_SECONDS: Final = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}


def login_name() -> str:
    """Who is at the terminal; before `sudo`, where that can be known."""
    try:
        return os.getlogin()
    except OSError:
        pass
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


class Duration(click.ParamType):
    """`30m`, `12h` or `7d`, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 # click's signature
        """Seconds; anything else is wrong usage."""
        found = re.fullmatch(r"(\d{1,6})([mhd])", str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 7d", param, ctx)
        return int(found[1]) * _UNIT_SECONDS[found[2]]


def tenant_option(command: Command) -> Command:
    """`--tenant`."""
    return click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Tenant to look at.")(command)


def json_option(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON for machines.")(command)


def limit_option(command: Command) -> Command:
    """`--limit`."""
    return click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))(command)


def action_options(command: Command) -> Command:
    """What every action takes: who, why, where."""
    for option in (
        click.option("--reason", required=True, help="Why; kept in the audit."),
        click.option("--actor", default=login_name, show_default="login name", help="Who; kept in the audit."),
    ):
        command = option(command)
    return tenant_option(json_option(command))


@asynccontextmanager
async def connected() -> AsyncIterator[Operations]:
    """Operations on the Redis and Kafka of the settings; neither is contacted before it is needed."""
    # Imported here: none of this is needed for --help or completion.
    from stream_guard.adapters.kafka_records import KafkaRecords  # noqa: PLC0415
    from stream_guard.adapters.redis_client import connect  # noqa: PLC0415
    from stream_guard.adapters.redis_control import KillSwitch  # noqa: PLC0415
    from stream_guard.adapters.redis_registry import RedisRegistry  # noqa: PLC0415
    from stream_guard.app.operations import Operations  # noqa: PLC0415
    from stream_guard.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    client = connect(settings.redis)
    records = KafkaRecords(settings)
    try:
        yield Operations(RedisRegistry(client), KillSwitch(client), records, time.time)
    finally:
        await records.aclose()
        await client.aclose()


def perform(action: Callable[[Operations], Awaitable[Result]]) -> Result:
    """Connect, act, disconnect."""

    async def run() -> Result:
        async with connected() as operations:
            return await action(operations)

    return asyncio.run(run())


def asked(actor: str, reason: str, tenant: str) -> Request:
    """An action's request."""
    from stream_guard.app.operations import Request  # noqa: PLC0415 # as in `connected`

    return Request(actor, reason, tenant, "cli")


def confirm(entry: Json, text: str, *, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        show.show_json(entry)
        return
    operation = f" ({entry['operation_id']})" if "operation_id" in entry else ""
    click.echo(show.harmless(f"{text}{operation}, as {entry['actor']}: {entry['reason']}"))


async def _dossier(operations: Operations, campaign_id: str, tenant: str) -> Json:
    from stream_guard.app.dossier import dossier_object, gather  # noqa: PLC0415 # as in `connected`
    from stream_guard.policy import load_policy  # noqa: PLC0415
    from stream_guard.settings import load_settings  # noqa: PLC0415

    policy = load_policy(load_settings().policy).decisions
    return dossier_object(await gather(operations, policy, campaign_id, tenant))


@click.command()
@click.argument("campaign_id", metavar="[ID]", required=False)
@tenant_option
@limit_option
@json_option
def campaigns(*, campaign_id: str | None, tenant: str, limit: int, as_json: bool) -> None:
    """List campaigns by exchanges per hour, or show all that is known about campaign ID."""
    if campaign_id is not None:
        found = perform(lambda operations: _dossier(operations, campaign_id, tenant))
        (show.show_json if as_json else show.show_campaign)(found)
        return
    listed = perform(lambda operations: operations.list_campaigns(tenant, limit))
    (show.show_json if as_json else show.show_campaigns)(listed)


@click.group(invoke_without_command=True)
@click.pass_context
def decisions(context: click.Context) -> None:
    """List or follow decisions; approve one that is held, release one that is in force."""
    if context.invoked_subcommand is None:
        context.invoke(list_decisions)


@decisions.command(name="list")
@tenant_option
@limit_option
@json_option
def list_decisions(*, tenant: str = DEFAULT_TENANT, limit: int = 50, as_json: bool = False) -> None:
    """List decisions, newest first."""
    found = perform(lambda operations: operations.list_decisions(tenant, limit))
    (show.show_json if as_json else show.show_decisions)(found)


@decisions.command(name="approve")
@click.argument("decision_id", metavar="ID")
@action_options
def approve(*, decision_id: str, actor: str, reason: str, tenant: str, as_json: bool) -> None:
    """Let held decision ID take effect."""
    request = asked(actor, reason, tenant)
    entry = perform(lambda operations: operations.approve(request, decision_id))
    confirm(entry, f"Approved decision {decision_id}; the worker carries it out", as_json=as_json)


@decisions.command(name="release")
@click.argument("subject_id", metavar="ID")
@click.option(
    "--scope",
    type=click.Choice(["decision", "campaign", "account"]),
    default="decision",
    show_default=True,
    help="What ID names; a campaign or account is released from all of its decisions.",
)
@action_options
def release(  # noqa: PLR0913 # one argument per option
    *, subject_id: str, scope: str, actor: str, reason: str, tenant: str, as_json: bool
) -> None:
    """Lift decision ID now."""
    request = asked(actor, reason, tenant)
    entry = perform(lambda operations: operations.release(request, scope, subject_id))
    confirm(entry, f"Released {scope} {subject_id}; the worker lifts its limits", as_json=as_json)


@click.group()
def allow() -> None:
    """Leave accounts or campaigns alone, whatever is found about them."""


_SCOPE = click.argument("scope", type=click.Choice(["account", "campaign"]))


@allow.command(name="add")
@_SCOPE
@click.argument("subject_id", metavar="ID")
@click.option("--for", "seconds", type=Duration(), help="How long, such as 12h or 7d; for ever if left out.")
@action_options
def add_allowed(  # noqa: PLR0913 # one argument per option
    *, scope: str, subject_id: str, seconds: float | None, actor: str, reason: str, tenant: str, as_json: bool
) -> None:
    """Put account or campaign ID on the allow-list; limits in force are lifted."""
    request = asked(actor, reason, tenant)
    until = None if seconds is None else time.time() + seconds
    entry = perform(lambda operations: operations.allow(request, scope, subject_id, until))
    end = f"until {show.short_time(entry['expires_at'])}" if "expires_at" in entry else "for ever"
    confirm(entry, f"Allowed {scope} {subject_id} {end}", as_json=as_json)


@allow.command(name="remove")
@_SCOPE
@click.argument("subject_id", metavar="ID")
@action_options
def remove_allowed(  # noqa: PLR0913 # one argument per option
    *, scope: str, subject_id: str, actor: str, reason: str, tenant: str, as_json: bool
) -> None:
    """Take account or campaign ID off the allow-list."""
    request = asked(actor, reason, tenant)
    entry = perform(lambda operations: operations.disallow(request, scope, subject_id))
    confirm(entry, f"{scope.capitalize()} {subject_id} is allowed no more", as_json=as_json)


@allow.command(name="list")
@tenant_option
@json_option
def list_allowed(*, tenant: str, as_json: bool) -> None:
    """List what operators put on the allow-list; the policy file may hold more."""
    found = perform(lambda operations: operations.list_allowed(tenant))
    (show.show_json if as_json else show.show_allowed)(found)


@click.command()
@click.option("--campaign", "campaign_id", help="Campaign that is judged.")
@click.option("--account", "account_id", help="Account that is judged.")
@click.option("--label", required=True, type=click.Choice([label.value for label in FeedbackLabel]))
@action_options
def feedback(  # noqa: PLR0913 # one argument per option
    *,
    campaign_id: str | None,
    account_id: str | None,
    label: str,
    actor: str,
    reason: str,
    tenant: str,
    as_json: bool,
) -> None:
    """Say what a campaign or an account really is. A false positive lifts its limits."""
    if (campaign_id is None) == (account_id is None):
        raise click.UsageError("give either --campaign or --account")
    request = asked(actor, reason, tenant)
    entry = perform(lambda operations: operations.feedback(request, label, campaign_id, account_id))
    confirm(entry, f"Recorded {label} for {entry['scope']} {entry['id']}", as_json=as_json)


@click.group(name="kill-switch", invoke_without_command=True)
@click.pass_context
def kill_switch(context: click.Context) -> None:
    """Stop every limit of every tenant at once, without waiting for a worker."""
    if context.invoked_subcommand is None:
        context.invoke(kill_switch_status)


@kill_switch.command(name="on")
@action_options
def kill_switch_on(*, actor: str, reason: str, tenant: str, as_json: bool) -> None:
    """Delete every limit now and write none until switched off."""
    entry = perform(lambda operations: operations.engage_kill_switch(asked(actor, reason, tenant)))
    confirm(entry, f"Kill switch on: {entry['deleted']:,} limit keys deleted, none is written", as_json=as_json)


@kill_switch.command(name="off")
@action_options
def kill_switch_off(*, actor: str, reason: str, tenant: str, as_json: bool) -> None:
    """Let limits be written again; each returns with its decision's next update."""
    entry = perform(lambda operations: operations.disengage_kill_switch(asked(actor, reason, tenant)))
    text = "Kill switch off" if entry["was_engaged"] else "Kill switch was off already"
    confirm(entry, f"{text}: limits return with their decisions' next updates", as_json=as_json)


@kill_switch.command(name="status")
@json_option
def kill_switch_status(*, as_json: bool = False) -> None:
    """Say whether limits are in force."""
    state = perform(lambda operations: operations.kill_switch())
    if as_json:
        show.show_json({"engaged": state is not None, "state": state})
    elif state is None:
        click.echo("off: limits are in force")
    else:
        text = f"ON since {show.short_time(state.at)}, by {state.actor}: {state.reason}"
        click.echo(show.harmless(text))
