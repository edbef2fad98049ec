"""Which processes of a test are running."""

from __future__ import annotations

from pathlib import Path


def running_in(directory: Path) -> list[str]:
    """Processes whose working directory is below `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text(encoding="utf-8", errors="replace"))
        except OSError:  # gone, or not ours
            continue
    return found
