"""Alerts to the real Alertmanager, to webhooks and through Apprise; dead targets, restarts, nothing twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest
from kafka import KafkaProducer  # type: ignore[import-untyped] # kafka-python ships no types
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped] # kafka-python ships no types

from stream_guard.adapters.notify import Target, make_notifier, verify
from stream_guard.adapters.notify.metrics import PrometheusNotify
from stream_guard.adapters.notify.outbox import Outbox, PositionsChangedError
from stream_guard.adapters.prometheus import Metrics
from stream_guard.adapters.redis_client import connect
from stream_guard.encode import encode_alert
from stream_guard.ports import Topic
from stream_guard.records import AlertStatus, Severity
from stream_guard.settings import Kafka, RedisServer, Settings
from tests.support.alertmanager import AlertmanagerServer, Receiver
from tests.support.made import AT, alert
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SECRET = "s3cret"  # noqa: S105 # of these tests only


class Desk:
    """An alerts topic of its own and notifiers that read it."""

    def __init__(self, bootstrap: str, redis_url: str) -> None:
        name = f"n{uuid4().hex[:10]}"
        self.settings = Settings(
            kafka=Kafka(bootstrap=bootstrap, group=name, topic_prefix=f"{name}."), redis=RedisServer(url=redis_url)
        )
        self.metrics = Metrics()
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics({self.topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        admin.close()

    @property
    def topic(self) -> str:
        return self.settings.topic_name(Topic.ALERTS)

    def publish(self, *values: bytes) -> None:
        producer = KafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap, enable_idempotence=False)
        for value in values:
            producer.send(self.topic, value=value).get(timeout=10)
        producer.close()

    @asynccontextmanager
    async def notifier(self, *targets: Target) -> AsyncIterator[None]:
        client = connect(self.settings.redis)
        self.metrics = Metrics()
        found = make_notifier(self.settings, client, targets, PrometheusNotify(self.metrics.registry, targets))
        assert found is not None
        task = asyncio.create_task(found.run())
        try:
            yield
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=2.0)
            with suppress(asyncio.CancelledError):
                task.result()
            await client.aclose()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"stream_guard_{name}", labels) or 0.0


@pytest.fixture
def desk(kafka_bootstrap: str, redis_url: str) -> Iterator[Desk]:
    made = Desk(kafka_bootstrap, redis_url)
    yield made
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_topics([made.topic])
    admin.close()


async def until(check: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 # a counter has no event
            await asyncio.sleep(0.05)


def transition(status: AlertStatus, seconds: float = 0.0, **changes: Any) -> bytes:  # noqa: ANN401 # as the record
    return encode_alert(alert(status=status, at=AT + seconds, **changes))


def webhook(receiver: Receiver, name: str = "hook", **changes: Any) -> Target:  # noqa: ANN401 # as the target
    return target(name=name, kind="webhook", url=receiver.url, secret=SECRET, **changes)


def target(**fields: Any) -> Target:  # noqa: ANN401 # as the target
    return Target.model_validate(fields)


async def test_one_campaign_is_one_page_updated_in_place_and_resolved(desk: Desk, tmp_path: Path) -> None:
    async with Receiver() as pager, aiohttp.ClientSession() as http:
        server = AlertmanagerServer(tmp_path / "alertmanager", pager.url)
        await asyncio.to_thread(server.start)

        async def alerts() -> list[dict[str, Any]]:
            async with http.get(f"{server.url}/api/v2/alerts") as response:
                return list(await response.json())

        try:
            async with desk.notifier(target(name="am", kind="alertmanager", url=server.url)):
                await asyncio.to_thread(desk.publish, transition(AlertStatus.FIRING))
                page = json.loads((await pager.wait(1))[0])
                assert page["status"] == "firing"
                assert page["commonLabels"]["campaign_id"] == "cmp_1"
                assert page["commonLabels"]["severity"] == "page"

                grown = [transition(AlertStatus.UPDATED, 60.0 * step, members=40 + step) for step in range(1, 6)]
                await asyncio.to_thread(desk.publish, *grown)
                async with asyncio.timeout(20):
                    while not any(  # noqa: ASYNC110 # another process' state
                        "45 accounts" in one["annotations"]["description"] for one in await alerts()
                    ):
                        await asyncio.sleep(0.1)
                assert len(await alerts()) == 1
                await asyncio.sleep(2.5)  # two group intervals
                assert len(pager.bodies) == 1  # nobody is paged again

                await asyncio.to_thread(desk.publish, transition(AlertStatus.RESOLVED, 600.0))
                assert json.loads((await pager.wait(2))[1])["status"] == "resolved"
                assert await alerts() == []
        finally:
            await asyncio.to_thread(server.stop)


async def test_a_higher_severity_goes_on_as_one_group_and_leaves_nothing_open(desk: Desk, tmp_path: Path) -> None:
    async with Receiver() as pager, aiohttp.ClientSession() as http:
        server = AlertmanagerServer(tmp_path / "alertmanager", pager.url)
        await asyncio.to_thread(server.start)
        try:
            async with desk.notifier(target(name="am", kind="alertmanager", url=server.url)):
                steps = [
                    transition(AlertStatus.FIRING, severity=Severity.WARNING),
                    transition(AlertStatus.UPDATED, 60.0, severity=Severity.CRITICAL),
                    transition(AlertStatus.UPDATED, 120.0, severity=Severity.INFO),
                ]
                await asyncio.to_thread(desk.publish, *steps)
                await until(
                    lambda: desk.value("notifications_total", target_kind="alertmanager", outcome="sent") >= 3, 20.0
                )
                async with http.get(f"{server.url}/api/v2/alerts") as response:
                    found = await response.json()
                assert [one["labels"]["severity"] for one in found] == ["page"]  # it never falls
        finally:
            await asyncio.to_thread(server.stop)


async def test_webhooks_are_signed_sent_once_and_go_on_after_a_restart(desk: Desk) -> None:
    async with Receiver() as receiver:
        firing, updated = transition(AlertStatus.FIRING), transition(AlertStatus.UPDATED, 60.0)
        async with desk.notifier(webhook(receiver)):
            await asyncio.to_thread(desk.publish, firing, b"not an alert", firing)
            await receiver.wait(1)
        await asyncio.to_thread(desk.publish, updated, firing)  # while nobody listens; and the worker repeats itself
        async with desk.notifier(webhook(receiver)):
            await receiver.wait(2)
            await asyncio.sleep(1.5)
        bodies = [json.loads(body) for body in receiver.bodies]
        assert [body["alert"]["status"] for body in bodies] == ["firing", "updated"]
        assert Counter(body["notification_id"] for body in bodies).most_common(1)[0][1] == 1
        for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
            assert verify(SECRET.encode(), headers, body, time.time())
            assert not verify(SECRET.encode(), headers, body + b" ", time.time())
            assert not verify(b"other", headers, body, time.time())
            assert not verify(SECRET.encode(), headers, body, time.time() + 400.0)


@pytest.mark.parametrize("way", ["fails", "hangs", "refuses connections"])
async def test_a_dead_target_is_seen_delays_nobody_and_gets_everything_once_it_lives(desk: Desk, way: str) -> None:
    async with Receiver() as well:
        sick = Receiver()
        sick.port = free_port()
        if way == "fails":
            sick.status = 500
        if way == "hangs":
            sick.hangs_seconds = 30.0
        if way != "refuses connections":
            await sick.__aenter__()
        try:
            async with desk.notifier(webhook(well), webhook(sick, "sick", timeout_seconds=0.2)):
                steps = [transition(AlertStatus.FIRING)]
                steps += [transition(AlertStatus.UPDATED, 60.0 * step) for step in range(1, 4)]
                await asyncio.to_thread(desk.publish, *steps)
                await well.wait(4)
                await until(lambda: desk.value("notification_circuit_open", target="sick", target_kind="webhook"), 30.0)
                assert desk.value("notification_queue_length", target="sick", target_kind="webhook") == 4
                assert desk.value("notification_circuit_open", target="hook", target_kind="webhook") == 0
                sick.status, sick.hangs_seconds = 200, 0.0
                if way == "refuses connections":
                    await sick.__aenter__()
                bodies = [json.loads(body) for body in await sick.wait(4, 30.0)]
                assert [body["alert"]["at"] for body in bodies] == [json.loads(step)["at"] for step in steps]
                await until(
                    lambda: not desk.value("notification_circuit_open", target="sick", target_kind="webhook"), 10.0
                )
        finally:
            await sick.__aexit__()


async def test_what_a_target_will_never_take_holds_nothing_up(desk: Desk) -> None:
    async with Receiver() as receiver:
        receiver.status = 422
        async with desk.notifier(webhook(receiver)):
            await asyncio.to_thread(desk.publish, transition(AlertStatus.FIRING))
            await until(lambda: desk.value("notifications_total", target_kind="webhook", outcome="refused"), 20.0)
            receiver.status = 200
            await asyncio.to_thread(desk.publish, transition(AlertStatus.FIRING, alert_id="alr_2"))
            assert json.loads((await receiver.wait(1))[0])["alert"]["alert_id"] == "alr_2"


async def test_lesser_alerts_stay_away_and_one_that_was_told_is_followed_to_its_end(desk: Desk) -> None:
    async with Receiver() as receiver:
        async with desk.notifier(webhook(receiver, min_severity="critical")):
            steps = [
                transition(AlertStatus.FIRING, severity=Severity.WARNING),
                transition(AlertStatus.UPDATED, 60.0, severity=Severity.CRITICAL),
                transition(AlertStatus.RESOLVED, 120.0, severity=Severity.INFO),
                transition(AlertStatus.FIRING, alert_id="alr_2", severity=Severity.INFO),
                transition(AlertStatus.RESOLVED, 180.0, alert_id="alr_2", severity=Severity.CRITICAL),
            ]
            await asyncio.to_thread(desk.publish, *steps)
            await receiver.wait(2)
            await until(lambda: desk.value("notifications_total", target_kind="webhook", outcome="filtered") >= 3, 10.0)
        assert [json.loads(body)["alert"]["status"] for body in receiver.bodies] == ["updated", "resolved"]


async def test_a_redis_that_comes_back_empty_loses_no_notification(desk: Desk) -> None:
    sick = Receiver()
    sick.status = 500
    async with sick, desk.notifier(webhook(sick)):
        steps = [transition(AlertStatus.FIRING), transition(AlertStatus.RESOLVED, 60.0)]
        await asyncio.to_thread(desk.publish, *steps)
        await until(lambda: desk.value("notification_queue_length", target="hook", target_kind="webhook") == 2, 20.0)
        client = connect(desk.settings.redis)
        await client.delete(*[key async for key in client.scan_iter(f"sg:{{notify:{desk.settings.kafka.group}}}:*")])
        await client.aclose()
        sick.status = 200
        bodies = [json.loads(body) for body in await sick.wait(2, 20.0)]
        assert [body["alert"]["status"] for body in bodies] == ["firing", "resolved"]


async def test_one_that_was_suspended_opens_no_alert_that_is_over_by_now(redis_url: str) -> None:
    client = connect(RedisServer(url=redis_url))
    group = f"n{uuid4().hex[:10]}"
    suspended, other = Outbox(client, group, ["pager"]), Outbox(client, group, ["pager"])
    await suspended.take_in(0, None, 0, "firing", b"firing")
    with pytest.raises(PositionsChangedError):
        await other.take_in(0, None, 0, "firing", b"firing")
    assert await other.positions() == {0: 1}
    await other.take_in(0, 1, 1, "resolved", b"resolved")
    body = await suspended.head("pager")
    assert body == b"firing"  # it tells the target, and then is suspended
    await other.done("pager", b"firing", "alr_1", {"open": True}, told=True)
    await other.done("pager", b"resolved", "alr_1", None, told=True)
    await suspended.done("pager", body, "alr_1", {"open": True}, told=True)
    assert await other.active("pager") == {}
    assert await other.length("pager") == 0
    await client.aclose()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
async def test_apprise_delivers(desk: Desk) -> None:
    async with Receiver() as receiver:
        chat = target(name="chat", kind="apprise", url=f"json://127.0.0.1:{receiver.port}/hook")
        async with desk.notifier(chat):
            await asyncio.to_thread(desk.publish, transition(AlertStatus.FIRING))
            message = json.loads((await receiver.wait(1))[0])
    assert message["title"] == "Critical: extraction campaign, campaign cmp_1"
    assert "97 % of prompts follow one template" in message["message"]
    assert message["type"] == "failure"


async def test_of_two_notifiers_one_sends_and_the_other_takes_over(desk: Desk) -> None:
    async with Receiver() as receiver:
        async with desk.notifier(webhook(receiver)):
            await asyncio.to_thread(desk.publish, transition(AlertStatus.FIRING))
            await receiver.wait(1)
            second = desk.notifier(webhook(receiver))
            await second.__aenter__()
            await asyncio.to_thread(desk.publish, transition(AlertStatus.UPDATED, 60.0))
            await receiver.wait(2)
            await asyncio.sleep(1.0)
            assert len(receiver.bodies) == 2
        await asyncio.to_thread(desk.publish, transition(AlertStatus.RESOLVED, 120.0))
        await receiver.wait(3)
        await second.__aexit__(None, None, None)
    assert len(receiver.bodies) == 3
