"""The shipped configuration's access log, written by the real Envoy, is what `--source envoy` reads."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stream_guard.decode.times import parse_time
from stream_guard.edge import ip_fingerprint
from stream_guard.sources import Bridge, load_mapping
from tests.support.envoy import EnvoyServer, Upstream
from tests.support.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
KEY = b"a secret of the tests, long enough"


@pytest.mark.parametrize("configuration", ["envoy.yaml", "ext_authz.yaml"])
async def test_what_envoy_logs_becomes_records(configuration: str, tmp_path: Path) -> None:
    began = time.time()
    async with Upstream() as upstream, aiohttp.ClientSession() as http:
        envoy = EnvoyServer(tmp_path, upstream.port, free_port(), configuration, bare=True)
        await asyncio.to_thread(envoy.start)
        try:
            headers = {"x-account-id": "acct_1", "x-tenant": "emea", "x-request-id": "chosen", "user-agent": "curl/8"}
            for sent in (headers, headers, {}):  # the same chosen id twice, and one without an account
                await (await http.get(f"{envoy.url}/v1/messages", headers=sent)).read()
        finally:
            await asyncio.to_thread(envoy.stop)  # which flushes the log
    lines = [line for line in (tmp_path / "server.out").read_bytes().split(b"\n") if line.startswith(b"{")]
    found = Bridge(load_mapping("envoy"), KEY).map(lines)
    assert (len(found.records), found.skipped, found.refused, found.left_out) == (2, 1, [], {})
    first, second = (json.loads(value) for _, value in found.records)
    assert first["event_id"] != second["event_id"]
    assert "chosen" not in json.dumps([first, second])
    expected: dict[str, Any] = {
        "account_id": "acct_1",
        "tenant": "emea",
        "user_agent": "curl/8",
        "status": 200,
        "ip": ip_fingerprint(KEY, "127.0.0.1"),
    }
    assert first.items() >= expected.items()
    assert began - 1.0 < (parse_time(first["ts"]) or 0.0) < time.time() + 1.0
    assert first["latency_ms"] >= 0.0
