"""Every unit of work has an owner after every rebalance, whatever the broker knows at that moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from stream_guard.app.assignor import StageAssignor

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES: list[Mapping[str, int]] = [{"queries": 4, "status": 4}, {"deltas": 2}, {"suspicions": 1, "feedback": 1}]


def assigned(members: int, known: Mapping[str, int]) -> list[tuple[str, int]]:
    """All (topic, partition) that anybody got, where the broker knows these topics."""
    assignors = {f"member-{number}": StageAssignor(STAGES) for number in range(members)}
    topics = [topic for stage in STAGES for topic in stage]
    cluster = SimpleNamespace(partitions_for_topic=lambda topic: set(range(known[topic])) if topic in known else None)
    dealt = next(iter(assignors.values())).assign(
        cluster,
        {name: assignor.metadata(topics) for name, assignor in assignors.items()},
    )
    return sorted(
        (topic, partition)
        for answer in dealt.values()
        for topic, partitions in answer.assignment
        for partition in partitions
    )


EVERYTHING = sorted((topic, number) for stage in STAGES for topic, count in stage.items() for number in range(count))


@pytest.mark.parametrize("members", [1, 2, 3, 9])
@pytest.mark.parametrize(
    "known", [{}, {"queries": 4}, {"queries": 4, "status": 4, "deltas": 2, "suspicions": 1, "feedback": 1}]
)
def test_every_partition_has_one_owner_also_while_the_broker_knows_no_topics(
    members: int, known: Mapping[str, int]
) -> None:
    assert assigned(members, known) == EVERYTHING


def test_what_the_broker_says_wins_over_the_settings() -> None:
    assert ("deltas", 2) in assigned(2, {"deltas": 3})
