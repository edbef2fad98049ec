"""`stream-guard topics`: create what is missing and verify the rest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from stream_guard.adapters.topics import TopicAdmin, plan_topics, require
from stream_guard.errors import StreamGuardError
from stream_guard.settings import load_settings

if TYPE_CHECKING:
    from stream_guard.adapters.topics import TopicReport


@click.command()
@click.option("--verify", is_flag=True, help="Only compare; create nothing.")
def topics(*, verify: bool) -> None:
    """Create or verify the topics."""
    try:
        settings = load_settings()
        with TopicAdmin(settings) as admin:
            plans = plan_topics(settings)
            reports = admin.verify(plans) if verify else admin.create_missing(plans)
        for report in reports:
            click.echo(f"{_word(report):<8} {report.name} ({report.partitions} partitions)")
        require(reports)
    except StreamGuardError as error:
        click.echo(f"stream-guard: {error}", err=True)
        sys.exit(1)


def _word(report: TopicReport) -> str:
    if report.problem is not None:
        return "PROBLEM"
    return "created" if report.created else "ok"
