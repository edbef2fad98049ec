"""What the batch lane relies on in Faust 0.15.3 and aiokafka. A new version must pass these before the pin moves."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import TYPE_CHECKING

import aiokafka  # type: ignore[import-untyped] # aiokafka ships no types
import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords  # type: ignore[import-untyped] # aiokafka ships no types
from aiokafka.consumer.group_coordinator import GroupCoordinator  # type: ignore[import-untyped] # aiokafka ships no types
from faust.app.base import App
from faust.transport import consumer as faust_consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP

from stream_guard.app.assignor import Unit, deal
from stream_guard.app.factory import make_app
from stream_guard.app.lane import LaneConsumer, LaneThread, LaneTransport
from stream_guard.app.stages import product_stages
from stream_guard.policy import Policy
from stream_guard.ports import Topic
from stream_guard.settings import Settings
from tests.support.counting import counting_stages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stream_guard.app.factory import GuardApp


def test_faust_is_the_version_that_the_lane_was_written_for() -> None:
    assert version("faust-streaming") == "0.15.3"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (AIOKafkaConsumerThread, "_fetch_records", ["self", "consumer", "active_partitions", "timeout", "max_records"]),
        (AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (AIOKafkaConsumerThread, "call_thread", ["self", "fun", "args", "kwargs"]),
        (Consumer, "_new_consumer_thread", ["self"]),
        (faust_consumer.Consumer, "_drain_messages", ["self", "fetcher"]),
        (faust_consumer.Consumer, "getmany", ["self", "timeout"]),
        (faust_consumer.Consumer, "perform_seek", ["self"]),
        (faust_consumer.Consumer, "commit", ["self", "topics", "start_new_transaction"]),
        (faust_consumer.Consumer, "verify_all_partitions_active", ["self"]),
        (App, "_new_transport", ["self"]),
    ],
)
def test_private_members_are_as_they_were(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_nothing_awaits_between_the_fetcher_and_the_ticket() -> None:
    source = inspect.getsource(AIOKafkaConsumerThread._fetch_records)
    assert source.rstrip().endswith("finally:\n                pass"), "the fetcher's answer is returned directly"
    fetched = inspect.getsource(Fetcher.fetched_records)
    assert "if drained or not timeout:\n                return drained" in fetched, "and it drains without waiting"


def test_the_fetcher_makes_its_records_one_by_one_and_reads_them_no_further() -> None:
    assert list(inspect.signature(PartitionRecords._consumer_record).parameters) == ["self", "tp", "record"]
    made = inspect.getsource(PartitionRecords._unpack_records)
    assert "consumer_record = self._consumer_record(tp, record)\n" in made
    assert made.count("consumer_record") == 3, "made and handed on, never looked into"
    assert "self._partition_records = partition_records" in inspect.getsource(FetchResult.__init__)
    assert "return self._partition_records is not None" in inspect.getsource(FetchResult.has_more)
    assert "self._records = " in inspect.getsource(Fetcher.__init__)


def test_the_attributes_that_the_thread_replaces_exist() -> None:
    source = inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
    for name in ("_partition_assignment_strategy", "_fetch_max_wait_ms", "_max_poll_records"):
        assert f"self.{name} = " in source


def test_the_pause_before_a_broker_is_asked_again_is_read_where_the_lane_sets_it() -> None:
    assert "self._prefetch_backoff = prefetch_backoff" in inspect.getsource(Fetcher.__init__)
    assert "backoff=self._prefetch_backoff" in inspect.getsource(Fetcher._proc_fetch_request)


def test_only_a_name_of_its_own_keeps_a_member_from_leaving() -> None:
    assert "self.generation > 0 and self._group_instance_id is None" in inspect.getsource(
        GroupCoordinator._maybe_leave_group
    )
    assert "await self._consumer.stop()" in inspect.getsource(AIOKafkaConsumerThread.on_thread_stop)


async def test_topics_between_the_stages_are_urgent() -> None:
    settings = Settings()
    app = make_app(settings, product_stages(settings, Policy()))
    assert isinstance(app.transport, LaneTransport)
    urgent = app.transport.urgent_topics
    assert {settings.topic_name(Topic.DELTAS), settings.topic_name(Topic.SUSPICIONS)} <= urgent
    assert settings.topic_name(Topic.QUERIES) not in urgent


@pytest.fixture
async def app() -> AsyncIterator[GuardApp]:
    app = make_app(Settings(), counting_stages(2))
    yield app
    assert isinstance(app.consumer, LaneConsumer)
    app.consumer._thread.thread_loop.close()


async def test_the_app_runs_on_the_lane_without_web_server_or_leader_topic(app: GuardApp) -> None:
    assert isinstance(app.transport, LaneTransport)
    assert isinstance(app.consumer, LaneConsumer)
    assert isinstance(app.consumer._thread, LaneThread)
    assert app.transport.assignor is not None
    assert not app.boot_strategy._should_enable_web()
    assert app.conf.topic_disable_leader
    assert not app.conf.stream_wait_empty


async def test_holds_add_up(app: GuardApp) -> None:
    consumer = app.consumer
    assert isinstance(consumer, LaneConsumer)
    tp = TP("t", 0)
    consumer._opened.add(tp)
    consumer.hold([tp], "queue")
    consumer.hold([tp], "ahead")
    consumer.release([tp], "queue")
    assert tp in consumer._holds
    consumer.release([tp], "ahead")
    assert tp not in consumer._holds
    consumer.shut([tp])
    assert not consumer._opened


UNITS: list[Unit] = [(0, number) for number in range(8)] + [(1, 0), (1, 1), (2, 0)]


def test_units_are_shared_evenly() -> None:
    dealt = deal(UNITS, {"a": [], "b": [], "c": []})
    assert sorted(unit for units in dealt.values() for unit in units) == UNITS
    assert {len(units) for units in dealt.values()} <= {3, 4}


def test_units_stay_where_they_were() -> None:
    before = deal(UNITS, {"a": [], "b": []})
    assert deal(UNITS, before) == before
    after = deal(UNITS, {**before, "c": []})
    moved = [unit for member in before for unit in before[member] if unit not in after[member]]
    assert len(moved) <= len(after["c"]) + 1, "evenness may cost one move"


def test_a_unit_claimed_twice_goes_to_one_member() -> None:
    dealt = deal(UNITS, {"a": UNITS, "b": UNITS})
    assert sorted(unit for units in dealt.values() for unit in units) == UNITS
