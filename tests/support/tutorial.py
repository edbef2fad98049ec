"""docs/tutorial.md step by step: the campaign's page, an approval, a release."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

INSTALLED = "packages are installed"
PAGE = "the campaign's page answers"
END = "Ctrl-C ends everything."
_HELD_OR_ACTIVE = {"approve": "held", "release": "active"}


def walk(
    first: Sequence[str], program: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> dict[str, float]:
    """Follow the page; seconds since the first command by step.

    Args:
        first: the first command, which starts everything.
        program: `stream-guard` for the other commands.
        directory: where they are called.
        environment: of all of them.
    """
    seconds: dict[str, float] = {}
    started = time.monotonic()
    process = subprocess.Popen(
        first, cwd=directory, env=dict(environment), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        read_until(process.stdout, "broker and Redis listen")
        seconds[INSTALLED] = time.monotonic() - started
        said = read_until(process.stdout, END)
        page = re.search(r"^  campaign +(http\S+)$", said, re.MULTILINE)
        campaign = re.search(r"^campaign (cmp_\w+), alert", said, re.MULTILINE)
        assert page
        assert campaign
        assert campaign[1] in get(page[1])
        seconds[PAGE] = time.monotonic() - started
        exports = dict(re.findall(r"^  export (\w+)=(\S+)$", said, re.MULTILINE))
        for step, status in (("approve", "active"), ("release", "released")):
            decision = next(item for item in decisions(page[1]) if item["status"] == _HELD_OR_ACTIVE[step])
            command = [*program, "decisions", step, decision["decision_id"], "--reason", "the tutorial"]
            subprocess.run(
                command, cwd=directory, env={**environment, **exports}, check=True, stdout=subprocess.DEVNULL
            )
            wait_for(page[1], status)
            seconds[f"the decision is {status}"] = time.monotonic() - started
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60.0)
    return seconds


def read_until(lines: IO[str], text: str) -> str:
    """What is printed up to a line with that text."""
    said = []
    for line in lines:
        said.append(line)
        if text in line:
            return "".join(said)
    raise AssertionError(f"it ended without {text!r}:\n{''.join(said)}")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as response:  # noqa: S310 # loopback
        body: bytes = response.read()
    return body.decode()


def decisions(page: str) -> list[dict[str, Any]]:
    """Those about the campaign of the page."""
    base, campaign = page.partition("/console")[0], page.rpartition("/")[2]
    found = json.loads(get(f"{base}/api/v1/decisions?limit=200"))["decisions"]
    return [item for item in found if item["subject"] == {"scope": "campaign", "id": campaign}]


def wait_for(page: str, status: str) -> None:
    deadline = time.monotonic() + 60.0
    while status not in {item["status"] for item in decisions(page)}:
        assert time.monotonic() < deadline, f"no decision is {status}"
        time.sleep(0.2)
