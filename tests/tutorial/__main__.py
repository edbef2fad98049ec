"""`make time-tutorial`: docs/tutorial.md as a new user goes through it, in a clean clone without a cache of packages.

Writes build/tutorial.json with the seconds from the first command until each step had happened. Ends with 1 when the
campaign's page took longer than five minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300.0
END = "Ctrl-C ends everything."
UNWANTED = ("STREAM_GUARD_", "KAFKA_", "REDIS_", "VIRTUAL_ENV", "PYTHONPATH", "MAKE", "MFLAGS")


def main() -> int:
    """0 when the page came in time and the decision was approved and released."""
    with tempfile.TemporaryDirectory(prefix="tutorial-") as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED)}
        environment |= {"PIP_NO_CACHE_DIR": "1", "XDG_CACHE_HOME": str(Path(name) / "cache")}
        seconds = walk(clone, environment)
    out = ROOT / "build" / "tutorial.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")
    for step, value in seconds.items():
        sys.stdout.write(f"{value:6.1f} s  {step}\n")
    return 0 if seconds["the campaign's page answers"] <= LIMIT_SECONDS else 1


def walk(clone: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Follow the page; seconds since the first command by step."""
    seconds: dict[str, float] = {}
    started = time.monotonic()
    process = subprocess.Popen(
        ["make", "tutorial"],
        cwd=clone, env=dict(environment), stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        read_until(process.stdout, "broker and Redis listen")
        seconds["packages are installed"] = time.monotonic() - started
        said = read_until(process.stdout, END)
        page = re.search(r"^  campaign +(http\S+)$", said, re.MULTILINE)
        campaign = re.search(r"^campaign (cmp_\w+), alert", said, re.MULTILINE)
        assert page
        assert campaign
        assert campaign[1] in get(page[1])
        seconds["the campaign's page answers"] = time.monotonic() - started
        exports = dict(re.findall(r"^  export (\w+)=(\S+)$", said, re.MULTILINE))
        for step, status in (("approve", "active"), ("release", "released")):
            decide(clone, {**environment, **exports}, step, page[1])
            wait_for(page[1], status)
            seconds[f"the decision is {status}"] = time.monotonic() - started
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60.0)
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
    base = page.partition("/console")[0]
    campaign = page.rpartition("/")[2]
    found = json.loads(get(f"{base}/api/v1/decisions?limit=200"))["decisions"]
    return [item for item in found if item["subject"] == {"scope": "campaign", "id": campaign}]


def decide(clone: Path, environment: Mapping[str, str], step: str, page: str) -> None:
    wanted = {"approve": "held", "release": "active"}[step]
    decision = next(item["decision_id"] for item in decisions(page) if item["status"] == wanted)
    command = [".venv/bin/stream-guard", "decisions", step, decision, "--reason", "the tutorial"]
    subprocess.run(command, cwd=clone, env=dict(environment), check=True, stdout=subprocess.DEVNULL)


def wait_for(page: str, status: str) -> None:
    deadline = time.monotonic() + 60.0
    while status not in {item["status"] for item in decisions(page)}:
        assert time.monotonic() < deadline, f"no decision is {status}"
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
