"""What was shown, step by step: true or false each, written as JSON after every step."""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Steps:
    """The record of a run."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path, self._started = path, time.monotonic()
        self.shown = dict.fromkeys(names, False)
        self.notes: dict[str, str] = {}
        self.write()

    @contextmanager
    def step(self, name: str, *, needed: bool = True) -> Iterator[None]:
        """True when the block ends well. A needed step that fails ends the run, another one only counts as false."""
        assert name in self.shown
        try:
            yield
        except Exception as error:
            self.notes[name] = f"{type(error).__name__}: {error}".strip()
            self._say(name, "false", self.notes[name])
            if needed:
                raise
            traceback.print_exc(limit=2)
        else:
            self.shown[name] = True
            self._say(name, "true", self.notes.get(name, ""))
        finally:
            self.write()

    def write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        seconds = round(time.monotonic() - self._started, 1)
        found = {"steps": self.shown, "notes": self.notes, "seconds": seconds}
        self._path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def _say(self, name: str, shown: str, note: str) -> None:
        seconds = time.monotonic() - self._started
        sys.stdout.write(f"{seconds:6.1f} s  {shown:5}  {name}{'  ' + note[:200] if note else ''}\n")
        sys.stdout.flush()


def until(check: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
