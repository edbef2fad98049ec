"""schemathesis against the real console with real Kafka and Redis: what is described is what is answered."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_registry import RedisRegistry
from stream_guard.ports import Output
from stream_guard.records import DecisionStatus
from stream_guard.settings import RedisServer
from tests.support.cluster import Cluster
from tests.support.made import alert, campaign, decision
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "fuzzed-fuzzed-fuzzed"  # noqa: S105 # of this test only
EXAMPLES = "8"  # an operation; `-n 200` found nothing more when this was written
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

pytestmark = pytest.mark.integration


@pytest.fixture
def console(kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Iterator[str]:
    database = f"{redis_url.rsplit('/', 1)[0]}/9"  # the kill switch is engaged in here
    cluster = Cluster(kafka_bootstrap, database, tmp_path)
    cluster.create_topics()
    asyncio.run(fill(database))
    port = free_port()
    environment = {
        **os.environ, **cluster.values, "STREAM_GUARD_WEB__PORT": str(port), "STREAM_GUARD_WEB__OPERATE_TOKEN": TOKEN,
    }  # fmt: skip
    with (tmp_path / "console.log").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "stream_guard.cli", "console"], env=environment, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        yield url
        assert process.poll() is None, (tmp_path / "console.log").read_text()
    finally:
        process.terminate()
        process.wait(10.0)
        cluster.delete_topics()
        cluster.redis.flushdb()
        cluster.redis.close()


async def fill(url: str) -> None:
    client = connect(RedisServer(url=url))
    held = decision(decision_id="dec_2", status=DecisionStatus.HELD)
    await RedisRegistry(client).publish(Output(campaigns=[campaign()], alerts=[alert()], decisions=[decision(), held]))
    await client.aclose()


def wait_for(url: str) -> None:
    for _ in range(200):
        with suppress(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=5.0).raise_for_status()
            return
        time.sleep(0.1)
    raise AssertionError("the console does not start")


def test_every_answer_is_as_described_whatever_is_asked(console: str, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run",
        f"{console}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}", "--max-examples", EXAMPLES,
        "--seed", "1", "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stdout[-12_000:] + found.stderr[-2_000:]
