"""Two owners of one partition, any order of steps, crashes anywhere: nothing is lost and nothing counted twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_guard.adapters.memory_state import MemoryStateStore
from stream_guard.errors import FencedError
from stream_guard.ports import Envelope, Topic
from tests.support.counting import CountingNode, GreatestNode

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from stream_guard.ports import Checkpoint

NODE = "accounts:0"
LOG = [f"a{number * 7 % 5}" for number in range(60)]
RECORDS = [json.dumps({"account_id": account, "ts": 1.0}).encode() for account in LOG]
T = TypeVar("T")


def now(step: Coroutine[object, object, T]) -> T:
    """The memory store never waits, so a step is run to its end at once."""
    return asyncio.run(step)


class Owner:
    """One process that believes it owns the partition: its node, its position, its store handle."""

    def __init__(self, shared: MemoryStateStore, downstream: GreatestNode) -> None:
        self.store = MemoryStateStore(shared)
        self.downstream = downstream
        self.token = now(self.store.acquire(NODE))
        self.node = CountingNode(0, delta_partitions=1)
        meta, positions = now(self.store.read_meta(NODE))
        self.node.restore(meta, {})
        self.position = positions.get(Topic.QUERIES, 0)
        self.described: Checkpoint | None = None
        self.written = False

    def process(self, count: int) -> None:
        values = RECORDS[self.position : self.position + count]
        if not values:
            return
        offsets = list(range(self.position, self.position + len(values)))
        prepared = self.node.decode(Envelope(Topic.QUERIES, 0, offsets, values), latest_ts=2.0)
        if prepared.missing:
            self.node.load(now(self.store.read(NODE, prepared.missing)))
        for message in self.node.process(prepared).messages:
            envelope = Envelope(Topic.DELTAS, 0, [0], [message.value])
            self.downstream.process(self.downstream.decode(envelope, latest_ts=2.0))
        self.position += len(values)


class Partition(RuleBasedStateMachine):
    """At most two owners live at once: the newest and, as a zombie, the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStateStore()
        self.downstream = GreatestNode(0, None)
        self.owners: list[Owner] = []

    @initialize()
    def first(self) -> None:
        self.take_over()

    @rule()
    def take_over(self) -> None:
        """A new process gets the partition; the old one does not know."""
        self.owners = [*self.owners[-1:], Owner(self.store, self.downstream)]

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 1), count=st.integers(1, 9))
    def process(self, which: int, count: int) -> None:
        owner = self.owners[which % len(self.owners)]
        if owner.described is None:
            self._or_drop(owner, lambda: owner.process(count))

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 1))
    def describe(self, which: int) -> None:
        owner = self.owners[which % len(self.owners)]
        if owner.described is None and owner.node.next:
            owner.described, owner.written = owner.node.checkpoint(), False

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 1))
    def write(self, which: int) -> None:
        owner = self.owners[which % len(self.owners)]
        described = owner.described
        if described is None or owner.written:
            return
        owner.written = self._or_drop(owner, lambda: now(owner.store.write(NODE, owner.token, described)))

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 1), answered=st.booleans())
    def finish(self, which: int, answered: bool) -> None:  # noqa: FBT001 # Hypothesis passes it by name
        """The store's answer arrives, or is lost although the write may have happened."""
        owner = self.owners[which % len(self.owners)]
        if owner.described is not None:
            if answered and owner.written:
                owner.node.saved(owner.described)
            owner.described = None

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        del self.owners[which % len(self.owners)]

    def _or_drop(self, owner: Owner, step: object) -> bool:
        assert callable(step)
        try:
            step()
        except FencedError:
            self.owners.remove(owner)
            return False
        return True

    @invariant()
    def stored_counts_are_those_of_the_stored_position(self) -> None:
        reader = MemoryStateStore(self.store)
        _, positions = now(reader.read_meta(NODE))
        expected = Counter(LOG[: positions.get(Topic.QUERIES, 0)])
        assert now(reader.read_all(NODE)) == {key.encode(): b"%d" % count for key, count in expected.items()}

    @invariant()
    def nothing_was_sent_that_never_was(self) -> None:
        total = Counter(LOG)
        assert all(count <= total[account] for account, count in self.downstream.greatest.items())

    def teardown(self) -> None:
        """In the end one owner works alone, and everything has been counted once."""
        owner = Owner(self.store, self.downstream)
        owner.process(len(RECORDS))
        if owner.node.next:
            now(owner.store.write(NODE, owner.token, owner.node.checkpoint()))
        expected = Counter(LOG)
        stored = now(MemoryStateStore(self.store).read_all(NODE))
        assert stored == {key.encode(): b"%d" % count for key, count in expected.items()}


TestPartition = Partition.TestCase
TestPartition.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
