"""The whole product in one process: deterministic, and honest about what it refused."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

from stream_guard.encode import encode_alert, encode_campaign, encode_decision
from stream_guard.pipeline import Pipeline
from stream_guard.policy import Policy
from stream_guard.records import AlertStatus, Outputs, Verdict
from tests.support.events import NEVER, START, World, record, small_world

if TYPE_CHECKING:
    from collections.abc import Sequence


@cache
def world() -> World:
    return small_world(hours=0.75)


def run(records: Sequence[bytes], size: int) -> tuple[Pipeline, list[Outputs]]:
    pipeline = Pipeline(Policy())
    outputs: list[Outputs] = []
    for first in range(0, len(records), size):
        outputs += pipeline.feed(records[first : first + size], latest_ts=NEVER)[0]
    return pipeline, outputs + pipeline.end()


def published(pipeline: Pipeline, outputs: list[Outputs]) -> bytes:
    lines = [encode_alert(alert) for output in outputs for alert in output.alerts]
    lines += [encode_decision(decision) for output in outputs for decision in output.decisions]
    return b"\n".join([*lines, *(encode_campaign(campaign) for campaign in pipeline.finished())])


@pytest.mark.parametrize("size", [1, 7, 5_000])
def test_the_size_of_the_batches_changes_no_byte(size: int) -> None:
    records = [value for _, value in world().records]
    assert published(*run(records, size)) == published(*run(records, 100))


def test_a_record_that_is_none_is_refused_with_its_number_and_changes_nothing_else() -> None:
    records = [value for _, value in world().records]
    broken = [*records[:50], b"{", *records[50:], b'{"event_id": 1}']
    pipeline = Pipeline(Policy())
    _, refused = pipeline.feed(broken, latest_ts=NEVER)
    pipeline.end()
    assert [number for number, _ in refused] == [50, len(broken) - 1]
    assert sum(pipeline.counts.refused.values()) == 2
    assert (pipeline.counts.records, pipeline.counts.events) == (len(broken), len(records))
    assert [item.members for item in pipeline.finished()] == [
        item.members for item in run(records, 5_000)[0].finished()
    ]


def test_a_judgement_in_the_stream_resolves_the_alert() -> None:
    records = [value for _, value in world().records]
    campaign = run(records, 100)[0].finished()[0].campaign_id
    said = {"type": "feedback", "campaign_id": campaign, "label": "false_positive", "actor": "ann", "reason": "a test"}
    said["ts"] = round((START + 2_000.0) * 1_000)  # type: ignore[assignment] # JSON
    pipeline, outputs = run([*records, json.dumps(said).encode()], 100)
    statuses = [alert.status for output in outputs for alert in output.alerts]
    assert statuses.count(AlertStatus.FIRING) == statuses.count(AlertStatus.RESOLVED) == 1
    assert pipeline.finished()[0].verdict is Verdict.UNDETERMINED


def test_nothing_in_nothing_out() -> None:
    pipeline = Pipeline(Policy())
    assert pipeline.feed([], latest_ts=NEVER) == ([], [])
    assert pipeline.end() == []
    assert pipeline.finished() == []


def test_what_came_twice_or_late_is_told() -> None:
    pipeline, _ = run([record("a", START + ts, event) for ts, event in ((0, "1"), (200, "2"), (0, "1"), (10, "3"))], 1)
    counts = pipeline.counts
    assert (counts.records, counts.events, counts.duplicates, counts.late) == (4, 3, 1, 2)
