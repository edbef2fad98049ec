"""Partition assignment that keeps the topics of a stage together and moves as little as it can.

Faust picks aiokafka's round robin when there are no tables; that deals single partitions and would tear
queries and account-status apart. Here the unit dealt is (stage, partition) with every topic of the stage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor  # type: ignore[import-untyped] # aiokafka ships no types
from aiokafka.coordinator.protocol import (  # type: ignore[import-untyped] # aiokafka ships no types
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka.cluster import ClusterMetadata  # type: ignore[import-untyped] # aiokafka ships no types

Unit = tuple[int, int]  # index of the stage, partition


class StageAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # as above
    """Deals whole stages' partitions, one unit at a time; every member must run the same stages.

    A broker that has just started may know no topics yet. Dealing what it knows would leave every member with nothing,
    for good: nobody joins again because of it. So what it does not know is taken to be as configured.

    Args:
        stages: real topic names by stage with their configured numbers of partitions, in one order for all members.
    """

    name = "stream-guard-stages"

    def __init__(self, stages: Sequence[Mapping[str, int]]) -> None:
        self._stages = [list(topics) for topics in stages]
        self._configured = {topic: count for topics in stages for topic, count in topics.items()}
        self._owned: list[Unit] = []

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells the leader: its topics and what it owned last."""
        return ConsumerProtocolMemberMetadata(0, list(topics), json.dumps(self._owned).encode())

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what was assigned, to ask for it again."""
        owned: set[Unit] = set()
        for topic, partitions in assignment.assignment:
            for index, topics in enumerate(self._stages):
                if topic in topics:
                    owned.update((index, partition) for partition in partitions)
        self._owned = sorted(owned)

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Deal every unit to a member."""
        known = {
            topic: set(cluster.partitions_for_topic(topic) or range(count)) for topic, count in self._configured.items()
        }
        counts = [max((len(known[topic]) for topic in topics), default=0) for topics in self._stages]
        units = [(index, partition) for index, count in enumerate(counts) for partition in range(count)]
        previous = {member: _owned(metadata.user_data) for member, metadata in members.items()}
        dealt = deal(units, previous)
        answer = {}
        for member, member_units in dealt.items():
            by_topic: dict[str, list[int]] = {}
            for index, partition in member_units:
                for topic in self._stages[index]:
                    if partition in known[topic]:
                        by_topic.setdefault(topic, []).append(partition)
            answer[member] = ConsumerProtocolMemberAssignment(0, sorted(by_topic.items()), b"")
        return answer


def deal(units: Sequence[Unit], previous: Mapping[str, Sequence[Unit]]) -> dict[str, list[Unit]]:
    """Share `units` evenly among the members, stage by stage, leaving units where they were when that is even."""
    members = sorted(previous)
    dealt: dict[str, list[Unit]] = {member: [] for member in members}
    for stage in sorted({index for index, _ in units}):
        mine = [unit for unit in units if unit[0] == stage]
        # The less a member has so far the more it may take of this stage, so single partitions spread.
        owners = {member: len([unit for unit in previous[member] if unit in mine]) for member in members}
        order = sorted(members, key=lambda member: (len(dealt[member]), -owners[member], member))
        quota = {member: len(mine) // len(members) for member in members}
        for member in order[: len(mine) % len(members)]:
            quota[member] += 1
        kept: set[Unit] = set()
        for member in members:
            for unit in previous[member]:
                if unit in mine and unit not in kept and quota[member] > 0:
                    dealt[member].append(unit)
                    kept.add(unit)
                    quota[member] -= 1
        for unit in mine:
            if unit not in kept:
                member = next(member for member in order if quota[member] > 0)
                dealt[member].append(unit)
                quota[member] -= 1
    return dealt


def _owned(user_data: bytes | None) -> list[Unit]:
    try:
        return [(int(index), int(partition)) for index, partition in json.loads(user_data or b"[]")]
    except (ValueError, TypeError):
        return []
