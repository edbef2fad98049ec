"""`stream-guard worker`: run the Faust worker until it is told to stop."""

from __future__ import annotations

import sys

import click


@click.command()
def worker() -> None:
    """Run the worker. Settings come from the environment; `stream-guard check` validates them."""
    from stream_guard.app.main import main  # noqa: PLC0415 # Faust takes a second to import; other commands need none

    sys.exit(main())
