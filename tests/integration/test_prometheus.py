"""Every panel's query and every recording rule gives data: a real Prometheus on a real worker under demo traffic.

What stays at zero while all is well is made to happen: duplicates, late and malformed records, answers that we limited,
the kill switch, a notification target that is dead, a gateway that hangs and one that falls silent, a full memory, a
state that is damaged, a partition that another worker takes, a Redis that does not answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from stream_guard.adapters.redis_client import connect
from stream_guard.adapters.redis_enforcers import Enforcers
from stream_guard.adapters.redis_mirror import LimitMirror
from tests.support.cluster import PRODUCT, Cluster
from tests.support.envoy import GatewayProcess
from tests.support.product import keyed, simulate
from tests.support.prometheus import ROOT, RULES, PrometheusServer
from tests.support.servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.integration

DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
TOKEN = "operator of this test"  # noqa: S105 # of this run only
POLICY = """
[alerts]
update_growth = 0.01
update_min_seconds = 60

[decisions]
dry_run = false
max_share_of_accounts = 0.001
"""
DEAD_TARGET = (
    '[[target]]\nname = "pager"\nkind = "alertmanager"\nurl = "http://127.0.0.1:{port}"\nmin_severity = "info"\n'
)
DAMAGED = "acct_damaged"
PIECES = 8
ZERO = {
    "max(stream_guard_dry_run)",  # decisions are real here
    "sum(rate(stream_guard_shed_events_total[$__rate_interval]))",  # needs an overload: test_shedding.py
}


@dataclass(frozen=True, slots=True)
class Observed:
    """Prometheus after everything has happened, and when that was."""

    prometheus: PrometheusServer
    began: float
    ended: float

    def values(self, expression: str) -> list[float]:
        """Every number that a panel draws, of all its series."""
        found = self.prometheus.query_range(expression.replace("$__rate_interval", "10s"), self.began, self.ended)
        values = [float(value) for series in found for _, value in series["values"]]
        return [value for value in values if not math.isnan(value)]


def until(check: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def observed(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    directory = tmp_path_factory.mktemp("observed")
    traffic = directory / "demo.jsonl"
    simulate(traffic, "demo", "--background-accounts", "300", "--days", "1.5", "--seed", "7")
    lines = traffic.read_bytes().splitlines()
    redis, port = RedisServer(directory / "redis"), free_port()
    (directory / "policy.toml").write_text(POLICY)
    (directory / "targets.toml").write_text(DEAD_TARGET.format(port=free_port()))
    more = {
        "STREAM_GUARD_POLICY": str(directory / "policy.toml"),
        "STREAM_GUARD_NOTIFY__TARGETS": str(directory / "targets.toml"),
        "STREAM_GUARD_WEB__PORT": str(port),
        "STREAM_GUARD_WEB__OPERATE_TOKEN": TOKEN,
        "STREAM_GUARD_RUNTIME__MAX_ACCOUNTS": "50",
    }
    gateway = GatewayProcess(directory / "gateway", redis.url)
    prometheus = PrometheusServer(directory / "prometheus", f"127.0.0.1:{port}")
    cluster = Cluster(kafka_bootstrap, redis.url, directory, PRODUCT, more)
    started: list[Any] = []
    try:
        for server in (redis, gateway, prometheus):
            started.append(server)
            server.start()
        cluster.create_topics()
        began = time.time()
        cluster.start_worker()
        _happen(cluster, redis, gateway, prometheus, lines)
        yield Observed(prometheus, began, time.time())
    finally:
        cluster.stop()
        cluster.delete_topics()
        cluster.redis.close()
        for server in reversed(started):
            server.stop()


def _happen(
    cluster: Cluster, redis: RedisServer, gateway: GatewayProcess, prometheus: PrometheusServer, lines: Sequence[bytes]
) -> None:
    """Let everything happen that a panel shows."""
    url = f"http://127.0.0.1:{cluster.settings.web.port}"
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def at_least(expression: str, value: float, seconds: float = 30.0) -> None:
        def reached() -> bool:
            assert cluster.workers[0].poll() is None, cluster.logs()
            return any(float(series["value"][1]) >= value for series in prometheus.query(expression))

        until(reached, seconds, f"{expression} >= {value}")

    at_least('up{job="stream-guard"}', 1.0)
    at_least("sum(stream_guard_events_total)", 0.0)
    for start in range(0, len(lines), len(lines) // PIECES):
        cluster.produce(keyed(lines[start : start + len(lines) // PIECES]))
        time.sleep(1.5)  # a scrape between: what grows within one cannot be seen to grow
    at_least('sum(stream_guard_campaigns{verdict="extraction_campaign"})', 1.0)
    at_least("sum(stream_guard_events_total)", 0.98 * len(lines))
    asyncio.run(_a_gateway_hangs(cluster, partial(_approve, url, headers)))
    at_least("max(stream_guard_enforcer_drift_decisions)", 1.0)
    last = json.loads(lines[-1])
    account = last["account_id"].encode()
    odd: list[tuple[bytes, bytes | None]] = [(account, b"{"), (account, lines[-1])]
    late = last | {"event_id": "late", "ts": json.loads(lines[0])["ts"]}
    limited = last | {"event_id": "limited", "status": 429, "limited_by": "dec_1"}
    damaged = last | {"event_id": "damaged", "account_id": DAMAGED}
    odd += [(account, json.dumps(record).encode()) for record in (late, limited, damaged)]
    for number in range(cluster.settings.partitions.queries):
        cluster.store_account(number, f"a{DAMAGED}".encode(), b"no state")
    cluster.produce(odd)
    later = [
        last | {"event_id": f"later-{n}", "account_id": f"acct_{n}", "ts": last["ts"] + 600_000} for n in range(40)
    ]
    cluster.produce(keyed([json.dumps(record).encode() for record in later]))  # closes the epoch in every partition
    body = {"reason": "a test", "actor": "test"}
    requests.post(f"{url}/api/v1/kill-switch", json=body, headers=headers, timeout=10.0).raise_for_status()
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGKILL)
    at_least('sum(stream_guard_cold_starts_total{reason="unreadable_state"})', 1.0)
    for name in ("dead_letters", "duplicate_events", "late_events", "limited_events"):
        at_least(f"sum(stream_guard_{name}_total)", 1.0)
    at_least("max(stream_guard_kill_switch_engaged)", 1.0)
    at_least('max(stream_guard_enforcers{state="silent"})', 1.0)
    redis.pause()
    try:
        cluster.produce([(account, json.dumps(last | {"event_id": f"after-{number}"}).encode()) for number in range(9)])
        at_least("max(stream_guard_redis_degraded)", 1.0)
    finally:
        redis.resume()
    at_least("1 - max(stream_guard_redis_degraded)", 1.0)
    cluster.redis.incr(f"sg:{{{cluster.group}:accounts:0}}:token")  # as if another worker had taken the partition
    many = [last | {"event_id": f"many-{number}", "account_id": f"acct_{number}"} for number in range(40)]
    cluster.produce(keyed([json.dumps(record).encode() for record in many]))  # something to write in every partition
    at_least("sum(stream_guard_fenced_total)", 1.0)
    at_least('sum(ALERTS{alertname="WorkerFenced"})', 1.0)
    time.sleep(1.5)


def _approve(url: str, headers: dict[str, str]) -> None:
    """Let a decision that waits take effect."""
    found = requests.get(f"{url}/api/v1/decisions", headers=headers, timeout=10.0).json()["decisions"]
    held = next(one["decision_id"] for one in found if one["status"] == "held")
    body = {"reason": "a test", "actor": "test"}
    answer = requests.post(f"{url}/api/v1/decisions/{held}/approve", json=body, headers=headers, timeout=10.0)
    answer.raise_for_status()


async def _a_gateway_hangs(cluster: Cluster, approve: Callable[[], None]) -> None:
    """One more gateway, which goes on reporting and hears of nothing that is decided."""
    client = connect(cluster.settings.redis)
    try:
        behind = LimitMirror(client)
        await behind.refresh()
        await asyncio.to_thread(approve)
        for _ in range(4):
            await Enforcers(client).report("hangs", behind)
            await asyncio.sleep(2.5)
        await Enforcers(client).report("hangs", behind)
    finally:
        await client.aclose()


def targets() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']}: {target['legendFormat'] or target['refId']}", target["expr"]
        for annotation in board["annotations"]["list"]:
            yield f"{path.stem}: annotation {annotation['name']}", annotation["expr"]


TARGETS = dict(targets())


@pytest.mark.parametrize("name", TARGETS)
def test_a_panels_query_gives_data(observed: Observed, name: str) -> None:
    values = observed.values(TARGETS[name])
    assert values, TARGETS[name]
    if TARGETS[name] in ZERO:
        assert max(values) == 0.0
    else:
        assert any(values), f"nothing but zeros: {TARGETS[name]}"


def test_every_recording_rule_gives_data(observed: Observed) -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    recorded = [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]
    assert recorded
    for name in recorded:
        assert any(observed.values(name)), name


def test_every_rule_is_evaluated_and_what_happened_is_noticed(observed: Observed) -> None:
    rules = observed.prometheus.rules()
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    series = observed.prometheus.query_range("ALERTS", observed.began, observed.ended)
    noticed = {one["metric"]["alertname"] for one in series}
    assert noticed >= {
        "ExtractionCampaignCritical", "DecisionsHeld", "KillSwitchEngaged", "EnforcerSilent", "NotificationTargetDead",
        "WorkerFenced", "StateLost", "EnforcerDrift",
    }  # fmt: skip
