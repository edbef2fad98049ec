"""`topics` and `check` against real servers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click.testing import CliRunner

from stream_guard.cli.check import check
from stream_guard.cli.topics import topics
from stream_guard.ports import Topic
from tests.support.cluster import ROOT
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration


@pytest.fixture
def environment(kafka_bootstrap: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    monkeypatch.setenv("STREAM_GUARD_KAFKA__BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("STREAM_GUARD_REDIS__URL", redis_url)
    monkeypatch.setenv("STREAM_GUARD_KAFKA__TOPIC_PREFIX", f"t{uuid4().hex[:8]}.")
    return monkeypatch.setenv


def test_topics_are_created_once_and_checked(environment: Callable[[str, str], None]) -> None:
    runner = CliRunner()
    missing = runner.invoke(check)
    assert missing.exit_code == 1
    assert "run `stream-guard topics`" in missing.output
    created = runner.invoke(topics)
    assert created.exit_code == 0, created.output
    assert created.output.count("created") == len(Topic)
    again = runner.invoke(topics)
    assert again.exit_code == 0
    assert "created" not in again.output
    assert runner.invoke(topics, ["--verify"]).exit_code == 0
    checked = runner.invoke(check)
    assert checked.exit_code == 0, checked.output
    environment("STREAM_GUARD_PARTITIONS__QUERIES", "5")
    wrong = runner.invoke(topics)
    assert wrong.exit_code == 1
    assert "has 8 partitions, settings say 5" in wrong.output


def test_absent_services_are_named_with_advice(environment: Callable[[str, str], None]) -> None:
    environment("STREAM_GUARD_REDIS__URL", f"redis://127.0.0.1:{free_port()}/0")
    environment("STREAM_GUARD_KAFKA__BOOTSTRAP", f"127.0.0.1:{free_port()}")
    # In a process of its own: kafka-python leaves sockets open when it cannot connect.
    command = [sys.executable, "-c", "from stream_guard.cli.check import check; check()"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 1
    assert "STREAM_GUARD_REDIS__URL" in result.stderr
    assert "STREAM_GUARD_KAFKA__BOOTSTRAP" in result.stderr
    assert "Traceback" not in result.stderr
