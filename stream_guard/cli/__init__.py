"""The `stream-guard` command. Subcommands are imported when they are used."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from stream_guard import __version__
from stream_guard.cli.errors import Flags, exit_code, missing_module

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM: Final = "stream-guard"
_OPERATE: Final = "operate"
_LOOK: Final = "look"
_COMMANDS: Final = {
    "demo": ("demo", "Show a campaign being found, with a broker and a Redis of its own."),
    "replay": ("replay", "Run the detector over files; writes alerts, campaigns and decisions."),
    "diff": ("diff", "Say which accounts and campaigns two replays decide differently."),
    "simulate": ("simulate", "Write labelled traffic of a scenario to a file."),
    "evaluate": ("evaluate", "Simulate, replay and score against the truth."),
    "worker": ("worker", "Run the worker."),
    "gateway": ("gateway", "Answer Envoy from the decisions in force."),
    "notify": ("notify", "Tell people about alerts, apart from the workers."),
    "console": ("console", "Serve web console and HTTP API, apart from the workers."),
    "tail": ("tail", "Bring the records of other programs to Kafka, from a file or a pipe."),
    "topics": ("topics", "Create what topics are missing and verify the rest."),
    "check": ("check", "Validate the configuration and reach every service."),
    "campaigns": (_OPERATE, "List campaigns, or show all about one."),
    "alerts": (_LOOK, "List alerts."),
    "decisions": (_LOOK, "List or follow decisions; approve or release one."),
    "allow": (_OPERATE, "Leave accounts or campaigns alone: the allow-list."),
    "feedback": (_OPERATE, "Say what a campaign or an account really is."),
    "snooze": (_LOOK, "Hear nothing of a campaign for a while."),
    "kill-switch": (_OPERATE, "Stop every limit at once."),
    "audit": (_LOOK, "List who did what."),
    "sketch": ("sketch", "Turn prompts into sketches, for gateways."),
    "completion": ("completion", "Print what a shell needs to complete commands."),
}
# The detector multiplies small matrices thousands of times: a second BLAS thread mostly waits for the first, and where
# the cores are shared that costs more than the product itself. Read once, when NumPy is first imported.
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
_EPILOG: Final = """\
\b
Completion of commands and options in the shell:
  bash  eval "$(stream-guard completion bash)"
  zsh   eval "$(stream-guard completion zsh)", after compinit
  fish  stream-guard completion fish | source

\b
Exit codes: 0 done, 1 failed, 2 wrong usage.
"""


class _LazyGroup(click.Group):
    """Knows its commands' names and one line about each; a missing dependency breaks only the command that needs it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = f"{__name__}.{_COMMANDS[cmd_name][0]}"
        try:
            command: Any = getattr(import_module(module), cmd_name.replace("-", "_"))
        except ModuleNotFoundError as error:
            raise missing_module(cmd_name, error) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{module} has no command {cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Likewise."""
        names = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=_LazyGroup, name=_PROGRAM, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=_PROGRAM)
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Find coordinated extraction from a language-model API, and slow it down."""
    context.ensure_object(Flags).debug = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    flags = Flags()
    return exit_code(
        lambda: cli.main(args=arguments, prog_name=_PROGRAM, standalone_mode=False, obj=flags), flags, _PROGRAM
    )
