"""`python -m tests.benchmarks.gateway`: what the gateway adds to a bare Envoy at 2,000 requests a second on loopback.

Three runs of h2load through the same Envoy in front of a second one that answers by itself: bare, as an honest account
among 10,000 limits, and as a limited one, whose every request asks Redis. Writes build/gateway-bench.json; exit code 1
when an honest request pays more than 2 ms at the 99th percentile.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_control import KillSwitch
from stream_guard.adapters.redis_limits import RedisLimits
from stream_guard.settings import RedisServer as RedisSettings
from tests.support.envoy import ENVOY, ROOT, EnvoyServer, GatewayProcess
from tests.support.made import decision
from tests.support.servers import RedisServer, Server, free_port

REQUESTS_A_SECOND: Final = 2_000
CONNECTIONS: Final = 4  # HTTP/2; each sends at even intervals, but all start together: more would arrive in bursts
SECONDS, WARM_UP_SECONDS = 10, 3
LIMITS: Final = 10_000
TARGET_MS: Final = 2.0


class AnsweringEnvoy(Server):
    """An upstream that costs next to nothing."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        filters = "type.googleapis.com/envoy.extensions.filters"
        manager = {
            "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "answer",
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
                }
            ],
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "answer",
                        "domains": ["*"],
                        "routes": [
                            {
                                "match": {"prefix": "/"},
                                "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
                            }
                        ],
                    }
                ]
            },
        }
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        listener = {"name": "answer", "address": address, "filter_chains": [chain]}
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "answer.yaml"
        self._file.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener]}}), encoding="utf-8")

    def command(self) -> list[str]:
        return [
            str(ENVOY), "-c", str(self._file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error",
        ]  # fmt: skip

    def answers(self) -> bool:
        return EnvoyServer.answers(self)  # type: ignore[arg-type] # it looks at the port only


def load(url: str, account: str, directory: Path) -> dict[str, float]:
    """Latencies in milliseconds of a run at the wanted rate."""
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    subprocess.run(
        [
            "h2load", "-m", "100", "-c", str(CONNECTIONS),
            f"--rps={REQUESTS_A_SECOND / CONNECTIONS}", "-D", str(SECONDS),
            f"--warm-up-time={WARM_UP_SECONDS}", f"--log-file={log}", "-H", f"x-account-id: {account}", url,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    rows = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    taken = sorted(int(row[2]) / 1_000 for row in rows)
    statuses = {row[1] for row in rows}
    assert statuses == {"200"}, f"not every request passed: {statuses}"
    count = len(taken)
    return {
        "requests_per_second": count / SECONDS,
        "p50_ms": taken[count // 2],
        "p99_ms": taken[count * 99 // 100],
        "p999_ms": taken[count * 999 // 1_000],
    }


async def decide(url: str) -> None:
    """Many limits, and one whose budget never ends."""
    client = connect(RedisSettings(url=url))
    limits = RedisLimits(client, KillSwitch(client))
    members = tuple(f"member_{number}" for number in range(LIMITS))
    endless = {"decision_id": "dec_2", "campaign_id": "cmp_2", "subject_id": "cmp_2", "accounts": ("busy",)}
    await limits.apply([decision(accounts=members), decision(requests_per_minute=10_000_000.0, **endless)])
    await client.aclose()


def main() -> int:
    """Run it; the exit code."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="stream-guard-bench-") as name:
        directory = Path(name)
        redis, upstream = RedisServer(directory / "redis"), AnsweringEnvoy(directory / "upstream")
        gateway = GatewayProcess(directory / "gateway", redis.url)
        bare = EnvoyServer(directory / "bare", upstream.port, gateway.port, bare=True)
        guarded = EnvoyServer(directory / "guarded", upstream.port, gateway.port)
        servers = (redis, upstream, gateway, bare, guarded)
        try:
            for server in servers:
                server.start()
            asyncio.run(decide(redis.url))
            for run, envoy, account in (
                ("bare", bare, "honest"),
                ("honest", guarded, "honest"),
                ("limited", guarded, "busy"),
            ):
                found[run] = load(envoy.url + "/", account, directory)
                row = ", ".join(f"{key} {value:,.2f}" for key, value in found[run].items())
                sys.stdout.write(f"{run:8} {row}\n")
        finally:
            for server in reversed(servers):
                server.stop()
    for run in ("honest", "limited"):
        found[f"{run}_added_p99_ms"] = round(found[run]["p99_ms"] - found["bare"]["p99_ms"], 3)
        sys.stdout.write(f"{run}: {found[f'{run}_added_p99_ms']:+.2f} ms at the 99th percentile\n")
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "gateway-bench.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if found["honest_added_p99_ms"] <= TARGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
