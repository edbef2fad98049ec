"""All the real parts, started and stopped together."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import requests

from tests.support.alertmanager import AlertmanagerServer, Receiver
from tests.support.cluster import PRODUCT, Cluster
from tests.support.envoy import EnvoyServer, GatewayProcess, Upstream
from tests.support.servers import KafkaServer, RedisServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "end-to-end-operator"  # noqa: S105 # of this run only
POLICY = """
[alerts]
console_url = "{console}"

[decisions]
dry_run = false
max_share_of_accounts = 0.001
softer_for_established_days = 100000

[[decisions.ladder]]
action = "limit"
min_confidence = 0.5
requests_per_minute = 1.0
ttl_seconds = 86400
"""
TARGETS = """
[[target]]
name = "alertmanager"
kind = "alertmanager"
url = "{url}"
min_severity = "info"
"""


class World:
    """Kafka, Redis, Alertmanager, two workers, Envoy with its gateway and an upstream."""

    def __init__(self, directory: Path) -> None:
        self._stack = ExitStack()
        self._loop = asyncio.new_event_loop()
        self.kafka, self.redis = KafkaServer(directory / "kafka"), RedisServer(directory / "redis")
        self.pager, self.upstream = Receiver(), Upstream()
        self.alertmanager = AlertmanagerServer(directory / "alertmanager", self.pager.url)
        self.gateway = GatewayProcess(directory / "gateway", self.redis.url)
        self.envoy = EnvoyServer(directory / "envoy", self.upstream.port, self.gateway.port)
        self.ports = (free_port(), free_port())
        policy, targets = directory / "policy.toml", directory / "targets.toml"
        policy.write_text(POLICY.format(console=f"{self.worker_url(0)}/console"), encoding="utf-8")
        targets.write_text(TARGETS.format(url=self.alertmanager.url), encoding="utf-8")
        self._extra = {
            "STREAM_GUARD_POLICY": str(policy),
            "STREAM_GUARD_NOTIFY__TARGETS": str(targets),
            "STREAM_GUARD_WEB__OPERATE_TOKEN": TOKEN,
        }
        self._directory = directory
        self.cluster: Cluster

    def worker_url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self._stack.callback(thread.join, 5.0)
        self._stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_servers(self) -> None:
        for server in (self.kafka, self.redis, self.alertmanager, self.gateway, self.envoy):
            self._stack.callback(server.stop)
            server.start()
        for part in (self.pager, self.upstream):
            asyncio.run_coroutine_threadsafe(part.__aenter__(), self._loop).result(10.0)
            self._stack.callback(self._leave, part)

    def _leave(self, part: Receiver | Upstream) -> None:
        asyncio.run_coroutine_threadsafe(part.__aexit__(), self._loop).result(10.0)

    def start_workers(self) -> None:
        self.cluster = Cluster(self.kafka.bootstrap, self.redis.url, self._directory, PRODUCT, self._extra)
        self.cluster.create_topics()
        self._stack.callback(self.cluster.stop)
        for port in self.ports:
            self.cluster.values["STREAM_GUARD_WEB__PORT"] = str(port)
            self.cluster.start_worker()

    def ready(self) -> bool:
        """Both workers have partitions, and all of those are restored."""
        try:
            found = [requests.get(f"{self.worker_url(number)}/readyz", timeout=5.0) for number in (0, 1)]
        except requests.RequestException:
            return False
        return all(answer.status_code == 200 and answer.json()["nodes"] for answer in found)

    def get(self, path: str, number: int = 0) -> Any:  # noqa: ANN401 # JSON
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.get(f"{self.worker_url(number)}/api/v1/{path}", headers=headers, timeout=10.0)
        answer.raise_for_status()
        return answer.json()

    def decisions_since(self, position: str, number: int = 0) -> tuple[list[dict[str, Any]], str]:
        """What a worker's stream tells about decisions up to now, and the position to go on from."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Last-Event-ID": position}
        url = f"{self.worker_url(number)}/api/v1/decisions/stream"
        found, event = [], ""
        with requests.get(url, headers=headers, stream=True, timeout=10.0) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(decode_unicode=True):
                name, _, value = line.partition(": ")
                event = value if name == "event" else event
                position = value if name == "id" else position
                if name == "data" and event == "decision":
                    found.append(json.loads(value))
                if event == "kill_switch":  # comes after all that had happened before
                    break
        return found, position

    def post(self, path: str, body: dict[str, str]) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.post(f"{self.worker_url(0)}/api/v1/{path}", json=body, headers=headers, timeout=10.0)
        answer.raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """What Alertmanager holds about campaigns."""
        found = requests.get(f"{self.alertmanager.url}/api/v2/alerts", timeout=10.0).json()
        return [one for one in found if one["labels"]["alertname"] == "StreamGuardCampaign"]

    def ask(self, account: str) -> requests.Response:
        """One request through Envoy."""
        return requests.get(f"{self.envoy.url}/v1/messages", headers={"x-account-id": account}, timeout=10.0)

    def metric(self, name: str) -> float:
        """A counter, summed over both workers."""
        texts = [requests.get(f"{self.worker_url(number)}/metrics", timeout=10.0).text for number in (0, 1)]
        lines = [line for text in texts for line in text.splitlines() if line.startswith(f"{name} ")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)
