"""`stream-guard console`: the web console apart from the workers."""

from __future__ import annotations

import asyncio

import click


@click.command()
def console() -> None:
    """Serve web console and HTTP API on STREAM_GUARD_WEB__HOST and __PORT; see docs/console.md.

    Workers do this by themselves; a console of its own goes on while they restart.
    """
    # Imported here: none of this is needed for --help or completion.
    from stream_guard.app.logs import configure_logs  # noqa: PLC0415
    from stream_guard.app.main import run_console  # noqa: PLC0415
    from stream_guard.policy import load_policy  # noqa: PLC0415
    from stream_guard.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    configure_logs(settings.log)
    asyncio.run(run_console(settings, load_policy(settings.policy)))
