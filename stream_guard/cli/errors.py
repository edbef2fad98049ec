"""How commands end: an exit code, and one clear line on stderr where something failed."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from stream_guard.errors import ConfigurationError, StreamGuardError

if TYPE_CHECKING:
    from collections.abc import Callable

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
_EXTRA_OF: Final = {"demo": "embedded", "gateway": "envoy"}


@dataclass(slots=True)
class Flags:
    """Options of the program itself."""

    debug: bool = False


def exit_code(run: Callable[[], Any], flags: Flags, program: str) -> int:
    """Run a click program that is not standalone and say how it ended.

    A reader that went away (`| head`) ends it quietly: click does that.
    """
    try:
        result = run()
    except click.Abort:
        click.echo(f"{program}: interrupted", err=True)
        return INTERRUPTED
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _failed(error.format_message(), flags, program)
    except StreamGuardError as error:
        return _failed(str(error), flags, program)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", flags, program)
    return result if isinstance(result, int) else DONE


def missing_module(command: str, error: ModuleNotFoundError) -> ConfigurationError:
    """What to do when a command cannot be imported."""
    name = error.name or "a module"
    if name.startswith("stream_guard"):
        return ConfigurationError(f"{command}: not part of this installation ({name} is missing)")
    extra = _EXTRA_OF.get(command)
    wanted = f"stream-guard[{extra}]" if extra else "stream-guard"
    return ConfigurationError(f"{command}: {name} is not installed: pip install '{wanted}'")


def _failed(message: str, flags: Flags, program: str) -> int:
    if flags.debug:
        traceback.print_exc()
    click.echo(f"{program}: {' '.join(message.split())}", err=True)
    return FAILED
