"""`stream-guard notify`: tell people about alerts, apart from the workers."""

from __future__ import annotations

import asyncio

import click


@click.command()
def notify() -> None:
    """Tell the targets of STREAM_GUARD_NOTIFY__TARGETS about alerts; see docs/notifications.md.

    Workers do this by themselves where the variable is set; a notifier of its own goes on while they restart.
    """
    # Imported here: none of this is needed for --help or completion.
    from stream_guard.app.logs import configure_logs  # noqa: PLC0415
    from stream_guard.app.notify import run_notifier  # noqa: PLC0415
    from stream_guard.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logs(settings.log)
    asyncio.run(run_notifier(settings))
