"""`stream-guard completion`: what a shell needs to complete commands, options and choices. click makes it."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

_VARIABLE: Final = "_STREAM_GUARD_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and choices; see stream-guard --help."""
    root = context.find_root()
    made = get_completion_class(shell)
    if made is None:
        raise TypeError(f"click knows no {shell}")
    click.echo(made(root.command, {}, root.info_name or "stream-guard", _VARIABLE).source())
